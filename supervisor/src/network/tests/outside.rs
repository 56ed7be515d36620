//! The rest of the world: other supervisors, other networks, the firewall.

use super::super::*;
use super::machine::{Machine, Space, attach, command, none, on_machine, wait};

/// A network beyond the machine, whose hosts know no route to Pods.
fn internet() -> Space {
    let outside = Space::new();
    command(
        "ip",
        &[
            "link", "add", "wan0", "type", "veth", "peer", "name", "wan1",
        ],
    );
    let path = outside.path();
    // `ip` takes a namespace by a path of its own process.
    let path = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        path.file_name().unwrap().display()
    );
    command("ip", &["link", "set", "wan1", "netns", &path]);
    command("ip", &["address", "add", "198.51.100.1/24", "dev", "wan0"]);
    command("ip", &["link", "set", "wan0", "up"]);
    command("ip", &["route", "add", "default", "via", "198.51.100.2"]);
    outside.run(|| {
        command("ip", &["address", "add", "198.51.100.2/24", "dev", "wan1"]);
        command("ip", &["link", "set", "wan1", "up"]);
    });
    outside
}

#[test]
fn pods_reach_the_outside_masqueraded() {
    on_machine(|machine| {
        let outside = internet();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        let network = machine.network(NetworkConfig::default());
        let pod = Space::new();
        attach(&network, "uid", &pod);
        let server = outside.serve("198.51.100.2");
        assert_eq!(pod.ask(server).unwrap(), "hello 198.51.100.1");
        let notices = network.take_notices();
        assert_eq!(notices, [Notice::ForwardingEnabled]);
        assert!(!notices[0].is_warning());
        assert!(network.take_notices().is_empty());
    });
}

#[test]
fn a_forward_chain_that_drops_gets_rules_that_go_again() {
    on_machine(|machine| {
        let outside = internet();
        command("iptables", &["-P", "FORWARD", "DROP"]);
        let network = machine.network(NetworkConfig::default());
        let (one, two) = (Space::new(), Space::new());
        attach(&network, "uid-1", &one);
        let ip = attach(&network, "uid-2", &two).ips[0];
        let server = outside.serve("198.51.100.2");
        assert_eq!(one.ask(server).unwrap(), "hello 198.51.100.1");
        one.ping(ip).unwrap();
        let added = |notice: &Notice| matches!(notice, Notice::ForwardRulesAdded { .. });
        assert!(network.take_notices().iter().any(added));
        let rules = || command("iptables", &["-S", "FORWARD"]);
        assert_eq!(rules().lines().count(), 3, "{}", rules());
        // Again is not twice.
        wait(machine.network(NetworkConfig::default()).prepare()).unwrap();
        assert_eq!(rules().lines().count(), 3, "{}", rules());
        wait(network.prune(&none())).unwrap();
        assert_eq!(rules(), "-P FORWARD DROP\n");
    });
}

#[test]
fn another_chain_that_drops_is_named() {
    on_machine(|machine| {
        let add = |what: &str| command("nft", &[what]);
        add("add table inet strict");
        add("add chain inet strict through { type filter hook forward priority 0; policy drop; }");
        let network = machine.network(NetworkConfig::default());
        wait(network.prepare()).unwrap();
        let notices = network.take_notices();
        let warning = notices.iter().find(|n| n.is_warning()).unwrap();
        assert!(
            warning.to_string().contains("inet strict through"),
            "{warning}"
        );
    });
}

#[test]
fn supervisors_side_by_side_never_collide() {
    on_machine(|machine| {
        let others: Vec<Machine> = (0..3)
            .map(|_| Machine {
                state: tempfile::tempdir().unwrap(),
            })
            .collect();
        // All at once, each from a thread of its own.
        let networks: Vec<Network> = std::thread::scope(|scope| {
            let start = |machine: &Machine| {
                let network = machine.network(NetworkConfig::default());
                wait(network.prepare()).unwrap();
                network
            };
            let threads: Vec<_> = others
                .iter()
                .map(|m| scope.spawn(move || start(m)))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let pods: Vec<Space> = networks.iter().map(|_| Space::new()).collect();
        let attached: Vec<Attachment> = networks
            .iter()
            .zip(&pods)
            .map(|(network, pod)| attach(network, "the-same-uid", pod))
            .collect();
        let gateways: HashSet<_> = attached.iter().map(|a| a.gateway).collect();
        assert_eq!(gateways.len(), 3, "{attached:?}");
        for pod in &pods {
            for attachment in &attached {
                pod.ping(attachment.ips[0]).unwrap();
            }
        }
        // One ends, the others live on.
        wait(networks[0].prune(&none())).unwrap();
        pods[1].ping(attached[2].ips[0]).unwrap();
        assert_eq!(
            machine
                .links()
                .iter()
                .filter(|l| l.starts_with("veth"))
                .count(),
            2
        );
    });
}

#[test]
fn a_subnet_in_use_elsewhere_is_refused_or_avoided() {
    on_machine(|machine| {
        command("ip", &["link", "add", "vpn", "type", "bridge"]);
        command("ip", &["link", "set", "vpn", "up"]);
        command("ip", &["address", "add", "10.86.3.1/24", "dev", "vpn"]);
        let wanted = NetworkConfig {
            subnet: Some("10.86.0.0/16".parse().unwrap()),
            ..NetworkConfig::default()
        };
        let error = wait(machine.network(wanted).prepare()).unwrap_err();
        assert!(matches!(error, NetworkError::SubnetTaken { .. }), "{error}");
        assert_eq!(machine.links(), ["lo", "vpn"]);
        let network = machine.network(NetworkConfig::default());
        let attachment = attach(&network, "uid", &Space::new());
        assert_eq!(attachment.gateway.to_string(), "10.86.16.1");
    });
}

#[test]
fn settings_that_contradict_running_pods_are_refused_and_taken_afterwards() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        let pod = Space::new();
        let first = attach(&network, "uid", &pod);
        let subnet = NetworkConfig {
            subnet: Some("10.99.0.0/24".parse().unwrap()),
            ..NetworkConfig::default()
        };
        let bridge = NetworkConfig {
            bridge: Some("other0".into()),
            ..NetworkConfig::default()
        };
        for config in [&subnet, &bridge] {
            let error = wait(machine.network(config.clone()).prepare()).unwrap_err();
            assert!(matches!(error, NetworkError::InUse { .. }), "{error}");
        }
        pod.ping(first.gateway).unwrap();
        wait(network.detach("uid")).unwrap();
        let moved = attach(&machine.network(subnet), "uid", &pod);
        assert_eq!(moved.ips[0].to_string(), "10.99.0.2");
        pod.ping(moved.gateway).unwrap();
        wait(network.detach("uid")).unwrap();
        wait(machine.network(bridge).prepare()).unwrap();
        assert_eq!(machine.links(), ["lo", "other0"]);
    });
}

#[test]
fn an_interface_of_someone_else_is_left_alone() {
    on_machine(|machine| {
        command("ip", &["link", "add", "mine", "type", "bridge"]);
        let config = NetworkConfig {
            bridge: Some("mine".into()),
            ..NetworkConfig::default()
        };
        let network = machine.network(config);
        let error = wait(network.prepare()).unwrap_err();
        assert!(
            matches!(error, NetworkError::NotOurBridge { .. }),
            "{error}"
        );
        wait(network.prune(&none())).unwrap();
        assert_eq!(machine.links(), ["lo", "mine"]);
        let bad = NetworkConfig {
            bridge: Some("../x".into()),
            ..NetworkConfig::default()
        };
        assert!(Network::open(machine.state.path(), bad).is_err());
    });
}

#[test]
fn a_pod_takes_the_mtu_of_the_way_out() {
    on_machine(|machine| {
        let _outside = internet();
        command("ip", &["link", "set", "wan0", "mtu", "1380"]);
        let network = machine.network(NetworkConfig::default());
        let pod = Space::new();
        attach(&network, "uid", &pod);
        let link = pod.run(|| command("ip", &["link", "show", "eth0"]));
        assert!(link.contains("mtu 1380"), "{link}");
    });
}

#[test]
fn pods_do_not_believe_router_advertisements() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        let pod = Space::new();
        attach(&network, "uid", &pod);
        let setting = |name: &str| {
            let path = format!("/proc/sys/net/ipv6/conf/{name}/accept_ra");
            std::fs::read_to_string(path).unwrap()
        };
        assert_eq!(pod.run(|| setting("eth0")), "0\n");
        let bridge = wait(network.leftovers(&none())).unwrap().bridge.unwrap();
        assert_eq!(setting(&bridge), "0\n");
    });
}
