//! What containers of a Pod share, with each other and with the machine: namespaces, network, files of `/etc`.

use std::io::{Read, Write};
use std::net::TcpListener;

use carob_tests::{Finished, Home, pod, shell, with};
use serde_json::{Value, json};

const NAMESPACES: &str =
    "cd /proc/self/ns; for n in mnt pid net ipc uts cgroup user; do echo $n $(readlink $n); done";

/// The namespace of a kind that a container printed.
fn namespace(run: &Finished, container: &str, kind: &str) -> String {
    let lines = run.lines_of(container);
    let line = lines
        .iter()
        .find_map(|l| l.strip_prefix(&format!("{kind} ")));
    line.unwrap_or_else(|| panic!("{kind} of {container} in {run:?}"))
        .to_owned()
}

fn host(kind: &str) -> String {
    let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    link.to_string_lossy().into_owned()
}

fn two(name: &str, more: Value) -> Value {
    let spec = json!({"containers": [shell("a", NAMESPACES), shell("b", NAMESPACES)]});
    pod(name, with(spec, more))
}

#[test]
fn containers_share_the_pods_network_ipc_and_host_name() {
    let home = Home::new();
    let run = home.run(&two("shared", json!({}))).expect(0);
    for kind in ["net", "ipc", "uts"] {
        assert_eq!(
            namespace(&run, "a", kind),
            namespace(&run, "b", kind),
            "{kind}"
        );
        assert_ne!(namespace(&run, "a", kind), host(kind), "{kind}");
    }
    for kind in ["mnt", "pid"] {
        assert_ne!(
            namespace(&run, "a", kind),
            namespace(&run, "b", kind),
            "{kind}"
        );
        assert_ne!(namespace(&run, "a", kind), host(kind), "{kind}");
    }
}

#[test]
fn the_machines_namespaces_can_be_had() {
    let home = Home::new();
    let spec = json!({"hostNetwork": true, "hostPID": true, "hostIPC": true});
    let run = home.run(&two("host", spec)).expect(0);
    for kind in ["net", "pid", "ipc"] {
        assert_eq!(namespace(&run, "a", kind), host(kind), "{kind}");
    }
    assert_ne!(namespace(&run, "a", "mnt"), host("mnt"));
}

#[test]
fn host_network_has_the_machines_addresses() {
    let home = Home::new();
    let spec =
        json!({"hostNetwork": true, "containers": [shell("main", "hostname; cat /etc/hostname")]});
    let run = home.run_json(&pod("host-net", spec)).expect(0);
    let pods = run.pods();
    let up = pods
        .iter()
        .find(|p| p.is_running("main") || p.state("main") == "Completed")
        .unwrap();
    assert_eq!(up.text("/status/podIP"), up.text("/status/hostIP"));
    assert_ne!(up.text("/status/podIP"), "");
}

#[test]
fn share_process_namespace_shows_the_others_and_reaps_orphans() {
    let home = Home::new();
    // The orphan's parent ends first; then who reaps it is init, and a zombie would stay in sight.
    let script = "cat /proc/1/comm; \
                  until grep -qs needle /proc/[0-9]*/cmdline; do :; done; echo sees; \
                  sh -c 'sh -c \"echo \\$\\$ >/tmp/orphan\" & '; \
                  until [ -s /tmp/orphan ]; do :; done; \
                  while [ -e /proc/$(cat /tmp/orphan) ]; do :; done; echo reaped";
    let other = shell(
        "other",
        "sh -c ': needle; sleep 1000' & trap 'exit 0' TERM; wait",
    );
    let main = shell("main", &script.replace("$$", "$$$$"));
    let spec = json!({
        "shareProcessNamespace": true,
        "initContainers": [with(other, json!({"restartPolicy": "Always"}))],
        "containers": [main],
    });
    let run = home.run(&pod("processes", spec)).expect(0);
    assert_eq!(run.lines_of("main"), ["pause", "sees", "reaped"]);
}

#[test]
fn shared_memory_is_shared() {
    let home = Home::new();
    let spec = json!({"containers": [
        shell("a", "echo from a >/dev/shm/tmp; mv /dev/shm/tmp /dev/shm/x"),
        shell("b", "until [ -e /dev/shm/x ]; do :; done; cat /dev/shm/x; grep ' /dev/shm ' /proc/mounts | grep -o size=.*k"),
    ]});
    let run = home.run(&pod("shm", spec)).expect(0);
    assert_eq!(run.lines_of("b"), ["from a", "size=65536k"]);
}

#[test]
fn etc_hosts_and_hostname_tell_who_the_pod_is() {
    let home = Home::new();
    let spec = json!({
        "hostAliases": [{"ip": "192.0.2.77", "hostnames": ["db", "db.example"]}],
        "containers": [with(
            shell("main", "hostname; cat /etc/hostname; echo $IP; cat /etc/hosts"),
            json!({"env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}),
        )],
    });
    let run = home.run(&pod("who-am-i", spec)).expect(0);
    let lines = run.lines_of("main");
    assert_eq!(lines[..2], ["who-am-i", "who-am-i"]);
    let ip = lines[2].clone();
    assert_eq!(lines[3], "# Kubernetes-managed hosts file.");
    for line in [
        "127.0.0.1\tlocalhost".to_owned(),
        format!("{ip}\twho-am-i"),
        "192.0.2.77\tdb\tdb.example".to_owned(),
    ] {
        assert!(lines[3..].contains(&line), "{line} in {lines:?}");
    }
}

#[test]
fn hostname_and_subdomain_are_the_specs() {
    let home = Home::new();
    let spec =
        json!({"hostname": "own", "containers": [shell("main", "hostname; cat /etc/hostname")]});
    let run = home.run(&pod("named", spec)).expect(0);
    assert_eq!(run.lines_of("main"), ["own", "own"]);
}

#[test]
fn dns_is_the_specs_or_the_machines() {
    let home = Home::new();
    let spec = json!({
        "dnsPolicy": "None",
        "dnsConfig": {
            "nameservers": ["192.0.2.53"], "searches": ["one.example", "two.example"],
            "options": [{"name": "ndots", "value": "3"}, {"name": "edns0"}],
        },
        "containers": [shell("main", "cat /etc/resolv.conf")],
    });
    let run = home.run(&pod("dns", spec)).expect(0);
    assert_eq!(
        run.lines_of("main"),
        [
            "search one.example two.example",
            "nameserver 192.0.2.53",
            "options ndots:3 edns0"
        ]
    );
}

#[test]
fn c17_files_of_etc_are_the_pods_and_change_nothing_elsewhere() {
    let home = Home::new();
    let before = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].map(|f| std::fs::read(f).ok());
    let script = "for f in hosts hostname resolv.conf; do echo tampered >>/etc/$f; done";
    home.run(&pod(
        "tampers",
        json!({"containers": [shell("main", script)]}),
    ))
    .expect(0);
    let after = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].map(|f| std::fs::read(f).ok());
    assert_eq!(before, after);
}

#[test]
fn a_pod_reaches_the_machine_it_runs_on() {
    let home = Home::new();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        stream.write_all(b"from the machine\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Until the other side closes.
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        from.ip().to_string()
    });
    let of = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let main = with(
        shell("main", &format!("echo $OWN; nc $HOST {port} </dev/null")),
        json!({"env": [of("HOST", "status.hostIP"), of("OWN", "status.podIP")]}),
    );
    let run = home
        .run(&pod("outward", json!({"containers": [main]})))
        .expect(0);
    let lines = run.lines_of("main");
    assert_eq!(lines[1], "from the machine");
    assert_eq!(
        server.join().unwrap(),
        lines[0],
        "no translation on the way"
    );
}
