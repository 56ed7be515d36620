//! Further processes in a running container, and what they may and may not do.

mod harness;

use containerd_shim_protos::api::*;
use containerd_shim_protos::events::task::*;
use harness::*;
use serde_json::{Value, json};
use ttrpc::Code;

fn process(args: &[&str]) -> Value {
    json!({
        "args": args, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 },
    })
}

fn running(shim: &mut Shim, id: &str, config: Value) {
    shim.create(id, config).expect("created");
    shim.start_container(id).expect("started");
}

#[test]
fn exec_has_its_own_life_and_events() {
    let mut shim = Shim::start();
    running(&mut shim, "c1", config(&["sleep", "1000"]));
    let output = shim.dir.path().join("out");
    let url = format!("file://{}", output.display());
    shim.exec(
        "c1",
        "e1",
        &process(&["sh", "-c", "echo $0 hi; exit 5", "x"]),
        &url,
    )
    .expect("added");
    assert_eq!(
        shim.state("c1", "e1").expect("added").status.enum_value(),
        Ok(Status::CREATED)
    );
    let pid = shim.start_process("c1", "e1").expect("started").pid;
    assert_ne!(pid, 0);
    assert_eq!(shim.wait("c1", "e1").expect("ended").exit_status, 5);
    let state = shim.state("c1", "e1").expect("kept");
    assert_eq!(
        (state.status.enum_value(), state.exit_status),
        (Ok(Status::STOPPED), 5)
    );
    let deleted = shim.delete("c1", "e1").expect("deleted");
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 5));
    assert_eq!(refused(shim.state("c1", "e1")).0, Code::NOT_FOUND);
    assert_eq!(std::fs::read_to_string(output).expect("read"), "x hi\n");
    let exit: Vec<TaskExit> = shim.events.wait_for("/tasks/exit", 1);
    assert_eq!(
        (exit[0].container_id.as_str(), exit[0].id.as_str()),
        ("c1", "e1")
    );
    assert_eq!(
        shim.events.topics(),
        [
            "/tasks/create",
            "/tasks/start",
            "/tasks/exec-added",
            "/tasks/exec-started",
            "/tasks/exit"
        ]
    );
    assert_eq!(
        shim.state("c1", "").expect("runs").status.enum_value(),
        Ok(Status::RUNNING)
    );
}

#[test]
fn trap_2_exec_keeps_seccomp_and_c8_gains_no_capabilities() {
    let mut shim = Shim::start();
    let mut spec = config(&["sleep", "1000"]);
    spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" }],
    });
    running(&mut shim, "c1", spec);
    let pid = shim.state("c1", "").expect("runs").pid;
    let init = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("runs");
    let mut greedy = process(&["sh", "-c", "cat /proc/self/status; mkdir /tmp/x; echo $?"]);
    let all = ["CAP_SYS_ADMIN", "CAP_CHOWN", "CAP_KILL"];
    greedy["capabilities"] = json!({
        "bounding": all, "effective": all, "permitted": all, "inheritable": all, "ambient": all,
    });
    let (_, text) = shim.run_exec("c1", "e1", &greedy);
    let field = |text: &str, name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .expect(name);
        line.split_whitespace().last().expect("a value").to_owned()
    };
    assert_eq!(field(&text, "Seccomp:"), "2");
    assert_eq!(field(&text, "NoNewPrivs:"), "1");
    assert_eq!(field(&init, "CapInh:"), "0000000000000000");
    let bits = |text: &str, name| u64::from_str_radix(&field(text, name), 16).expect("hex");
    for name in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(bits(&text, name) & !bits(&init, name), 0, "{name}");
    }
    assert!(
        text.ends_with("1\n"),
        "mkdir is forbidden by the profile: {text}"
    );
}

#[test]
fn trap_1_many_execs_do_not_hang() {
    let mut shim = Shim::start();
    running(&mut shim, "c1", config(&["sleep", "1000"]));
    let before = shim.descriptors();
    for round in 0..60 {
        let (status, _) = shim.run_exec("c1", &format!("e{round}"), &process(&["true"]));
        assert_eq!(status, 0);
    }
    assert_eq!(shim.descriptors(), before);
    assert_eq!(shim.children().len(), 1, "{:?}", shim.children());
}

#[test]
fn an_exec_that_can_not_start_says_why_in_runcs_words() {
    let mut shim = Shim::start();
    running(&mut shim, "c1", config(&["sleep", "1000"]));
    for (args, wanted) in [
        (
            &["nosuch"][..],
            "exec: \"nosuch\": executable file not found in $PATH",
        ),
        (&["/etc/passwd"], "permission denied"),
        (&["/none"], "no such file or directory"),
    ] {
        shim.exec("c1", "e1", &process(args), "").expect("added");
        let (_, why) = refused(shim.start_process("c1", "e1"));
        assert!(why.contains(wanted), "{why}");
        shim.delete("c1", "e1").expect("deleted");
    }
    wait_until("the tries are reaped", || shim.children().len() == 1);
}

#[test]
fn b48_execs_in_wrong_sequence() {
    let mut shim = Shim::start();
    running(&mut shim, "c1", config(&["sleep", "1000"]));
    assert_eq!(refused(shim.start_process("c1", "none")).0, Code::NOT_FOUND);
    shim.exec("c1", "e1", &process(&["sleep", "1000"]), "")
        .expect("added");
    assert_eq!(
        refused(shim.exec("c1", "e1", &process(&["true"]), "")).0,
        Code::ALREADY_EXISTS
    );
    assert_eq!(
        refused(shim.exec("c1", "../e", &process(&["true"]), "")).0,
        Code::INVALID_ARGUMENT
    );
    shim.start_process("c1", "e1").expect("started");
    assert_eq!(
        refused(shim.start_process("c1", "e1")).0,
        Code::FAILED_PRECONDITION
    );
    assert_eq!(
        refused(shim.delete("c1", "e1")).0,
        Code::FAILED_PRECONDITION
    );
    shim.kill("c1", "e1", 15, false).expect("signalled");
    assert_eq!(shim.wait("c1", "e1").expect("ended").exit_status, 143);
    assert_eq!(refused(shim.kill("c1", "e1", 15, false)).0, Code::NOT_FOUND);
    shim.delete("c1", "e1").expect("deleted");

    let garbage = ExecProcessRequest {
        id: "c1".into(),
        exec_id: "e2".into(),
        ..Default::default()
    };
    shim.client.exec(context(), &garbage).expect("added");
    assert_eq!(
        refused(shim.start_process("c1", "e2")).0,
        Code::INVALID_ARGUMENT
    );
}

#[test]
fn f7_execs_end_before_their_container() {
    let mut shim = Shim::start();
    running(&mut shim, "c1", config(&["sleep", "1000"]));
    for exec in ["e1", "e2"] {
        shim.exec("c1", exec, &process(&["sleep", "1000"]), "")
            .expect("added");
        shim.start_process("c1", exec).expect("started");
    }
    shim.kill("c1", "", 9, false).expect("killed");
    for process in ["", "e1", "e2"] {
        assert_eq!(shim.wait("c1", process).expect("ended").exit_status, 137);
    }
    shim.delete("c1", "").expect("deleted");
    let exits: Vec<TaskExit> = shim.events.wait_for("/tasks/exit", 3);
    assert_eq!(exits[2].id, "c1");
    assert!(shim.cgroups().is_empty());
}

#[test]
fn f24_a_killed_exec_takes_what_it_started_with_it_however_detached() {
    let mut shim = Shim::start();
    running(&mut shim, "c1", config(&["sleep", "1000"]));
    let init = shim.state("c1", "").expect("runs").pid;
    // Somebody else's, which must live on.
    shim.exec("c1", "other", &process(&["sleep", "1000"]), "")
        .expect("added");
    let other = shim.start_process("c1", "other").expect("started").pid;
    let script = "sleep 1000 & (setsid sleep 1000 & ) ; (setsid sh -c '(sleep 1000 &) ; sleep 1000' &) ; \
                  echo up; sleep 1000";
    let mut detaching = process(&["sh", "-c", script]);
    detaching["childSubreaper"] = json!(true);
    shim.exec("c1", "probe", &detaching, "").expect("added");
    shim.start_process("c1", "probe").expect("started");
    let sleeping = || {
        let pids = shim.cgroups().into_iter().flat_map(|dir| {
            let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            procs.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        let mut pids: Vec<u32> = pids
            .filter(|pid| {
                std::fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line == b"sleep\x001000\x00")
            })
            .filter_map(|pid| pid.parse().ok())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    };
    wait_until("all of it runs", || sleeping().len() == 7);
    shim.kill("c1", "probe", 9, true).expect("killed");
    assert_eq!(shim.wait("c1", "probe").expect("ended").exit_status, 137);
    let mut left = [init, other];
    left.sort_unstable();
    wait_until("it is gone", || sleeping() == left);
    assert_eq!(
        refused(shim.kill("c1", "probe", 9, true)),
        (Code::NOT_FOUND, "process already finished".to_owned())
    );
}

#[test]
fn processes_are_listed_and_signalled_together() {
    let mut shim = Shim::start();
    running(&mut shim, "c1", config(&["sleep", "1000"]));
    shim.exec("c1", "e1", &process(&["sleep", "1000"]), "")
        .expect("added");
    let exec = shim.start_process("c1", "e1").expect("started").pid;
    let init = shim.state("c1", "").expect("runs").pid;
    let request = PidsRequest {
        id: "c1".into(),
        ..Default::default()
    };
    let listed = shim
        .client
        .pids(context(), &request)
        .expect("listed")
        .processes;
    use containerd_shim_protos::protobuf::Message;
    use containerd_shim_protos::shim::oci::ProcessDetails;
    for process in &listed {
        let details = process
            .info
            .as_ref()
            .map(|any| ProcessDetails::parse_from_bytes(&any.value));
        let exec_id = details.map(|details| details.expect("decodes").exec_id);
        assert_eq!(exec_id.as_deref(), (process.pid == exec).then_some("e1"));
    }
    let mut pids: Vec<u32> = listed.iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    let mut wanted = [init, exec];
    wanted.sort_unstable();
    assert_eq!(pids, wanted);
    shim.kill("c1", "", 9, true).expect("killed");
    assert_eq!(shim.wait("c1", "e1").expect("ended").exit_status, 137);
    assert_eq!(shim.wait("c1", "").expect("ended").exit_status, 137);
}

#[test]
fn pause_holds_everything_until_resume() {
    let mut shim = Shim::start();
    let pause = PauseRequest {
        id: "c1".into(),
        ..Default::default()
    };
    running(&mut shim, "c1", config(&["sleep", "1000"]));
    shim.client.pause(context(), &pause).expect("paused");
    assert_eq!(
        shim.state("c1", "").expect("runs").status.enum_value(),
        Ok(Status::PAUSED)
    );
    assert_eq!(
        refused(shim.client.pause(context(), &pause)).0,
        Code::FAILED_PRECONDITION
    );
    assert_eq!(
        refused(shim.exec("c1", "e1", &process(&["true"]), "")).0,
        Code::FAILED_PRECONDITION
    );
    let resume = ResumeRequest {
        id: "c1".into(),
        ..Default::default()
    };
    shim.client.resume(context(), &resume).expect("resumed");
    assert_eq!(shim.run_exec("c1", "e2", &process(&["true"])).0, 0);
    shim.client.pause(context(), &pause).expect("paused");
    // F31: a frozen container can be killed and deleted.
    shim.kill("c1", "", 9, false).expect("killed");
    assert_eq!(shim.wait("c1", "").expect("ended").exit_status, 137);
    shim.delete("c1", "").expect("deleted");
    shim.events.wait_for::<TaskPaused>("/tasks/paused", 2);
    shim.events.wait_for::<TaskResumed>("/tasks/resumed", 1);
}
