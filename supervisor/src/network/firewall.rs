//! The way to the outside: masquerading by nftables, and a pass through a FORWARD chain that drops.
//!
//! Everything of ours is in one table of its own per supervisor, replaced and removed as a whole. One thing cannot
//! be: in nftables a packet must be accepted by *every* chain of a hook, so no rule of our table can save it from
//! another chain whose policy is drop. Where that chain is iptables' FORWARD (Docker sets its policy to DROP), two rules
//! are added to it with the machine's own `iptables`; where it is any other, the user is told.

use std::io;
use std::process::{Child, Command, Stdio};

use ipnet::Ipv4Net;
use serde::Deserialize;

use super::notice::Notice;

/// A base chain that drops what is forwarded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DroppingChain {
    family: String,
    table: String,
    name: String,
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<ListedObject>,
}

#[derive(Deserialize)]
struct ListedObject {
    chain: Option<BaseChain>,
}

/// A chain as `nft -j` shows it; one that hangs on no hook has neither hook nor policy.
#[derive(Deserialize)]
struct BaseChain {
    family: String,
    table: String,
    name: String,
    #[serde(default)]
    hook: String,
    #[serde(default)]
    policy: String,
}

/// Firewall work under way in another process, which is waited for at the latest when this is dropped.
pub(super) struct Running {
    table: String,
    child: Option<io::Result<Child>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(Ok(mut child)) = self.child.take()
            && let Err(error) = child.wait()
        {
            tracing::debug!(%error, "could not wait for nft");
        }
    }
}

/// Starts filling the supervisor's table with the rule that masquerades what its Pods send to the outside.
pub(super) fn start(table: &str, subnet: Ipv4Net) -> Running {
    // Flushed, not deleted and made again: the first time, which is the one that a Pod waits for, nothing has to be
    // taken away, for which the kernel needs a long while. "list chains" in the same run spares a second process.
    let script = format!(
        "table ip {table} {{\n\
         chain postrouting {{ type nat hook postrouting priority 100; policy accept; }}\n\
         }}\n\
         flush chain ip {table} postrouting\n\
         add rule ip {table} postrouting ip saddr {subnet} ip daddr != {subnet} ip daddr != 224.0.0.0/4 masquerade\n\
         list chains\n"
    );
    Running {
        table: table.to_owned(),
        // As an argument: from a pipe nft with -j reads JSON only, and takes anything else for nothing.
        child: Some(spawn("nft", &["-j", &script])),
    }
}

/// Starts a program, from the search path or from where Debian has it: `su` leaves a search path without sbin.
fn spawn(program: &str, arguments: &[&str]) -> io::Result<Child> {
    let start = |program: &str| {
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    };
    match start(program) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            start(&format!("/usr/sbin/{program}"))
        }
        result => result,
    }
}

fn finish(program: &str, child: io::Result<Child>) -> Result<Vec<u8>, String> {
    let output = child
        .and_then(Child::wait_with_output)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("the program {program} is not installed"),
            _ => format!("cannot run {program}: {error}"),
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let first = message.lines().next().unwrap_or("no message").trim();
    Err(format!("{program}: {first}"))
}

impl Running {
    fn output(&mut self) -> Result<Vec<u8>, String> {
        self.child
            .take()
            .map_or(Ok(Vec::new()), |child| finish("nft", child))
    }

    /// Waits for the end. Says which chains drop, or why there is no masquerading.
    pub(super) fn wait(mut self) -> Result<Vec<DroppingChain>, Notice> {
        let no_masquerade = |reason| Notice::NoMasquerade { reason };
        let output = self.output().map_err(no_masquerade)?;
        let chains = base_chains(&String::from_utf8_lossy(&output));
        if !chains.iter().any(|chain| chain.table == self.table) {
            return Err(no_masquerade("nft did not make the table".to_owned()));
        }
        Ok(dropping(chains))
    }
}

/// The base chains in the output of `nft -j list chains`.
fn base_chains(output: &str) -> Vec<BaseChain> {
    // Depending on its version nft prints one document or one for each command.
    serde_json::Deserializer::from_str(output)
        .into_iter::<Listing>()
        .map_while(Result::ok)
        .flat_map(|listing| listing.nftables)
        .filter_map(|object| object.chain)
        .collect()
}

/// The chains of the forward hook whose policy is drop, of the families whose packets are the Pods'.
fn dropping(chains: Vec<BaseChain>) -> Vec<DroppingChain> {
    chains
        .into_iter()
        .filter(|chain| chain.hook == "forward" && chain.policy == "drop")
        .filter(|chain| ["ip", "inet"].contains(&chain.family.as_str()))
        .map(|chain| DroppingChain {
            family: chain.family,
            table: chain.table,
            name: chain.name,
        })
        .collect()
}

impl DroppingChain {
    /// True for the one chain that rules are added to.
    pub(super) fn is_iptables(&self) -> bool {
        self.family == "ip" && self.table == "filter" && self.name == "FORWARD"
    }
}

/// Lets the bridge's traffic through the chains that would drop it, and returns what the user has to know.
pub(super) fn pass(bridge: &str, chains: &[DroppingChain]) -> Vec<Notice> {
    let mut notices = Vec::new();
    for chain in chains {
        if !chain.is_iptables() {
            notices.push(Notice::ForwardDropped {
                chain: format!("{} {} {}", chain.family, chain.table, chain.name),
                bridge: bridge.to_owned(),
                reason: None,
            });
            continue;
        }
        match forward_rules(bridge)
            .iter()
            .try_for_each(|rule| run_iptables("-C", rule).or_else(|_| run_iptables("-I", rule)))
        {
            Ok(()) => notices.push(Notice::ForwardRulesAdded {
                bridge: bridge.to_owned(),
            }),
            Err(reason) => notices.push(Notice::ForwardDropped {
                chain: "ip filter FORWARD".to_owned(),
                bridge: bridge.to_owned(),
                reason: Some(reason),
            }),
        }
    }
    notices
}

/// The rules that Docker's and CNI's networks have too: out, and back.
fn forward_rules(bridge: &str) -> [Vec<String>; 2] {
    let words = |text: String| text.split(' ').map(str::to_owned).collect();
    [
        words(format!(
            "-i {bridge} -m comment --comment carob:{bridge} -j ACCEPT"
        )),
        words(format!(
            "-o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment carob:{bridge} -j ACCEPT"
        )),
    ]
}

fn run_iptables(action: &str, rule: &[String]) -> Result<(), String> {
    let mut arguments = vec!["-w", action, "FORWARD"];
    arguments.extend(rule.iter().map(String::as_str));
    finish("iptables", spawn("iptables", &arguments)).map(drop)
}

/// Starts removing the supervisor's table.
pub(super) fn start_removal(table: &str) -> Running {
    // "add" first: deleting a table that is not there is an error.
    let script = format!("add table ip {table}; delete table ip {table}");
    Running {
        table: table.to_owned(),
        child: Some(spawn("nft", &[&script])),
    }
}

/// Waits until the table is removed, and removes the rules in the FORWARD chain where they were added. Says what could
/// not be removed.
pub(super) fn finish_removal(
    mut running: Running,
    bridge: &str,
    rules: bool,
) -> Result<(), String> {
    let removed = running.output().map(drop);
    if rules {
        for rule in forward_rules(bridge) {
            // Gone already when the chain was flushed meanwhile.
            if run_iptables("-C", &rule).is_ok() {
                run_iptables("-D", &rule)?;
            }
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
        {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 1, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "handle": 2, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "bridge", "table": "b", "name": "f", "handle": 2, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "inet", "table": "f", "name": "fwd", "handle": 2, "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}},
        {"chain": {"family": "ip", "table": "x", "name": "y", "handle": 3}}]}"#;

    #[test]
    fn chains_that_drop_what_is_forwarded_are_found() {
        let found = dropping(base_chains(LISTING));
        assert_eq!(
            found,
            [DroppingChain {
                family: "ip".into(),
                table: "filter".into(),
                name: "FORWARD".into()
            }]
        );
        assert_eq!(base_chains(&format!("{LISTING}\n{LISTING}")).len(), 10);
        for junk in ["", "not json", "{}", r#"{"nftables": 1}"#] {
            assert!(base_chains(junk).is_empty());
        }
    }

    #[test]
    fn a_program_that_fails_or_is_missing_is_named() {
        let error = finish("no-such-program", spawn("no-such-program", &[])).unwrap_err();
        assert!(
            error.contains("no-such-program is not installed"),
            "{error}"
        );
        let error = finish("nft", spawn("nft", &["nonsense"])).unwrap_err();
        assert!(error.starts_with("nft: Error: "), "{error}");
    }
}
