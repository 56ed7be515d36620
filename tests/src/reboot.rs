//! What a restart of the machine takes away: everything but files on a disk.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::left;
use crate::witness::{Witness, entries};

/// Takes it away from the supervisors whose directories lie below `dir`, none of which may run.
pub(crate) fn lose(dir: &Path, witness: &Witness) {
    witness.look();
    let seen = witness.seen();
    for cgroup in left::cgroup_dirs(&seen) {
        kill_all(&cgroup);
        remove(&cgroup);
    }
    // The last mounted first.
    for point in left::mount_points(dir).iter().rev() {
        run("umount", &["-l", point]);
    }
    for interface in &seen.interfaces {
        if Path::new("/sys/class/net").join(interface).exists() {
            run("ip", &["link", "delete", interface]);
        }
    }
    for table in left::tables(&seen) {
        let words: Vec<&str> = table.split_whitespace().skip(1).collect();
        run("nft", &["delete", "table", words[0], words[1]]);
    }
    for socket in &seen.sockets {
        let _ = fs::remove_file(socket);
    }
}

/// Kills what is in a cgroup, and waits until it is empty.
fn kill_all(cgroup: &Path) {
    let pids = |dir: &Path| -> Vec<i32> {
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    for child in entries(cgroup).iter().filter(|path| path.is_dir()) {
        kill_all(child);
    }
    while let found @ [_, ..] = &pids(cgroup)[..] {
        for &pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn remove(cgroup: &Path) {
    for child in entries(cgroup).iter().filter(|path| path.is_dir()) {
        remove(child);
    }
    fs::remove_dir(cgroup).unwrap_or_else(|error| panic!("{}: {error}", cgroup.display()));
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program)
        .args(args)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .status()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(status.success(), "{program} {args:?}");
}
