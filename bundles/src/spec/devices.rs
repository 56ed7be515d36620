//! Devices: what every container may use, and all of the machine's for privileged ones.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

/// Rules for the device controller: nothing but making nodes and the standard devices (the runtime
/// specification's default devices, and terminals).
pub(super) fn standard_rules() -> Vec<LinuxDeviceCgroup> {
    let character =
        |major, minor, access| rule(true, Some((LinuxDeviceType::C, major, minor)), access);
    vec![
        rule(false, None, "rwm"),
        character(None, None, "m"),
        rule(true, Some((LinuxDeviceType::B, None, None)), "m"),
        character(Some(1), Some(3), "rwm"), // null
        character(Some(1), Some(5), "rwm"), // zero
        character(Some(1), Some(7), "rwm"), // full
        character(Some(1), Some(8), "rwm"), // random
        character(Some(1), Some(9), "rwm"), // urandom
        character(Some(5), Some(0), "rwm"), // tty
        character(Some(5), Some(1), "rwm"), // console
        character(Some(5), Some(2), "rwm"), // ptmx
        character(Some(136), None, "rwm"),  // pts/*
    ]
}

/// The rule of privileged containers.
pub(super) fn everything() -> Vec<LinuxDeviceCgroup> {
    vec![rule(true, None, "rwm")]
}

type Which = (LinuxDeviceType, Option<i64>, Option<i64>);

fn rule(allow: bool, which: Option<Which>, access: &str) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow).set_access(Some(access.to_owned()));
    if let Some((kind, major, minor)) = which {
        rule.set_typ(Some(kind)).set_major(major).set_minor(minor);
    }
    rule
}

/// Directories that hold no devices, or only those of other mounts (containerd, `pkg/oci/utils_unix.go`).
const SKIPPED: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

/// All block and character devices below `dir`, which is `/dev`. Symbolic links are not followed; what
/// vanishes meanwhile is left out.
///
/// # Errors
///
/// With the path that could not be read.
pub(super) fn below(dir: &Path) -> Result<Vec<LinuxDevice>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        let failed = |e| (dir.clone(), e);
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !found.is_empty() => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let metadata = match entry.metadata() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata.map_err(|e| (path.clone(), e))?,
            };
            let kind = metadata.file_type();
            if kind.is_dir() {
                if !SKIPPED.iter().any(|name| entry.file_name() == *name) {
                    left.push(path);
                }
            } else if kind.is_block_device() {
                found.push(device(path, LinuxDeviceType::B, &metadata));
            } else if kind.is_char_device() && entry.file_name() != "console" {
                found.push(device(path, LinuxDeviceType::C, &metadata));
            }
        }
    }
    found.sort_by(|a, b| a.path().cmp(b.path()));
    Ok(found)
}

fn device(path: PathBuf, kind: LinuxDeviceType, metadata: &fs::Metadata) -> LinuxDevice {
    let number = metadata.rdev();
    let mut device = LinuxDevice::default();
    device
        .set_path(path)
        .set_typ(kind)
        .set_major(i64::from(rustix::fs::major(number)))
        .set_minor(i64::from(rustix::fs::minor(number)))
        .set_file_mode(Some(metadata.mode() & 0o7777))
        .set_uid(Some(metadata.uid()))
        .set_gid(Some(metadata.gid()));
    device
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::json;

    use super::*;
    use crate::spec::testing::World;

    #[test]
    fn only_standard_devices_without_privileges() {
        let linux = World::new().json()["linux"].clone();
        assert_eq!(linux["devices"], json!(null));
        let rules = linux["resources"]["devices"].as_array().unwrap();
        assert_eq!(
            rules[0],
            json!({ "allow": false, "access": "rwm" }),
            "first everything is denied"
        );
        assert_eq!(
            rules[3],
            json!({ "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" })
        );
        assert!(rules[1..].iter().all(|rule| rule["allow"] == true));
        assert_eq!(rules.len(), 12);
    }

    #[test]
    fn all_devices_with_privileges() {
        let mut world = World::new();
        world.security().privileged = true;
        let linux = world.json()["linux"].clone();
        assert_eq!(
            linux["resources"]["devices"],
            json!([{ "allow": true, "access": "rwm" }])
        );
        let paths: Vec<_> = linux["devices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| d["path"].clone())
            .collect();
        assert!(paths.contains(&json!("/dev/null")), "{paths:?}");
    }

    #[test]
    fn devices_are_found_below_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let script = "mknod -m 640 null c 1 3; mkdir -p block/deep pts shm; mknod block/deep/disk b 259 70000; \
                      mknod pts/0 c 136 0; mknod console c 5 1; mkfifo fifo; touch file; ln -s null link; \
                      ln -s /dev elsewhere; chown 7:8 null";
        let made = Command::new("sh")
            .args(["-ec", script])
            .current_dir(dir.path())
            .status();
        assert!(made.unwrap().success());
        let found = below(dir.path()).unwrap();
        let path = |name: &str| dir.path().join(name);
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(
            json,
            json!([
                { "path": path("block/deep/disk"), "type": "b", "major": 259, "minor": 70000,
                  "fileMode": 0o644, "uid": 0, "gid": 0 },
                { "path": path("null"), "type": "c", "major": 1, "minor": 3,
                  "fileMode": 0o640, "uid": 7, "gid": 8 },
            ])
        );
        let (missing, _) = below(&path("nowhere")).unwrap_err();
        assert_eq!(missing, path("nowhere"));
    }
}
