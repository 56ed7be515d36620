//! What is made goes again: by detaching, by pruning after a kill, by closing.

use super::super::*;
use super::machine::{Space, attach, command, none, on_machine, wait};

#[test]
fn detaching_frees_everything_and_can_be_repeated() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        wait(network.prepare()).unwrap();
        let before = machine.links();
        let pod = Space::new();
        let attachment = attach(&network, "uid", &pod);
        wait(network.detach("uid")).unwrap();
        wait(network.detach("uid")).unwrap();
        wait(network.detach("never-attached")).unwrap();
        assert_eq!(machine.links(), before);
        assert!(!pod.run(|| command("ip", &["link"])).contains("eth0"));
        let ip = attachment.ips[0].to_string();
        assert!(!machine.files().iter().any(|path| path.ends_with(&ip)));
    });
}

#[test]
fn detaching_works_after_the_namespace_is_gone() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        let pod = Space::new();
        let attachment = attach(&network, "uid", &pod);
        drop(pod);
        wait(network.detach("uid")).unwrap();
        assert!(!machine.links().contains(&attachment.host_ifname));
        assert!(wait(network.close()).unwrap());
    });
}

#[test]
fn closing_waits_for_the_last_pod_and_leaves_nothing() {
    on_machine(|machine| {
        let before = machine.links();
        let network = machine.network(NetworkConfig::default());
        attach(&network, "uid", &Space::new());
        assert!(command("nft", &["list", "ruleset"]).contains("masquerade"));
        assert!(!wait(network.close()).unwrap());
        wait(network.detach("uid")).unwrap();
        assert!(wait(network.close()).unwrap());
        assert_eq!(machine.links(), before);
        assert!(machine.files().is_empty(), "{:?}", machine.files());
        assert_eq!(command("nft", &["list", "ruleset"]), "");
        // And once more, and anew.
        assert!(wait(network.close()).unwrap());
        let pod = Space::new();
        let attachment = attach(&network, "uid", &pod);
        pod.ping(attachment.gateway).unwrap();
    });
}

#[test]
fn what_a_killed_supervisor_left_is_named_and_pruned() {
    on_machine(|machine| {
        let before = machine.links();
        let network = machine.network(NetworkConfig::default());
        let (live, dead) = (Space::new(), Space::new());
        let kept = attach(&network, "live", &live);
        let lost = attach(&network, "dead", &dead);
        drop(network);
        // An address and a record that were being written, and a pair of which no record was made.
        std::fs::write(machine.state.path().join("ipam/10.86.5.5"), "").unwrap();
        std::fs::write(machine.state.path().join(".network.json.1"), "{").unwrap();
        let bridge = wait(machine.network(NetworkConfig::default()).leftovers(&none()))
            .unwrap()
            .bridge
            .unwrap();
        command(
            "ip",
            &[
                "link", "add", "stray0", "type", "veth", "peer", "name", "stray1",
            ],
        );
        command("ip", &["link", "set", "stray0", "master", &bridge]);

        let next = machine.network(NetworkConfig::default());
        let live_uids = HashSet::from(["live".to_owned()]);
        let left = wait(next.leftovers(&live_uids)).unwrap();
        assert!(
            left.pods.contains(&("dead".to_owned(), lost.ips[0])),
            "{left:?}"
        );
        let mut interfaces = left.interfaces.clone();
        interfaces.sort();
        assert_eq!(interfaces, ["stray0".to_owned(), lost.host_ifname.clone()]);
        assert_eq!(left.bridge, None);
        assert_eq!(wait(next.prune(&live_uids)).unwrap(), left);
        assert!(wait(next.leftovers(&live_uids)).unwrap().is_empty());
        live.ping(kept.gateway).unwrap();

        let left = wait(next.prune(&none())).unwrap();
        assert_eq!(left.bridge.as_deref(), Some(bridge.as_str()));
        assert!(wait(next.leftovers(&none())).unwrap().is_empty());
        assert_eq!(machine.links(), before);
        assert!(machine.files().is_empty(), "{:?}", machine.files());
    });
}

#[test]
fn a_pod_is_attached_although_another_process_just_removed_the_bridge() {
    on_machine(|machine| {
        let (one, two) = (
            machine.network(NetworkConfig::default()),
            machine.network(NetworkConfig::default()),
        );
        wait(one.prepare()).unwrap();
        assert!(wait(two.close()).unwrap());
        let pod = Space::new();
        let attachment = attach(&one, "uid", &pod);
        pod.ping(attachment.gateway).unwrap();
        assert!(!wait(two.close()).unwrap());
    });
}
