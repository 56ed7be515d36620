//! A thousand lives and a thousand races, eight at a time: nothing is lost, and nothing is left.

mod harness;

use std::io::Write;
use std::sync::Mutex;

use containerd_shim_protos::api::*;
use containerd_shim_protos::events::task::{TaskDelete, TaskExit};
use harness::*;
use serde_json::{Value, json};
use ttrpc::Code;

const ROUNDS: usize = 1000;
const AT_A_TIME: usize = 8;

/// Prepares a container a round, and runs `round` for each, several at a time.
fn rounds(
    shim: &mut Shim,
    spec: impl Fn(usize) -> Value,
    round: impl Fn(&Shim, usize, &str) + Sync,
) {
    let requests: Vec<CreateTaskRequest> = (0..ROUNDS)
        .map(|number| {
            let id = format!("c{number}");
            let bundle = shim.bundle(&id, spec(number));
            shim.request(&id, &bundle)
        })
        .collect();
    let shim = &*shim;
    each_round(|number| {
        let request = &requests[number];
        shim.client.create(context(), request).expect("created");
        round(shim, number, &request.id);
    });
}

/// Does something once a round, several at a time.
fn each_round(act: impl Fn(usize) + Sync) {
    let next = Mutex::new(0..ROUNDS);
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some(number) = next.lock().expect("no panic").next() else {
                        return;
                    };
                    act(number);
                }
            });
        }
    });
}

/// Runs once what every round does, so that what stays open for good is open; then counts.
fn at_rest(shim: &mut Shim) -> usize {
    let mut spec = config(&["true"]);
    spec["process"]["args"] = json!(["sleep", "1000"]);
    shim.create("warm", spec).expect("created");
    shim.start_container("warm").expect("started");
    shim.run_exec("warm", "e", &process());
    shim.kill("warm", "", 9, false).expect("killed");
    shim.wait("warm", "").expect("ended");
    shim.delete("warm", "").expect("deleted");
    shim.events.wait_for::<TaskDelete>("/tasks/delete", 1);
    shim.descriptors()
}

fn assert_nothing_left(shim: &mut Shim, descriptors: usize) {
    shim.events
        .wait_for::<TaskDelete>("/tasks/delete", ROUNDS + 1);
    wait_until("all is reaped", || shim.children().is_empty());
    wait_until("all is closed", || shim.descriptors() == descriptors);
    assert!(shim.cgroups().is_empty(), "{:?}", shim.cgroups());
    // Nothing is left to clean up by `delete`, either.
    shim.forget();
}

fn process() -> Value {
    json!({ "args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } })
}

#[test]
fn f6_a_thousand_containers_that_exit_before_start_returns() {
    let mut shim = Shim::start();
    let descriptors = at_rest(&mut shim);
    let spec = |number: usize| config(&["sh", "-c", &format!("exit {}", number % 256)]);
    rounds(&mut shim, spec, |shim, number, id| {
        shim.start_container(id).expect("started");
        let status = shim.wait(id, "").expect("ended").exit_status;
        assert_eq!(status as usize, number % 256, "{id}");
        shim.delete(id, "").expect("deleted");
    });
    assert_nothing_left(&mut shim, descriptors);
    let events = shim.events.by_container();
    for number in 0..ROUNDS {
        let id = format!("c{number}");
        let exit = format!("/tasks/exit {id}");
        let wanted = ["/tasks/create", "/tasks/start", &exit, "/tasks/delete"];
        assert_eq!(events[&id], wanted, "{id}");
    }
}

#[test]
fn f7_a_thousand_execs_that_race_with_the_end_of_their_container() {
    let mut shim = Shim::start();
    let descriptors = at_rest(&mut shim);
    let spec = |_| config(&["sleep", "1000"]);
    rounds(&mut shim, spec, |shim, number, id| {
        shim.start_container(id).expect("started");
        shim.exec(id, "e", &process(), "").expect("added");
        let ended = std::thread::scope(|scope| {
            let exec = scope.spawn(|| {
                let started = shim.start_process(id, "e");
                let waited = started.is_ok().then(|| shim.wait(id, "e"));
                (started, waited)
            });
            shim.kill(id, "", 9, false).expect("killed");
            // Every other round, the end is waited for; else Delete races as well.
            if number % 2 == 0 {
                assert_eq!(shim.wait(id, "").expect("ended").exit_status, 137, "{id}");
            }
            let deleted = loop {
                match shim.delete(id, "") {
                    Ok(deleted) => break deleted,
                    // It has not ended yet.
                    Err(error) => {
                        assert_eq!(refused(Err::<(), _>(error)).0, Code::FAILED_PRECONDITION)
                    }
                }
            };
            assert_eq!(deleted.exit_status, 137, "{id}");
            exec.join().expect("no panic")
        });
        match ended {
            (Ok(_), Some(Ok(exit))) => {
                assert!([0, 137].contains(&exit.exit_status), "{id}: {exit:?}")
            }
            // Its container was deleted before the question came.
            (Ok(_), Some(Err(error))) => {
                assert_eq!(refused(Err::<(), _>(error)).0, Code::NOT_FOUND)
            }
            (Ok(_), None) => unreachable!("what has started is waited for"),
            (Err(error), _) => {
                let (code, why) = refused(Err::<(), _>(error));
                let expected = [Code::NOT_FOUND, Code::FAILED_PRECONDITION, Code::UNKNOWN];
                assert!(expected.contains(&code), "{id}: {why}");
            }
        }
    });
    assert_nothing_left(&mut shim, descriptors);
    let events = shim.events.by_container();
    for number in 0..ROUNDS {
        let seen = &events[&format!("c{number}")];
        let count = |wanted: &str| seen.iter().filter(|topic| *topic == wanted).count();
        let exit = format!("/tasks/exit c{number}");
        assert_eq!((count(&exit), count("/tasks/delete")), (1, 1), "{seen:?}");
        assert_eq!(
            count("/tasks/exit e"),
            count("/tasks/exec-started e"),
            "{seen:?}"
        );
        let at = |wanted: &str| seen.iter().position(|topic| topic == wanted);
        if let Some(exited) = at("/tasks/exit e") {
            assert!(
                at("/tasks/exec-started e").is_some_and(|at| at < exited),
                "{seen:?}"
            );
        }
    }
}

#[test]
fn c19_a_thousand_sessions_whose_clients_go_away() {
    let mut shim = Shim::start();
    shim.create("c1", config(&["sleep", "1000"]))
        .expect("created");
    shim.start_container("c1").expect("started");
    let mut sleep = process();
    sleep["args"] = json!(["sleep", "1000"]);
    let session = |shim: &Shim, number: usize| {
        let exec = format!("e{number}");
        shim.exec("c1", &exec, &sleep, "").expect("added");
        shim.start_process("c1", &exec).expect("started");
        let request = WaitRequest {
            id: "c1".into(),
            exec_id: exec.clone(),
            ..WaitRequest::default()
        };
        // Asks, and leaves without hearing the answer.
        let path = shim.address.trim_start_matches("unix://");
        let mut stream = std::os::unix::net::UnixStream::connect(path).expect("it listens");
        stream.write_all(&frame(1, "Wait", &request)).expect("sent");
        drop(stream);
        shim.kill("c1", &exec, 9, false).expect("killed");
        assert_eq!(shim.wait("c1", &exec).expect("ended").exit_status, 137);
        shim.delete("c1", &exec).expect("deleted");
    };
    session(&shim, ROUNDS);
    shim.events.wait_for::<TaskExit>("/tasks/exit", 1);
    let before = shim.descriptors();
    each_round(|number| session(&shim, number));
    shim.events.wait_for::<TaskExit>("/tasks/exit", ROUNDS + 1);
    wait_until("all is closed", || shim.descriptors() == before);
    wait_until("all is reaped", || shim.children().len() == 1);
}
