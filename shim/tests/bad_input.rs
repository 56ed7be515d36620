//! Bundles and requests that can't become a container: one sentence each, and nothing left.

mod harness;

use std::os::unix::fs::symlink;

use containerd_shim_protos::api::*;
use harness::*;
use serde_json::{Value, json};
use ttrpc::Code;

/// Creates with `config` as it is, and returns the sentence. Nothing may be left.
#[track_caller]
fn refusal(shim: &mut Shim, config: Value) -> String {
    let why = refused(shim.create("c1", config)).1;
    assert_nothing_left(shim);
    why
}

#[track_caller]
fn assert_nothing_left(shim: &Shim) {
    assert_eq!(refused(shim.state("c1", "")).0, Code::NOT_FOUND);
    assert!(shim.cgroups().is_empty(), "{:?}", shim.cgroups());
    wait_until("children are reaped", || shim.children().is_empty());
    let here = shim.dir.path().display().to_string();
    assert!(host_mounts().keys().all(|point| !point.starts_with(&here)));
}

fn with(mut change: impl FnMut(&mut Value)) -> Value {
    let mut spec = config(&["true"]);
    change(&mut spec);
    spec
}

#[test]
fn b47_bad_configurations() {
    let mut shim = Shim::start();
    let before = shim.descriptors();
    for (spec, wanted) in [
        (json!([]), "config.json is not a runtime configuration"),
        (json!({}), "missing field `ociVersion`"),
        (
            with(|spec| spec["ociVersion"] = json!("99.0")),
            "ociVersion \"99.0\" is not supported",
        ),
        (with(|spec| spec["process"] = Value::Null), "no process"),
        (with(|spec| spec["linux"] = Value::Null), "no linux section"),
        (with(|spec| spec["root"] = Value::Null), "no root"),
        (
            with(|spec| spec["process"]["args"] = json!([])),
            "process.args is empty",
        ),
        (
            with(|spec| spec["process"]["args"] = json!([""])),
            "process.args",
        ),
        (
            with(|spec| spec["process"]["cwd"] = json!("here")),
            "process.cwd",
        ),
        (
            with(|spec| spec["linux"]["namespaces"] = json!([{ "type": "moon" }])),
            "moon",
        ),
        (
            with(|spec| spec["linux"]["namespaces"][4]["path"] = json!("/proc/self/nothing")),
            "/proc/self/nothing",
        ),
        (
            with(|spec| spec["linux"]["cgroupsPath"] = json!("/a/../../b")),
            "cgroupsPath",
        ),
        (
            with(|spec| {
                spec["mounts"][0] = json!({ "destination": "/data", "type": "bind",
                    "source": "/no/such/source", "options": ["rbind"] });
            }),
            "/no/such/source",
        ),
        (
            with(|spec| {
                spec["mounts"][3] = json!({ "destination": "/data", "type": "nosuchfs",
                    "source": "x", "options": [] });
            }),
            "nosuchfs",
        ),
    ] {
        let why = refusal(&mut shim, spec.clone());
        assert!(why.contains(wanted), "{wanted}: {why}");
        assert!(!why.contains('\n'), "one sentence: {why}");
    }
    assert_eq!(shim.descriptors(), before);
}

#[test]
fn b47_config_that_is_missing_or_cut_off() {
    let shim = Shim::start();
    let bundle = shim.dir.path().join("c1");
    std::fs::create_dir(&bundle).expect("made");
    let request = shim.request("c1", &bundle);
    let why = refused(shim.client.create(context(), &request)).1;
    assert!(why.contains("config.json can't be read"), "{why}");
    let whole = config(&["true"]).to_string();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        std::fs::write(bundle.join("config.json"), &whole[..length]).expect("written");
        let (code, why) = refused(shim.client.create(context(), &request));
        assert_eq!(code, Code::INVALID_ARGUMENT);
        assert!(
            why.contains("config.json is not a runtime configuration"),
            "{why}"
        );
    }
    assert_nothing_left(&shim);
}

#[test]
fn b47_root_file_systems_that_are_none() {
    let mut shim = Shim::start();
    let bundle = shim.bundle("c1", config(&["true"]));
    let mut request = shim.request("c1", &bundle);
    request.rootfs.clear();
    let expect = |request: &CreateTaskRequest, wanted: &str| {
        let why = refused(shim.client.create(context(), request)).1;
        assert!(why.contains(wanted), "{wanted}: {why}");
        assert_nothing_left(&shim);
    };
    expect(&request, "No such file");
    std::fs::write(bundle.join("rootfs"), "").expect("written");
    expect(&request, "is not a directory");
    std::fs::remove_file(bundle.join("rootfs")).expect("removed");
    symlink("/", bundle.join("rootfs")).expect("linked");
    expect(&request, "is not a directory");
    std::fs::remove_file(bundle.join("rootfs")).expect("removed");

    request.rootfs = vec![Mount {
        type_: "overlay".into(),
        source: "overlay".into(),
        options: vec!["lowerdir=/no/such/layer".into()],
        ..Mount::default()
    }];
    expect(&request, "overlay");
    request.rootfs[0].type_ = "nosuchfs".into();
    expect(&request, "nosuchfs");
}

#[test]
fn b46_ids_and_bundles_that_lead_elsewhere() {
    let mut shim = Shim::start();
    let bundle = shim.bundle("c1", config(&["true"]));
    let long = "x".repeat(1024);
    for id in ["", "..", "a/b", "../c1", "a\0b", &long] {
        let mut request = shim.request("c1", &bundle);
        request.id = id.into();
        assert_eq!(
            refused(shim.client.create(context(), &request)).0,
            Code::INVALID_ARGUMENT,
            "{id:?}"
        );
    }
    let mut request = shim.request("c1", &bundle);
    request.bundle = "relative/path".into();
    assert_eq!(
        refused(shim.client.create(context(), &request)).0,
        Code::INVALID_ARGUMENT
    );
    request.bundle = "/no/such/bundle".into();
    let why = refused(shim.client.create(context(), &request)).1;
    assert!(why.contains("/no/such/bundle"), "{why}");
    for id in ["..", "a/b"] {
        let output = run(&bundle, "", &start_args(&shim.namespace.clone(), id));
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("container id"), "{text}");
    }
}

#[test]
fn programs_that_can_not_run_fail_the_create_in_runcs_words() {
    let mut shim = Shim::start();
    for (args, wanted) in [
        (
            &["nosuch"][..],
            "exec: \"nosuch\": executable file not found in $PATH",
        ),
        (&["/etc/passwd"], "permission denied"),
        (&["/bin"], "is a directory"),
    ] {
        let why = refusal(&mut shim, config(args));
        assert!(why.contains(wanted), "{why}");
    }
}

#[test]
fn a_program_of_the_wrong_format_fails_the_start() {
    let mut shim = Shim::start();
    use std::os::unix::fs::PermissionsExt;
    let program = shim.dir.path().join("base/bin/garbage");
    std::fs::write(&program, "\0\0garbage").expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("set");
    shim.create("c1", config(&["garbage"])).expect("created");
    let why = refused(shim.start_container("c1")).1;
    assert!(why.contains("exec format error"), "{why}");
    shim.wait("c1", "").expect("its init ends");
    shim.delete("c1", "").expect("deleted");
    assert_nothing_left(&shim);
}

#[test]
fn c7_trap_13_a_dev_that_leads_out_of_the_image_is_refused() {
    let mut shim = Shim::start();
    let canary = shim.dir.path().join("canary");
    std::fs::create_dir(&canary).expect("made");
    let dev = shim.dir.path().join("base/dev");
    std::fs::remove_dir(&dev).expect("removed");
    symlink(&canary, &dev).expect("linked");
    let why = refusal(&mut shim, config(&["true"]));
    assert!(why.contains("/dev"), "{why}");
    assert_eq!(std::fs::read_dir(&canary).expect("listed").count(), 0);
}

#[test]
fn c3_working_directories_that_are_descriptors_are_refused() {
    let mut shim = Shim::start();
    for fd in [3, 7, 12, 20] {
        let spec = with(|spec| spec["process"]["cwd"] = json!(format!("/proc/self/fd/{fd}")));
        let why = refusal(&mut shim, spec);
        assert!(
            why.contains("cwd") || why.contains("/proc/self/fd"),
            "{why}"
        );
    }
    let (_, text) = shim.run_container("c2", config(&["ls", "/proc/self/fd"]));
    // 3 is the directory that ls itself reads.
    assert_eq!(
        text.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
}
