//! Seccomp profiles that the machine's administrator wrote, in a directory of their own.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use serde::Deserialize;

/// The largest profile, in bytes; Docker's default one has 17 KiB.
const MAX_SIZE: u64 = 1 << 20;

/// Reads the profile `path` below `root`; one that leads out of it, by `..` or a symbolic link, is refused.
/// An error is a sentence's end that names the way out.
pub fn load(root: &Path, path: &str) -> Result<LinuxSeccomp, String> {
    if path.is_empty() {
        return Err("localhostProfile is empty; name a file".to_owned());
    }
    let text = read(root, path)?;
    let rules: Conditional = serde_json::from_slice(&text).map_err(|e| {
        format!("it is not a profile ({e}); write it as the OCI runtime specification has it")
    })?;
    let conditional =
        |rule: &ConditionalRule| !rule.includes.is_empty() || !rule.excludes.is_empty();
    if rules.syscalls.iter().any(conditional) {
        return Err(
            "its rules have includes or excludes, which only Docker knows; \
                    the OCI runtime specification has rules without conditions"
                .to_owned(),
        );
    }
    let profile: LinuxSeccomp = serde_json::from_slice(&text).map_err(|e| {
        format!("it is not a profile ({e}); write it as the OCI runtime specification has it")
    })?;
    let mut actions = vec![profile.default_action()];
    actions.extend(
        profile
            .syscalls()
            .iter()
            .flatten()
            .map(|rule| rule.action()),
    );
    if profile.listener_path().is_some() || actions.contains(&LinuxSeccompAction::ScmpActNotify) {
        return Err(
            "it asks for a listener (SCMP_ACT_NOTIFY), which Carob does not provide; \
                    use another action"
                .to_owned(),
        );
    }
    Ok(profile)
}

/// The parts of Docker's own format that change what a rule means.
#[derive(Deserialize)]
struct Conditional {
    #[serde(default)]
    syscalls: Vec<ConditionalRule>,
}

#[derive(Deserialize)]
struct ConditionalRule {
    #[serde(default)]
    includes: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    excludes: serde_json::Map<String, serde_json::Value>,
}

fn read(root: &Path, path: &str) -> Result<Vec<u8>, String> {
    let failed = |what: &str, e: rustix::io::Errno| match e {
        rustix::io::Errno::XDEV => format!("it leads out of {}; keep it inside", root.display()),
        e => format!("cannot {what}: {e}; put it below {}", root.display()),
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty())
        .map_err(|e| failed("open the profiles' directory", e))?;
    // Not blocking: what is not a regular file shall not hold us before we see that it is none.
    let file = openat2(
        &root,
        path,
        flags | OFlags::NONBLOCK | OFlags::NOCTTY,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
    )
    .map_err(|e| failed("open it", e))?;
    let status = fstat(&file).map_err(|e| failed("look at it", e))?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err("it is not a regular file; name one".to_owned());
    }
    let mut text = Vec::new();
    let read = File::from(file).take(MAX_SIZE + 1).read_to_end(&mut text);
    read.map_err(|e| format!("cannot read it: {e}"))?;
    if text.len() as u64 > MAX_SIZE {
        return Err(format!("it is larger than {MAX_SIZE} bytes; shorten it"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "comment": "x"}]}"#;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("team")).unwrap();
        for (name, text) in files {
            fs::write(root.path().join(name), text).unwrap();
        }
        root
    }

    #[test]
    fn a_profile_is_read() {
        let root = root(&[("team/app.json", PROFILE)]);
        symlink("app.json", root.path().join("team/link.json")).unwrap();
        for path in ["team/app.json", "team/link.json"] {
            let profile = serde_json::to_value(load(root.path(), path).unwrap()).unwrap();
            assert_eq!(
                profile,
                json!({ "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{ "names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }] })
            );
        }
    }

    #[test]
    fn c27_empty_profiles_are_refused() {
        let root = root(&[
            ("empty.json", ""),
            ("object.json", "{}"),
            ("list.json", "[]"),
        ]);
        assert_eq!(
            load(root.path(), "").unwrap_err(),
            "localhostProfile is empty; name a file"
        );
        for path in ["empty.json", "object.json", "list.json"] {
            let error = load(root.path(), path).unwrap_err();
            assert!(
                error.starts_with("it is not a profile ("),
                "{path}: {error}"
            );
        }
    }

    #[test]
    fn profiles_outside_of_the_directory_are_refused() {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().join("p.json");
        fs::write(&target, PROFILE).unwrap();
        let root = root(&[]);
        symlink(&target, root.path().join("absolute.json")).unwrap();
        symlink(outside.path(), root.path().join("dir")).unwrap();
        symlink("../../x", root.path().join("team/up.json")).unwrap();
        for path in [
            "absolute.json",
            "dir/p.json",
            "../p.json",
            "team/up.json",
            target.to_str().unwrap(),
        ] {
            let error = load(root.path(), path).unwrap_err();
            assert!(error.starts_with("it leads out of /"), "{path}: {error}");
        }
    }

    #[test]
    fn what_is_no_file_does_not_hold_us() {
        let root = root(&[]);
        let fifo = root.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        for path in ["fifo", "team"] {
            assert_eq!(
                load(root.path(), path).unwrap_err(),
                "it is not a regular file; name one"
            );
        }
        let missing = load(root.path(), "missing.json").unwrap_err();
        assert!(
            missing.starts_with("cannot open it: No such file"),
            "{missing}"
        );
        let missing = load(Path::new("/nonexistent"), "x.json").unwrap_err();
        assert!(
            missing.starts_with("cannot open the profiles' directory: No such file"),
            "{missing}"
        );
        let huge = " ".repeat(MAX_SIZE as usize + 1);
        fs::write(root.path().join("huge.json"), huge).unwrap();
        assert!(
            load(root.path(), "huge.json")
                .unwrap_err()
                .contains("larger than")
        );
    }

    #[test]
    fn rules_that_would_mean_something_else_are_refused() {
        let docker = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}, "excludes": {}}]}"#;
        let notify = r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}"#;
        let unknown = r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#;
        let root = root(&[
            ("docker.json", docker),
            ("notify.json", notify),
            ("unknown.json", unknown),
        ]);
        assert!(
            load(root.path(), "docker.json")
                .unwrap_err()
                .contains("includes or excludes")
        );
        assert!(
            load(root.path(), "notify.json")
                .unwrap_err()
                .contains("SCMP_ACT_NOTIFY")
        );
        assert!(
            load(root.path(), "unknown.json")
                .unwrap_err()
                .contains("SCMP_ACT_MAYBE")
        );
    }
}
