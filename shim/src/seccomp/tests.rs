//! Profiles compiled, kept and loaded for real, in child processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).expect("a profile")
}

const DENY_MKDIR: &str = r#"{
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 93}]
}"#;

#[test]
fn programs_are_kept_privately_and_made_again_when_damaged() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = dir.path().join("seccomp");
    let first = compile(&profile(DENY_MKDIR), &cache).expect("compiles");
    assert_eq!(
        fs::metadata(&cache).expect("there").permissions().mode() & 0o777,
        0o700
    );
    let files: Vec<_> = fs::read_dir(&cache).expect("there").flatten().collect();
    assert_eq!(files.len(), 1, "one program, nothing temporary");
    let file = files[0].path();
    assert_eq!(
        fs::metadata(&file).expect("there").permissions().mode() & 0o777,
        0o600
    );
    let whole = fs::read(&file).expect("readable");

    for damaged in [Vec::new(), whole[..whole.len() / 2].to_vec(), {
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        flipped
    }] {
        fs::write(&file, damaged).expect("written");
        assert_eq!(
            compile(&profile(DENY_MKDIR), &cache).expect("compiles"),
            first
        );
        assert_eq!(fs::read(&file).expect("readable"), whole);
    }
    // What others can write is not trusted.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("set");
    assert_eq!(
        compile(&profile(DENY_MKDIR), &cache).expect("compiles"),
        first
    );
    assert_eq!(
        fs::metadata(&file).expect("there").permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn notify_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let notify = profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#,
    );
    assert!(matches!(
        compile(&notify, dir.path()),
        Err(SeccompError::Notify)
    ));
}
