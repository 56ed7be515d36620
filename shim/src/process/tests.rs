//! Processes of the spec turned into setups.

use oci_spec::runtime::Process;

use super::*;

fn process(json: &str) -> Process {
    serde_json::from_str(json).expect("a process")
}

#[test]
fn wrong_processes_are_refused_by_field() {
    for (json, field) in [
        (
            r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":[]}"#,
            "process.args",
        ),
        (
            r#"{"user":{"uid":0,"gid":0},"cwd":"x","args":["a"]}"#,
            "process.cwd",
        ),
        (
            r#"{"user":{"uid":4294967295,"gid":0},"cwd":"/","args":["a"]}"#,
            "process.user.uid",
        ),
        (
            r#"{"user":{"uid":0,"gid":0,"umask":512},"cwd":"/","args":["a"]}"#,
            "process.user.umask",
        ),
        (
            r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],"selinuxLabel":"x"}"#,
            "process.selinuxLabel",
        ),
        (
            r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],"env":["A=b\u0000c"]}"#,
            "process.env",
        ),
        (
            r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],
            "rlimits":[{"type":"RLIMIT_NOFILE","soft":2,"hard":1}]}"#,
            "process.rlimits",
        ),
    ] {
        let error = ProcessSetup::from_spec(&process(json), None)
            .expect_err(json)
            .to_string();
        assert!(error.starts_with(field), "{error}");
    }
}

#[test]
fn the_last_entry_of_the_environment_counts_and_none_is_imported() {
    let given = ["A=1", "PATH", "B=2", "A=3", "=x"].map(str::to_owned);
    let env = environment(&given).expect("no NUL");
    let shown: Vec<_> = env
        .iter()
        .map(|entry| entry.to_str().expect("text"))
        .collect();
    assert_eq!(shown, ["B=2", "A=3", "=x"]);
}
