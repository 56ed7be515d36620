//! Pods are attached, reach each other and the host, and are attached again.

use std::net::IpAddr;

use super::super::*;
use super::machine::{Space, ask, attach, command, none, on_machine, wait};

#[test]
fn pods_and_host_reach_each_other() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        let (one, two) = (Space::new(), Space::new());
        let first = attach(&network, "uid-1", &one);
        let second = attach(&network, "uid-2", &two);
        let (ip1, ip2) = (first.ips[0], second.ips[0]);
        assert_ne!(ip1, ip2);
        assert_eq!(
            (first.ifname.as_str(), first.gateway),
            ("eth0", second.gateway)
        );
        assert!(machine.links().contains(&first.host_ifname));

        one.ping(ip2).unwrap();
        two.ping(ip1).unwrap();
        one.ping(first.gateway).unwrap();
        let server = one.serve(&ip1.to_string());
        assert_eq!(two.ask(server).unwrap(), format!("hello {ip2}"));
        assert_eq!(ask(server).unwrap(), format!("hello {}", first.gateway));
        // A Pod's own address and its loopback, of both families, are its own.
        one.ping(ip1).unwrap();
        for loopback in ["127.0.0.1", "::1"] {
            let server = one.serve(loopback);
            assert!(one.ask(server).is_ok());
            assert!(two.ask(server).is_err());
        }
        assert!(
            one.run(|| command("ip", &["route"]))
                .starts_with("default via")
        );
    });
}

#[test]
fn the_first_pod_is_reachable_at_once() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        let pod = Space::new();
        let ip = attach(&network, "uid", &pod).ips[0];
        let server = pod.serve(&ip.to_string());
        // One try, no wait for a carrier.
        ask(server).unwrap();
    });
}

#[test]
fn attaching_again_changes_nothing() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        let pod = Space::new();
        let first = attach(&network, "uid", &pod);
        let links = machine.links();
        assert_eq!(attach(&network, "uid", &pod), first);
        assert_eq!(machine.links(), links);
        // And by the next supervisor.
        let next = machine.network(NetworkConfig::default());
        assert_eq!(attach(&next, "uid", &pod), first);
        assert_eq!(machine.links(), links);
        pod.ping(first.gateway).unwrap();
    });
}

#[test]
fn an_attachment_that_was_cut_short_is_finished() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        let pod = Space::new();
        let first = attach(&network, "uid", &pod);
        // As a supervisor killed between making the pair and configuring it leaves it.
        pod.run(|| command("ip", &["address", "flush", "dev", "eth0"]));
        pod.run(|| command("ip", &["link", "set", "eth0", "down"]));
        command("ip", &["link", "set", &first.host_ifname, "down"]);
        assert_eq!(attach(&network, "uid", &pod), first);
        pod.ping(first.gateway).unwrap();
    });
}

#[test]
fn a_pod_whose_sandbox_was_made_again_keeps_its_address() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        let old = Space::new();
        let first = attach(&network, "uid", &old);
        let new = Space::new();
        assert_eq!(attach(&network, "uid", &new), first);
        new.ping(first.gateway).unwrap();
        assert!(!old.run(|| command("ip", &["link"])).contains("eth0"));
    });
}

#[test]
fn a_given_hardware_address_is_used() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        let pod = Space::new();
        let mac = [0x02, 1, 2, 3, 4, 5];
        let attachment = wait(network.attach("uid", &pod.path(), Some(mac))).unwrap();
        pod.ping(attachment.gateway).unwrap();
        let link = pod.run(|| command("ip", &["link", "show", "eth0"]));
        assert!(link.contains("02:01:02:03:04:05"), "{link}");
    });
}

#[test]
fn many_pods_at_once_get_addresses_of_their_own() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        let pods: Vec<Space> = (0..20).map(|_| Space::new()).collect();
        let attached = wait(async {
            let mut tasks = Vec::new();
            for (i, pod) in pods.iter().enumerate() {
                let (network, path) = (network.clone(), pod.path());
                tasks.push(tokio::spawn(async move {
                    network.attach(&format!("uid-{i}"), &path, None).await
                }));
            }
            let mut attached = Vec::new();
            for task in tasks {
                attached.push(task.await.unwrap().unwrap());
            }
            attached
        });
        let ips: HashSet<IpAddr> = attached.iter().map(|a| a.ips[0]).collect();
        assert_eq!(ips.len(), pods.len());
        for (pod, attachment) in pods.iter().zip(&attached) {
            pod.ping(attached[0].ips[0]).unwrap();
            pod.ping(attachment.gateway).unwrap();
        }
    });
}

#[test]
fn b55_an_exhausted_subnet_fails_clearly_and_leaves_nothing() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig {
            subnet: Some("10.9.8.0/29".parse().unwrap()),
            ..NetworkConfig::default()
        });
        let pods: Vec<Space> = (0..6).map(|_| Space::new()).collect();
        for (i, pod) in pods[..5].iter().enumerate() {
            attach(&network, &format!("uid-{i}"), pod);
        }
        let links = machine.links();
        let error = wait(network.attach("uid-5", &pods[5].path(), None)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("no address is left in the Pod subnet 10.9.8.0/29"),
            "{error}"
        );
        assert_eq!(machine.links(), links);
        wait(network.detach("uid-3")).unwrap();
        assert_eq!(
            attach(&network, "uid-5", &pods[5]).ips[0].to_string(),
            "10.9.8.5"
        );
    });
}

#[test]
fn what_is_no_pods_namespace_is_refused_and_leaves_nothing() {
    on_machine(|machine| {
        let network = machine.network(NetworkConfig::default());
        wait(network.prepare()).unwrap();
        let before = (machine.links(), machine.files());
        let try_path = |path: &str| wait(network.attach("uid", Path::new(path), None)).unwrap_err();
        let host = format!("/proc/{}/ns/net", nix::unistd::gettid());
        assert!(try_path(&host).to_string().contains("the host's own"));
        assert!(
            try_path("/nonexistent/ns")
                .to_string()
                .contains("/nonexistent/ns")
        );
        for path in ["/dev/null", "/proc/self/ns/uts"] {
            let error = try_path(path);
            assert!(
                matches!(error, NetworkError::BadNamespace { .. }),
                "{error}"
            );
        }
        for uid in ["", "a/b", "a\nb", ".."] {
            let pod = Space::new();
            let error = wait(network.attach(uid, &pod.path(), None)).unwrap_err();
            assert!(matches!(error, NetworkError::BadUid(_)), "{error}");
        }
        let taken = Space::new();
        taken.run(|| command("ip", &["link", "add", "eth0", "type", "bridge"]));
        let error = wait(network.attach("uid", &taken.path(), None)).unwrap_err();
        assert!(
            matches!(error, NetworkError::ForeignInterface { .. }),
            "{error}"
        );
        let mut after = (machine.links(), machine.files());
        after.1.retain(|path| !path.ends_with("last_reserved_ip.0"));
        assert_eq!(after, before);
        assert!(wait(network.leftovers(&none())).unwrap().pods.is_empty());
    });
}

#[test]
fn the_callers_thread_stays_in_its_namespace() {
    on_machine(|machine| {
        let own = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let before = own();
        let network = machine.network(NetworkConfig::default());
        attach(&network, "uid", &Space::new());
        assert_eq!(own(), before);
    });
}
