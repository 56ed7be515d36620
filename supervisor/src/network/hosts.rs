//! `/etc/hosts` and `/etc/hostname` of a container, as the kubelet writes them (pkg/kubelet/kubelet_pods.go).

use std::fmt::Write;
use std::net::IpAddr;

use carob_core::pod::HostAlias;

use super::error::NetworkError;

const HEADER: &str = "# Kubernetes-managed hosts file.\n";
const HEADER_HOST_NETWORK: &str = "# Kubernetes-managed hosts file (host network).\n";

/// The kubelet's own lines, its IPv6 addresses included as they are.
const LOCAL: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    fe00::0\tip6-mcastprefix\n\
    fe00::1\tip6-allnodes\n\
    fe00::2\tip6-allrouters\n";

/// The longest host name that the kernel's UTS namespace takes.
const HOSTNAME_MAX: usize = 63;

/// The longest DNS name.
const NAME_MAX: usize = 253;

/// `/etc/hosts` of a Pod with its own network.
///
/// `domain` is the part of its fully qualified name after the host name (`SUBDOMAIN.NAMESPACE.svc.CLUSTERDOMAIN`)
/// when the Pod has a `subdomain`. Fails on a name or an alias's name that cannot stand in the file.
pub fn pod(
    ips: &[IpAddr],
    hostname: &str,
    domain: Option<&str>,
    aliases: &[HostAlias],
) -> Result<String, NetworkError> {
    check_name("hostname", hostname)?;
    let names = match domain {
        Some(domain) => {
            check_name("subdomain", domain)?;
            format!("{hostname}.{domain}\t{hostname}")
        }
        None => hostname.to_owned(),
    };
    let mut text = format!("{HEADER}{LOCAL}");
    for ip in ips {
        let _ = writeln!(text, "{ip}\t{names}");
    }
    add_aliases(&mut text, aliases)?;
    Ok(text)
}

/// `/etc/hosts` of a Pod with `hostNetwork`: the host's own and the aliases.
pub fn host_network(host: &str, aliases: &[HostAlias]) -> Result<String, NetworkError> {
    let mut text = format!("{HEADER_HOST_NETWORK}{host}");
    add_aliases(&mut text, aliases)?;
    Ok(text)
}

/// `/etc/hostname`.
pub fn hostname_file(hostname: &str) -> Result<String, NetworkError> {
    check_name("hostname", hostname)?;
    Ok(format!("{hostname}\n"))
}

/// A Pod's host name: `spec.hostname` or else the Pod's name, cut to the 63 characters that a host name may have, as
/// the kubelet does, and not ending in '-' or '.' then.
pub fn pod_hostname(pod_name: &str, hostname: Option<&str>) -> Result<String, NetworkError> {
    let name = hostname.filter(|h| !h.is_empty()).unwrap_or(pod_name);
    check_name("hostname", name)?;
    // Only ASCII passed the check, so any place is a character's boundary.
    let cut = &name[..name.len().min(HOSTNAME_MAX)];
    Ok(cut.trim_end_matches(['-', '.']).to_owned())
}

fn add_aliases(text: &mut String, aliases: &[HostAlias]) -> Result<(), NetworkError> {
    if aliases.is_empty() {
        return Ok(());
    }
    text.push_str("\n# Entries added by HostAliases.\n");
    for (i, alias) in aliases.iter().enumerate() {
        for (j, name) in alias.hostnames.iter().enumerate() {
            check_name(&format!("hostAliases[{i}].hostnames[{j}]"), name)?;
        }
        let _ = writeln!(text, "{}\t{}", alias.ip, alias.hostnames.join("\t"));
    }
    Ok(())
}

/// A DNS-1123 subdomain: what Kubernetes takes for host names and aliases. A name with a space or a line break in it
/// would add entries of its own.
fn check_name(field: &str, name: &str) -> Result<(), NetworkError> {
    if is_subdomain(name) {
        return Ok(());
    }
    Err(NetworkError::invalid(
        field,
        format!(
            "{name:?} is not a DNS name: lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit, {NAME_MAX} characters at most"
        ),
    ))
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.split('.').all(|label| {
            let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            label.bytes().all(|b| alphanumeric(&b) || b == b'-')
                && label.as_bytes().first().is_some_and(alphanumeric)
                && label.as_bytes().last().is_some_and(alphanumeric)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(ip: &str, names: &[&str]) -> HostAlias {
        HostAlias {
            ip: ip.parse().unwrap(),
            hostnames: names.iter().map(|&n| n.into()).collect(),
        }
    }

    #[test]
    fn a_pods_hosts_file_is_the_kubelets() {
        let ips = ["10.86.0.2".parse().unwrap()];
        let aliases = [alias("1.2.3.4", &["foo.local", "bar.local"])];
        assert_eq!(
            pod(&ips, "web", None, &aliases).unwrap(),
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n\
             10.86.0.2\tweb\n\n# Entries added by HostAliases.\n1.2.3.4\tfoo.local\tbar.local\n"
        );
        let qualified = pod(&ips, "web", Some("sub.ns.svc.cluster.local"), &[]).unwrap();
        assert!(
            qualified.ends_with("\n10.86.0.2\tweb.sub.ns.svc.cluster.local\tweb\n"),
            "{qualified}"
        );
    }

    #[test]
    fn a_host_network_pod_has_the_hosts_own_file() {
        let text = host_network("127.0.0.1 localhost\n", &[alias("::2", &["x"])]).unwrap();
        assert_eq!(
            text,
            "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n\n# Entries added by HostAliases.\n::2\tx\n"
        );
    }

    #[test]
    fn b36_bad_aliases_and_names_are_refused_by_field() {
        for bad in [
            "a\n6.6.6.6 bank",
            "a b",
            "",
            "A",
            "-a",
            "a.",
            "a..b",
            "a\tb",
            "ü",
        ] {
            let error = host_network("", &[alias("::1", &["ok", bad])]).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("hostAliases[0].hostnames[1]: "),
                "{error}"
            );
            assert!(pod(&[], bad, None, &[]).is_err(), "{bad:?}");
            assert!(hostname_file(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_to_a_host_name() {
        let long = format!("{}-{}", "a".repeat(62), "b".repeat(20));
        assert_eq!(pod_hostname(&long, None).unwrap(), "a".repeat(62));
        assert_eq!(pod_hostname("web", Some("db")).unwrap(), "db");
        assert_eq!(pod_hostname("web", Some("")).unwrap(), "web");
        assert_eq!(hostname_file("web").unwrap(), "web\n");
    }
}
