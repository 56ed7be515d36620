//! What `-info` prints: containerd 2.0's `RuntimeInfo`, with what the runtime can do (OCI runtime
//! specification, `features.md`), which containerd's CRI plugin tells Kubernetes.

use std::io::Read;

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Error, Message, MessageField};
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};
use serde_json::json;

/// The most that is read of standard input, in bytes.
const LONGEST: u64 = 10 << 20;

/// The message for standard output. `options` is containerd's standard input: the runtime's options,
/// which are shown as they came, or nothing.
///
/// # Errors
/// When `options` is no message.
pub fn runtime_info(options: impl Read) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    options.take(LONGEST).read_to_end(&mut text)?;
    let options = match text.is_empty() {
        true => MessageField::none(),
        false => MessageField::some(Any::parse_from_bytes(&text)?),
    };
    let info = RuntimeInfo {
        name: "io.containerd.carob.v1".to_owned(),
        version: MessageField::some(RuntimeVersion {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..RuntimeVersion::default()
        }),
        options,
        features: MessageField::some(Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/features/Features".into(),
            value: features().to_string().into(),
            ..Any::default()
        }),
        ..RuntimeInfo::default()
    };
    info.write_to_bytes()
}

/// What a spec may have. Options of mounts are those of libcontainer.
fn features() -> serde_json::Value {
    let mut options = vec!["defaults".to_owned()];
    // Each is there for a mount alone, and with an r for all below it.
    for word in [
        "bind",
        "private",
        "shared",
        "slave",
        "unbindable",
        "ro",
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "diratime",
        "nodiratime",
        "relatime",
        "norelatime",
        "atime",
        "noatime",
        "strictatime",
        "nostrictatime",
    ] {
        options.extend([word.to_owned(), format!("r{word}")]);
    }
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.2.1",
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
        ],
        "mountOptions": options,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": false, "rdma": false },
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
                ],
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": false },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": true } },
        },
    })
}
