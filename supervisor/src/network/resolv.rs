//! `/etc/resolv.conf` of a container: the kubelet's rules (pkg/kubelet/network/dns), in containerd's layout.

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

use carob_core::pod::{DnsConfig, DnsPolicy};

use super::error::NetworkError;

/// Kubernetes' limits (pkg/apis/core/validation).
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARACTERS: usize = 2048;
const MAX_NAME: usize = 253;

/// The host's own files. systemd-resolved's stub address in the first answers only on the host; the second has the
/// servers behind it.
const HOST_FILE: &str = "/etc/resolv.conf";
const RESOLVED_FILE: &str = "/run/systemd/resolve/resolv.conf";

/// What a `resolv.conf` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolv {
    /// Name servers' addresses.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Options, as `ndots:5` or `rotate`.
    pub options: Vec<String>,
}

/// The host's settings, for [`pod`]: `/etc/resolv.conf`, or what stands behind it when that names only addresses of the
/// host's own loopback, which a Pod cannot reach. A missing file is empty.
pub fn host() -> Result<Resolv, NetworkError> {
    let own = read(Path::new(HOST_FILE))?;
    if own.servers.iter().all(|server| is_loopback(server)) {
        let behind = read(Path::new(RESOLVED_FILE))?;
        if !behind.servers.is_empty() {
            return Ok(behind);
        }
    }
    Ok(own)
}

fn read(path: &Path) -> Result<Resolv, NetworkError> {
    match fs::read(path) {
        Ok(text) => Ok(parse(&String::from_utf8_lossy(&text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Resolv::default()),
        Err(error) => Err(NetworkError::file("read", path, error)),
    }
}

fn is_loopback(server: &str) -> bool {
    server.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Reads a `resolv.conf`: servers add up; of several `search` or `options` lines the last counts.
pub fn parse(text: &str) -> Resolv {
    let mut resolv = Resolv::default();
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => resolv.servers.extend(words.next().map(str::to_owned)),
            Some("search") => {
                resolv.searches = words
                    .map(|word| word.strip_suffix('.').unwrap_or(word).to_owned())
                    .collect();
            }
            Some("options") => resolv.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    resolv
}

/// A Pod's `resolv.conf`, and what had to be left out of it (the kubelet's `DNSConfigForming` events).
///
/// Every policy but `None` gives the host's settings: there is no cluster and so no cluster DNS; the kubelet does the
/// same then. Fails, naming the field, on a `dnsConfig` that Kubernetes would not take: more than 3 servers, more than
/// 32 search domains or 2048 characters of them, something that is no name, no server with the policy `None`.
pub fn pod(
    policy: DnsPolicy,
    config: &DnsConfig,
    host: &Resolv,
) -> Result<(String, Vec<String>), NetworkError> {
    let mut resolv = match policy {
        DnsPolicy::None => Resolv::default(),
        _ => host.clone(),
    };
    check(config)?;
    resolv
        .servers
        .extend(config.nameservers.iter().map(ToString::to_string));
    resolv.searches.extend(config.searches.iter().cloned());
    for (name, value) in &config.options {
        merge_option(&mut resolv.options, name, value.as_deref());
    }
    if policy == DnsPolicy::None && resolv.servers.is_empty() {
        return Err(NetworkError::invalid(
            "dnsConfig.nameservers",
            "must provide at least one DNS nameserver when `dnsPolicy` is \"None\"",
        ));
    }
    omit_duplicates(&mut resolv.servers);
    omit_duplicates(&mut resolv.searches);
    let left_out = fit_limits(&mut resolv);
    Ok((render(&resolv), left_out))
}

fn check(config: &DnsConfig) -> Result<(), NetworkError> {
    let field = |name: &str| format!("dnsConfig.{name}");
    if config.nameservers.len() > MAX_SERVERS {
        return Err(NetworkError::invalid(
            field("nameservers"),
            format!("must not have more than {MAX_SERVERS} nameservers"),
        ));
    }
    if config.searches.len() > MAX_SEARCHES {
        return Err(NetworkError::invalid(
            field("searches"),
            format!("must not have more than {MAX_SEARCHES} search paths"),
        ));
    }
    if characters(&config.searches) > MAX_SEARCH_CHARACTERS {
        return Err(NetworkError::invalid(
            field("searches"),
            format!(
                "must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list"
            ),
        ));
    }
    for (i, search) in config.searches.iter().enumerate() {
        if !is_search_domain(search) {
            return Err(NetworkError::invalid(
                field(&format!("searches[{i}]")),
                format!("{search:?} is not a DNS name"),
            ));
        }
    }
    for (i, (name, value)) in config.options.iter().enumerate() {
        let word = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if name.is_empty() || !word(name) || !value.as_deref().is_none_or(word) {
            return Err(NetworkError::invalid(
                field(&format!("options[{i}]")),
                "must have a name, and neither it nor the value may contain blanks".to_owned(),
            ));
        }
    }
    Ok(())
}

/// A DNS name in lower case, underscores allowed (as for SRV and such), with or without the dot at its end; or just "."
fn is_search_domain(search: &str) -> bool {
    let name = search.strip_suffix('.').unwrap_or(search);
    search == "."
        || name.len() <= MAX_NAME
            && name.split('.').all(|label| {
                let inner =
                    |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
                !label.is_empty()
                    && label.bytes().all(inner)
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            })
}

/// A later option of the same name takes the place of the earlier.
fn merge_option(options: &mut Vec<String>, name: &str, value: Option<&str>) {
    let option = match value.filter(|value| !value.is_empty()) {
        Some(value) => format!("{name}:{value}"),
        None => name.to_owned(),
    };
    let same = |o: &&mut String| o.split(':').next() == Some(name);
    match options.iter_mut().find(same) {
        Some(place) => *place = option,
        None => options.push(option),
    }
}

fn omit_duplicates(list: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|item| seen.insert(item.clone()));
}

/// The length of the search list as one line.
fn characters(searches: &[String]) -> usize {
    searches
        .iter()
        .map(|s| s.len() + 1)
        .sum::<usize>()
        .saturating_sub(1)
}

fn fit_limits(resolv: &mut Resolv) -> Vec<String> {
    let mut left_out = Vec::new();
    if resolv.servers.len() > MAX_SERVERS {
        resolv.servers.truncate(MAX_SERVERS);
        left_out.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            resolv.servers.join(" ")
        ));
    }
    let before = resolv.searches.len();
    resolv.searches.truncate(MAX_SEARCHES);
    // glibc 2.28 aborts on a longer one.
    resolv.searches.retain(|search| search.len() <= MAX_NAME);
    while characters(&resolv.searches) > MAX_SEARCH_CHARACTERS {
        resolv.searches.pop();
    }
    if resolv.searches.len() < before {
        left_out.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            resolv.searches.join(" ")
        ));
    }
    left_out
}

fn render(resolv: &Resolv) -> String {
    let mut text = String::new();
    if !resolv.searches.is_empty() {
        let _ = writeln!(text, "search {}", resolv.searches.join(" "));
    }
    for server in &resolv.servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !resolv.options.is_empty() {
        let _ = writeln!(text, "options {}", resolv.options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# comment nameserver 9.9.9.9\nnameserver 192.0.2.53\nsearch old.example\n\
        search corp.example. lan\noptions edns0 ndots:2\n";

    fn config(servers: &[&str], searches: &[&str], options: &[(&str, Option<&str>)]) -> DnsConfig {
        DnsConfig {
            nameservers: servers.iter().map(|s| s.parse().unwrap()).collect(),
            searches: searches.iter().map(|&s| s.into()).collect(),
            options: options
                .iter()
                .map(|&(n, v)| (n.into(), v.map(str::to_owned)))
                .collect(),
        }
    }

    #[test]
    fn the_hosts_settings_are_the_pods() {
        for policy in [
            DnsPolicy::Default,
            DnsPolicy::ClusterFirst,
            DnsPolicy::ClusterFirstWithHostNet,
        ] {
            let (text, left_out) = pod(policy, &DnsConfig::default(), &parse(HOST)).unwrap();
            assert_eq!(
                text,
                "search corp.example lan\nnameserver 192.0.2.53\noptions edns0 ndots:2\n"
            );
            assert!(left_out.is_empty());
        }
    }

    #[test]
    fn dns_config_is_merged_and_wins() {
        let config = config(
            &["192.0.2.53", "2001:db8::1"],
            &["lan", "x.example"],
            &[("ndots", Some("5")), ("rotate", None)],
        );
        let (text, _) = pod(DnsPolicy::Default, &config, &parse(HOST)).unwrap();
        assert_eq!(
            text,
            "search corp.example lan x.example\nnameserver 192.0.2.53\nnameserver 2001:db8::1\noptions edns0 ndots:5 rotate\n"
        );
        let (text, _) = pod(DnsPolicy::None, &config, &parse(HOST)).unwrap();
        assert_eq!(
            text,
            "search lan x.example\nnameserver 192.0.2.53\nnameserver 2001:db8::1\noptions ndots:5 rotate\n"
        );
    }

    #[test]
    fn b35_what_kubernetes_would_refuse_is_refused_by_field() {
        let many: Vec<String> = (0..33).map(|i| format!("d{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let long = format!("{}.{0}.{0}.{0}", "a".repeat(60));
        let cases = [
            (
                config(&["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"], &[], &[]),
                "dnsConfig.nameservers: ",
            ),
            (config(&[], &many, &[]), "dnsConfig.searches: "),
            (
                config(&[], &[long.as_str(); 9], &[]),
                "dnsConfig.searches: ",
            ),
            (config(&[], &["ok", "a b"], &[]), "dnsConfig.searches[1]: "),
            (config(&[], &[], &[("", None)]), "dnsConfig.options[0]: "),
            (
                config(&[], &[], &[("a", Some("b\nnameserver 6.6.6.6"))]),
                "dnsConfig.options[0]: ",
            ),
        ];
        for (config, field) in cases {
            let error = pod(DnsPolicy::Default, &config, &Resolv::default()).unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
        let error = pod(DnsPolicy::None, &DnsConfig::default(), &parse(HOST)).unwrap_err();
        assert!(
            error.to_string().contains("at least one DNS nameserver"),
            "{error}"
        );
    }

    #[test]
    fn names_with_underscores_and_the_root_are_search_domains() {
        for good in [".", "a.", "_tcp.example", "a-b.c"] {
            assert!(is_search_domain(good), "{good}");
        }
        for bad in ["", "..", "a..b", "-a", "a-", "A"] {
            assert!(!is_search_domain(bad), "{bad}");
        }
    }

    #[test]
    fn what_exceeds_the_limits_together_is_left_out_and_told() {
        let host = Resolv {
            servers: (1..=3).map(|i| format!("192.0.2.{i}")).collect(),
            searches: (0..31).map(|i| format!("d{i}")).collect(),
            options: vec![],
        };
        let config = config(&["192.0.2.9"], &["x", "y"], &[]);
        let (text, left_out) = pod(DnsPolicy::Default, &config, &host).unwrap();
        assert_eq!(text.matches("nameserver").count(), 3);
        assert!(text.contains(" x\n") && !text.contains('y'), "{text}");
        assert_eq!(left_out.len(), 2, "{left_out:?}");
        let host = Resolv {
            searches: (0..20).map(|i| format!("{i}{}", "a".repeat(200))).collect(),
            ..Resolv::default()
        };
        let (text, left_out) = pod(DnsPolicy::Default, &DnsConfig::default(), &host).unwrap();
        assert!(text.len() <= MAX_SEARCH_CHARACTERS + "search \n".len());
        assert_eq!(left_out.len(), 1);
    }
}
