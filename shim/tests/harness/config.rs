//! Root file systems and configurations for test containers.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Shim;

const APPLETS: &[&str] = &[
    "sh", "true", "false", "echo", "sleep", "cat", "ls", "id", "env", "kill", "mkdir", "mount",
    "stty", "head", "yes", "dd", "seq", "rm", "test", "readlink", "grep", "tr", "wc", "nohup",
    "hostname", "touch", "ps", "setsid", "usleep",
];

/// A root file system with busybox.
pub fn base_rootfs(dir: &Path) -> PathBuf {
    let base = dir.join("base");
    for sub in ["bin", "proc", "sys", "dev", "tmp", "etc", "root", "data"] {
        std::fs::create_dir_all(base.join(sub)).expect("made");
    }
    std::fs::copy("/bin/busybox", base.join("bin/busybox")).expect("busybox-static is installed");
    for applet in APPLETS {
        symlink("busybox", base.join("bin").join(applet)).expect("linked");
    }
    std::fs::write(base.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("written");
    base
}

/// A configuration such as containerd makes, running `args`.
pub fn config(args: &[&str]) -> Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/bin:/usr/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "hostname": "test",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] },
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "network" },
            ],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
        },
    })
}

/// Adds a mount.
pub fn push(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().expect("a list").push(mount);
}

/// A spec whose creation waits until the file `go` exists. Meanwhile there is a file `held`.
pub fn held_up(shim: &Shim, go: &str) -> Value {
    let dir = shim.dir.path();
    let hook = dir.join("hook");
    let text = format!(
        "#!/bin/sh\ntouch {}\nuntil test -e {}; do sleep 0.01; done\n",
        dir.join("held").display(),
        dir.join(go).display()
    );
    std::fs::write(&hook, text).expect("written");
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).expect("set");
    let mut spec = config(&["true"]);
    spec["hooks"] = json!({ "createRuntime": [{ "path": hook, "env": ["PATH=/bin:/usr/bin"] }] });
    spec
}
