//! The runtime's options in a Create request: each is honoured, or refused by its name.
//!
//! They come as containerd's `runc.v1.Options` (for a shim that is named in place of runc's), or as
//! `runtimeoptions.v1.Options`, in which containerd's CRI plugin sends the TOML of any other runtime's
//! section `options`, with the same names; `ctr` has a third form.

use containerd_shim_protos::protobuf::rt::skip_field_for_tag;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{CodedInputStream, Error, Message};
use containerd_shim_protos::shim::oci;

/// What the options change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Change the root by moving a mount and chroot(2), for a root file system in an initial ramdisk
    /// where pivot_root(2) fails.
    pub no_pivot_root: bool,
    /// Leave processes in the shim's session keyring.
    pub no_new_keyring: bool,
    /// A cgroup that exists, for the shim itself.
    pub shim_cgroup: Option<String>,
    /// The container's cgroup is named as a unit of systemd.
    pub systemd_cgroup: bool,
    /// The user and group that pipes and FIFOs of standard streams are given to.
    pub io_owner: Option<(u32, u32)>,
}

/// Why the options can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionsError {
    /// The message is of another runtime.
    #[error(
        "options of type {0:?} are not known: they are containerd.runc.v1.Options or runtimeoptions.v1.Options"
    )]
    UnknownType(String),
    /// The message is damaged.
    #[error("the options can't be read: {0}")]
    Malformed(String),
    /// An option that this shim has no counterpart of.
    #[error("the option {name} is not supported ({value:?}): {way_out}")]
    Unsupported {
        /// The option, as containerd's configuration calls it.
        name: String,
        /// Its value.
        value: String,
        /// What to do.
        way_out: &'static str,
    },
}

impl Options {
    /// Reads the options of a request.
    ///
    /// # Errors
    /// [`OptionsError`], naming the first option that is refused.
    pub fn read(any: Option<&Any>) -> Result<Self, OptionsError> {
        let Some(any) = any else {
            return Ok(Self::default());
        };
        // Some put a host before the message's name.
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        let options = match name {
            "" => oci::Options::new(),
            "containerd.runc.v1.Options" => oci::Options::parse_from_bytes(&any.value)
                .map_err(|error| OptionsError::Malformed(error.to_string()))?,
            "containerd.linux.runc.CreateOptions" => create_options(&any.value)
                .map_err(|error| OptionsError::Malformed(error.to_string()))?,
            "runtimeoptions.v1.Options" | "cri.runtimeoptions.v1.Options" => section(&any.value)?,
            other => return Err(OptionsError::UnknownType(other.to_owned())),
        };
        Self::accept(&options)
    }

    fn accept(options: &oci::Options) -> Result<Self, OptionsError> {
        let texts = [
            (
                "BinaryName",
                &options.binary_name,
                "this shim makes containers itself and runs no other runtime, so leave it out",
            ),
            (
                "TaskApiAddress",
                &options.task_api_address,
                "this shim serves its tasks itself, so leave it out",
            ),
        ];
        for (name, value, way_out) in texts {
            if !value.is_empty() {
                return Err(unsupported(name, value, way_out));
            }
        }
        // Without a meaning here: `root` (where runc keeps states; we keep none on disk) and `criu_*` (for
        // checkpoints, which are refused by name).
        let owner = (options.io_uid, options.io_gid);
        Ok(Self {
            no_pivot_root: options.no_pivot_root,
            no_new_keyring: options.no_new_keyring,
            shim_cgroup: Some(options.shim_cgroup.clone()).filter(|path| !path.is_empty()),
            systemd_cgroup: options.systemd_cgroup,
            io_owner: Some(owner).filter(|owner| *owner != (0, 0)),
        })
    }
}

fn unsupported(name: &str, value: &str, way_out: &'static str) -> OptionsError {
    OptionsError::Unsupported {
        name: name.to_owned(),
        value: value.to_owned(),
        way_out,
    }
}

/// `containerd.linux.runc.CreateOptions`, the options of containerd's first runtime: until 1.7, `ctr` and other
/// clients in Go set those of any runtime but runc's in them. The others of its fields are about checkpoints.
fn create_options(message: &[u8]) -> Result<oci::Options, Error> {
    const NUMBER: u32 = 0;
    const TEXT: u32 = 2;
    let mut stream = CodedInputStream::from_bytes(message);
    let mut options = oci::Options::new();
    while let Some(tag) = stream.read_raw_tag_or_eof()? {
        match (tag >> 3, tag & 7) {
            (1, NUMBER) => options.no_pivot_root = stream.read_bool()?,
            (8, NUMBER) => options.no_new_keyring = stream.read_bool()?,
            (9, TEXT) => options.shim_cgroup = stream.read_string()?,
            (10, NUMBER) => options.io_uid = stream.read_uint32()?,
            (11, NUMBER) => options.io_gid = stream.read_uint32()?,
            _ => skip_field_for_tag(tag, &mut stream)?,
        }
    }
    Ok(options)
}

/// `runtimeoptions.v1.Options`: `type_url` is 1, `config_path` 2, `config_body` 3.
fn section(message: &[u8]) -> Result<oci::Options, OptionsError> {
    let mut stream = CodedInputStream::from_bytes(message);
    let mut fields = [const { String::new() }; 3];
    let mut read = || {
        while let Some(tag) = stream.read_raw_tag_or_eof()? {
            let text = stream.read_string()?;
            if let Some(field) = (tag as usize >> 3)
                .checked_sub(1)
                .and_then(|index| fields.get_mut(index))
            {
                *field = text;
            }
        }
        Ok(())
    };
    read().map_err(|error: Error| OptionsError::Malformed(error.to_string()))?;
    let [_, path, body] = fields;
    if !path.is_empty() {
        let way_out = "this shim has no configuration file, so leave it out";
        return Err(unsupported("ConfigPath", &path, way_out));
    }
    let mut options = oci::Options::new();
    for line in body.lines().map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') {
            set(&mut options, line)?;
        }
    }
    Ok(options)
}

/// One line of TOML, as containerd writes a flat table.
fn set(options: &mut oci::Options, line: &str) -> Result<(), OptionsError> {
    let malformed = || OptionsError::Malformed(format!("{line:?} is not NAME = VALUE"));
    let (name, value) = line.split_once('=').ok_or_else(malformed)?;
    let (name, value) = (name.trim(), value.trim());
    let text = || {
        let inner = value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        inner.map(str::to_owned).ok_or_else(malformed)
    };
    let flag = || value.parse().map_err(|_| malformed());
    let number = || value.parse().map_err(|_| malformed());
    match name {
        "NoPivotRoot" => options.no_pivot_root = flag()?,
        "NoNewKeyring" => options.no_new_keyring = flag()?,
        "SystemdCgroup" => options.systemd_cgroup = flag()?,
        "ShimCgroup" => options.shim_cgroup = text()?,
        "BinaryName" => options.binary_name = text()?,
        "Root" => options.root = text()?,
        "IoUid" => options.io_uid = number()?,
        "IoGid" => options.io_gid = number()?,
        "CriuPath" | "CriuImagePath" | "CriuWorkPath" => {}
        _ => {
            let way_out = "take it out of the runtime's options in containerd's configuration";
            return Err(unsupported(name, value, way_out));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use containerd_shim_protos::protobuf::CodedOutputStream;

    use super::*;

    fn any(type_url: &str, value: Vec<u8>) -> Any {
        Any {
            type_url: type_url.to_owned(),
            value,
            ..Any::default()
        }
    }

    fn runc(options: &oci::Options) -> Result<Options, OptionsError> {
        let value = options.write_to_bytes().expect("encoded");
        Options::read(Some(&any("containerd.runc.v1.Options", value)))
    }

    fn toml(field: u32, text: &str) -> Result<Options, OptionsError> {
        let mut value = Vec::new();
        let mut out = CodedOutputStream::vec(&mut value);
        out.write_string(field, text).expect("written");
        out.flush().expect("written");
        drop(out);
        Options::read(Some(&any("runtimeoptions.v1.Options", value)))
    }

    #[test]
    fn what_kubernetes_nodes_send_is_honoured() {
        let mut options = oci::Options::new();
        options.systemd_cgroup = true;
        options.root = "/run/containerd/runc".into();
        let systemd = Options {
            systemd_cgroup: true,
            ..Options::default()
        };
        assert_eq!(runc(&options), Ok(systemd));
        options.no_pivot_root = true;
        options.no_new_keyring = true;
        options.shim_cgroup = "/shims".into();
        (options.io_uid, options.io_gid) = (1000, 0);
        let all = Options {
            no_pivot_root: true,
            no_new_keyring: true,
            shim_cgroup: Some("/shims".into()),
            systemd_cgroup: true,
            io_owner: Some((1000, 0)),
        };
        assert_eq!(runc(&options), Ok(all.clone()));
        let body = "CriuPath = \"\"\nIoUid = 1000\nNoNewKeyring = true\n NoPivotRoot = true\n\
                    ShimCgroup = \"/shims\"\nSystemdCgroup = true\nRoot = \"\"\n";
        assert_eq!(toml(3, body), Ok(all));
        assert_eq!(Options::read(None), Ok(Options::default()));
        // A field without a number, which nobody writes.
        let odd = any("runtimeoptions.v1.Options", vec![2, 1, b'x']);
        assert_eq!(Options::read(Some(&odd)), Ok(Options::default()));
        assert_eq!(Options::read(Some(&Any::new())), Ok(Options::default()));
    }

    #[test]
    fn what_ctr_sends_is_honoured() {
        let mut value = Vec::new();
        let mut out = CodedOutputStream::vec(&mut value);
        out.write_bool(1, true).expect("written");
        out.write_string(7, "soft").expect("written");
        out.write_bool(8, true).expect("written");
        out.write_string(9, "/shims").expect("written");
        out.write_uint32(10, 1000).expect("written");
        out.write_uint32(11, 2000).expect("written");
        out.flush().expect("written");
        drop(out);
        let read = |value| Options::read(Some(&any("containerd.linux.runc.CreateOptions", value)));
        let all = Options {
            no_pivot_root: true,
            no_new_keyring: true,
            shim_cgroup: Some("/shims".into()),
            systemd_cgroup: false,
            io_owner: Some((1000, 2000)),
        };
        assert_eq!(read(value), Ok(all));
        assert!(matches!(read(vec![74, 9]), Err(OptionsError::Malformed(_))));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let mut options = oci::Options::new();
        options.binary_name = "crun".into();
        let cases = [
            (
                runc(&options),
                "the option BinaryName is not supported (\"crun\"): ",
            ),
            (
                toml(3, "BinaryName = \"crun\""),
                "the option BinaryName is not supported",
            ),
            (
                toml(3, "Unheard = 1"),
                "the option Unheard is not supported (\"1\")",
            ),
            (toml(3, "SystemdCgroup"), "is not NAME = VALUE"),
            (toml(3, "SystemdCgroup = yes"), "is not NAME = VALUE"),
            (
                toml(2, "/etc/x.toml"),
                "the option ConfigPath is not supported",
            ),
            (
                Options::read(Some(&any("io.kata.Options", Vec::new()))),
                "options of type \"io.kata.Options\" are not known",
            ),
            (
                Options::read(Some(&any("containerd.runc.v1.Options", vec![255]))),
                "the options can't be read",
            ),
            (
                Options::read(Some(&any("runtimeoptions.v1.Options", vec![0x1a, 9]))),
                "the options can't be read",
            ),
        ];
        for (read, wanted) in cases {
            let why = read.expect_err(wanted).to_string();
            assert!(why.contains(wanted), "{why}");
        }
    }
}
