//! How containerds of all ages talk to the shim: starting it, the Task service's versions, options.

mod harness;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use containerd_shim_protos::api::*;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{CodedOutputStream, Message, MessageField};
use containerd_shim_protos::shim::oci;
use containerd_shim_protos::types::introspection::RuntimeInfo;
use harness::*;
use serde_json::{Value, json};
use ttrpc::Code;

/// Runs the shim's program as containerd does: with standard input and its version's variable.
fn run_as(shim: &Shim, max_version: Option<&str>, stdin: &[u8], args: &[&str]) -> Output {
    let mut command = Command::new(program());
    command
        .args(args)
        .current_dir(shim.dir.path().join("first"))
        .env_remove("MAX_SHIM_VERSION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(version) = max_version {
        command.env("MAX_SHIM_VERSION", version);
    }
    let mut child = command.spawn().expect("the shim's program runs");
    let mut input = child.stdin.take().expect("piped");
    // It need not read it.
    let _ = input.write_all(stdin);
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{why}");
    output
}

#[test]
fn start_answers_each_containerd_in_its_own_form() {
    let shim = Shim::start();
    let args = start_args(&shim.namespace, "first");
    let mut options = oci::Options::new();
    options.systemd_cgroup = true;
    let old = Any {
        type_url: "containerd.runc.v1.Options".into(),
        value: options.write_to_bytes().expect("encoded"),
        ..Any::default()
    };
    let old = old.write_to_bytes().expect("encoded");
    let mut params = Vec::new();
    let mut out = CodedOutputStream::vec(&mut params);
    out.write_string(1, "first").expect("written");
    out.write_string(2, &shim.namespace).expect("written");
    out.write_string(4, "v2.3.4").expect("written");
    out.write_bytes(8, &old).expect("written");
    out.flush().expect("written");
    drop(out);

    // 1.6
    assert_eq!(
        run_as(&shim, None, &old, &args).stdout,
        shim.address.as_bytes()
    );
    // 1.7 to 2.2
    for stdin in [&old[..], b""] {
        let answer = run_as(&shim, Some("2"), stdin, &args).stdout;
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let wanted = json!({ "version": 2, "address": shim.address, "protocol": "ttrpc" });
        assert_eq!(answer, wanted);
    }
    // 2.3
    let answer = run_as(&shim, Some("2"), &params, &args).stdout;
    let length = u8::try_from(shim.address.len()).expect("short");
    let wanted = [
        &[8, 3, 18, length],
        shim.address.as_bytes(),
        b"\x1a\x05ttrpc",
    ]
    .concat();
    assert_eq!(answer, wanted);
    let file = std::fs::read_to_string(shim.dir.path().join("first/address"));
    assert_eq!(
        file.expect("containerd reads it after a restart"),
        shim.address
    );
}

#[test]
fn info_tells_what_the_runtime_can_do() {
    let shim = Shim::start();
    let options = Any {
        type_url: "x".into(),
        value: vec![1, 2],
        ..Any::default()
    };
    let text = options.write_to_bytes().expect("encoded");
    let answer = run_as(&shim, Some("2"), &text, &["-info"]).stdout;
    let info = RuntimeInfo::parse_from_bytes(&answer).expect("a message");
    assert_eq!(info.name, "io.containerd.carob.v1");
    assert_eq!(info.version.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(info.options.as_ref(), Some(&options));
    let features: Value = serde_json::from_slice(&info.features.value).expect("JSON");
    let mount_options = features["mountOptions"].as_array().expect("a list");
    assert!(mount_options.contains(&json!("rro")));
    let features: oci_spec::runtime::Features =
        serde_json::from_value(features).expect("as the specification has it");
    assert_eq!(features.oci_version_min(), "1.0.0");
}

#[test]
fn version_3_of_the_task_service_is_served_beside_version_2() {
    let mut shim = Shim::start();
    shim.create("c1", config(&["sleep", "1000"]))
        .expect("created");
    let client = ttrpc::Client::connect(&shim.address).expect("the shim listens");
    let call = |service: &str, id: &str| {
        let payload = StateRequest {
            id: id.into(),
            ..StateRequest::default()
        };
        client.request(ttrpc::Request {
            service: service.into(),
            method: "State".into(),
            payload: payload.write_to_bytes().expect("encoded"),
            timeout_nano: i64::try_from(PATIENCE.as_nanos()).expect("fits"),
            ..ttrpc::Request::default()
        })
    };
    for service in ["containerd.task.v2.Task", "containerd.task.v3.Task"] {
        let answer = call(service, "c1").expect("served");
        let state = StateResponse::parse_from_bytes(&answer.payload).expect("decodes");
        assert_eq!((state.id.as_str(), state.status.value()), ("c1", 1));
        assert_eq!(refused(call(service, "none")).0, Code::NOT_FOUND);
    }
}

/// Creates a container with options of containerd.
fn create_with(
    shim: &mut Shim,
    id: &str,
    spec: Value,
    options: &oci::Options,
) -> ttrpc::Result<CreateTaskResponse> {
    let bundle = shim.bundle(id, spec);
    let mut request = shim.request(id, &bundle);
    request.stdout = format!("file://{}", bundle.join("output").display());
    request.stderr = request.stdout.clone();
    request.options = MessageField::some(Any {
        type_url: "containerd.runc.v1.Options".into(),
        value: options.write_to_bytes().expect("encoded"),
        ..Any::default()
    });
    shim.client.create(context(), &request)
}

/// Runs it to its end: what it wrote.
fn output_with(shim: &mut Shim, id: &str, spec: Value, options: &oci::Options) -> String {
    create_with(shim, id, spec, options).expect("created");
    shim.start_container(id).expect("started");
    shim.wait(id, "").expect("ended");
    shim.delete(id, "").expect("deleted");
    std::fs::read_to_string(shim.dir.path().join(id).join("output")).expect("written")
}

#[test]
fn options_that_are_not_supported_are_named_and_nothing_is_made() {
    let mut shim = Shim::start();
    let mut options = oci::Options::new();
    options.binary_name = "/usr/bin/crun".into();
    let (code, why) = refused(create_with(&mut shim, "c1", config(&["true"]), &options));
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(
        why.contains("option BinaryName") && why.contains("/usr/bin/crun"),
        "{why}"
    );
    assert!(shim.cgroups().is_empty());
    // The id is free.
    shim.create("c1", config(&["true"])).expect("created");
}

#[test]
fn what_kubernetes_nodes_send_is_taken() {
    let mut shim = Shim::start();
    let mut options = oci::Options::new();
    options.systemd_cgroup = true;
    options.root = "/run/containerd/runc".into();
    // A name without a dash, which would be that of two slices.
    let slice = format!("{}.slice", shim.namespace.replace('-', "_"));
    let mut spec = config(&["echo", "fine"]);
    spec["linux"]["cgroupsPath"] = json!(format!("{slice}:test:c1"));
    let text = output_with(&mut shim, "c1", spec, &options);
    assert_eq!(text, "fine\n");
    // The slice is for systemd to remove, or for us here.
    let cgroup = containerd_shim_carob_v1::cgroup::Cgroup::at(&format!("/{slice}"));
    cgroup.expect("a path").remove().expect("removed");

    let plain = create_with(&mut shim, "c2", config(&["true"]), &options);
    let (code, why) = refused(plain);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(why.contains("SystemdCgroup needs cgroupsPath"), "{why}");
}

#[test]
fn no_pivot_root_leaves_the_container_in_its_root() {
    let mut shim = Shim::start();
    let mut options = oci::Options::new();
    options.no_pivot_root = true;
    let spec = config(&[
        "sh",
        "-c",
        "ls -d /data /bin/sh; ls /proc/1/exe >/dev/null && mount | wc -l",
    ]);
    let text = output_with(&mut shim, "c1", spec, &options);
    assert!(text.starts_with("/bin/sh\n/data\n"), "{text}");
    assert!(
        !text.contains(&shim.dir.path().display().to_string()),
        "{text}"
    );
}

#[test]
fn streams_are_given_to_the_owner_of_the_options() {
    use std::os::unix::fs::MetadataExt;
    let mut shim = Shim::start();
    let mut options = oci::Options::new();
    (options.io_uid, options.io_gid) = (4321, 8765);
    let spec = config(&["sleep", "1000"]);
    let pid = create_with(&mut shim, "c1", spec, &options)
        .expect("created")
        .pid;
    let owners = |pid: u32| {
        let stream =
            std::fs::metadata(format!("/proc/{pid}/fd/1")).expect("it waits for its start");
        (stream.uid(), stream.gid())
    };
    // Then they go to the container's user, who is root here, as runc does it.
    assert_eq!(owners(pid), (0, 8765));
}

#[test]
fn the_shim_goes_into_the_cgroup_of_the_options() {
    let mut shim = Shim::start();
    let name = format!("carob/{}/shim", shim.namespace);
    let mut options = oci::Options::new();
    options.shim_cgroup = format!("/{name}");
    let (code, why) = refused(create_with(&mut shim, "c0", config(&["true"]), &options));
    assert!(
        code == Code::INVALID_ARGUMENT && why.contains(&name),
        "{why}"
    );
    let cgroup = containerd_shim_carob_v1::cgroup::Cgroup::at(&format!("/{name}")).expect("a path");
    cgroup.create(None).expect("made");
    let text = output_with(&mut shim, "c1", config(&["echo", "fine"]), &options);
    assert_eq!(text, "fine\n");
    assert_eq!(cgroup.pids().expect("read"), [shim.pid]);
    shim.shutdown();
    cgroup.remove().expect("removed");
}
