//! Many short containers and execs, eight at a time, and containerd killed among them.
//!
//! `CAROB_STRESS` is how many there are of each, by default 1000; a quarter of them where containerd is killed.

use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use carob_tests::PATIENCE;
use containerd_client::tonic::Code;
use containerd_client::types::Mount;
use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::client::{Answer, Client, Streams, code};
use crate::daemon::Containerd;
use crate::events::{Event, Events};
use crate::left;

const AT_A_TIME: usize = 8;

fn how_many() -> usize {
    let asked = std::env::var("CAROB_STRESS").ok();
    asked.map_or(1000, |number| {
        number.parse().expect("CAROB_STRESS is a number")
    })
}

/// Each number in one of eight slots, whose own numbers follow each other.
async fn all<F>(numbers: usize, work: impl Fn(usize, usize) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut slots = JoinSet::new();
    for slot in 0..AT_A_TIME {
        let work = work.clone();
        slots.spawn(async move {
            for number in (slot..numbers).step_by(AT_A_TIME) {
                work(slot, number).await;
            }
        });
    }
    while let Some(ended) = slots.join_next().await {
        ended.unwrap();
    }
}

/// Containers, with the codes that they end with and what their root file systems are mounted from.
struct Containers(Vec<(String, u32, Vec<Mount>)>);

impl Containers {
    async fn new(client: &Client, count: usize) -> Self {
        let mut containers = Vec::new();
        for number in 0..count {
            let (id, code) = (format!("c{number}"), u32::try_from(number % 256).unwrap());
            let spec = client.spec(&id, &["sh", "-c", &format!("exit {code}")]);
            let mounts = client.add(&id, &spec, None).await;
            containers.push((id, code, mounts));
        }
        Self(containers)
    }

    async fn remove(&self, client: &Client) {
        for (id, ..) in &self.0 {
            client.remove(id).await;
        }
    }
}

#[tokio::test]
async fn f06_every_short_container_ends_with_its_code_after_its_start() {
    let containerd = Containerd::start();
    let client = Client::new(&containerd).await;
    // One for each slot, which gets task after task.
    let containers = Arc::new(Containers::new(&client, AT_A_TIME).await);
    let mut events = Events::of(&client).await;
    let (runner, of) = (client.clone(), containers.clone());
    all(how_many(), move |slot, _| {
        let (client, containers) = (runner.clone(), of.clone());
        async move {
            let (id, wanted, mounts) = &containers.0[slot];
            client.create(id, mounts, Streams::default()).await.unwrap();
            client.start(id, "").await.unwrap();
            assert_eq!(client.wait(id, "").await.unwrap(), *wanted);
            assert_eq!(client.delete(id).await.unwrap(), *wanted);
        }
    })
    .await;
    let mut lives: HashMap<(String, u32), Vec<Event>> = HashMap::new();
    let mut deleted = 0;
    while deleted < how_many() {
        let event = events.next().await;
        deleted += usize::from(event.kind == "delete");
        let key = (event.id.clone(), event.pid);
        let life = lives.entry(key.clone()).or_default();
        life.push(event.clone());
        if event.kind == "delete" {
            let kinds: Vec<_> = life.iter().map(|event| &*event.kind).collect();
            assert_eq!(kinds, ["create", "start", "exit", "delete"], "{life:?}");
            let container = containers
                .0
                .iter()
                .find(|(id, ..)| *id == event.id)
                .unwrap();
            assert_eq!((life[2].status, event.status), (container.1, container.1));
            // The kernel may give the number to another.
            lives.remove(&key);
        }
    }
    containers.remove(&client).await;
}

#[tokio::test]
async fn f07_every_short_exec_ends_with_its_code_and_leaves_nothing_in_the_shim() {
    let containerd = Containerd::start();
    let client = Client::new(&containerd).await;
    client.run("c1", &["sleep", "1000000"]).await;
    let [shim] = left::shims(&containerd)[..] else {
        panic!("one shim serves it")
    };
    let run = |numbers: usize, round: &'static str| {
        let client = client.clone();
        all(numbers, move |_, number| {
            let client = client.clone();
            async move {
                let (exec, wanted) = (format!("{round}{number}"), number % 256);
                let command = ["sh", "-c", &format!("exit {wanted}")];
                let streams = Streams::default();
                client.exec("c1", &exec, &command, streams).await.unwrap();
                client.start("c1", &exec).await.unwrap();
                let ended = client.wait("c1", &exec).await.unwrap();
                assert_eq!(ended as usize, wanted);
                let deleted = client.delete_exec("c1", &exec).await.unwrap();
                assert_eq!(deleted as usize, wanted);
            }
        })
    };
    // What is opened once stays.
    run(AT_A_TIME, "first").await;
    let before = open_files(shim);
    run(how_many(), "then").await;
    assert_eq!(open_files(shim), before);
    let children = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
    assert_eq!(children.split_whitespace().count(), 1, "{children}");
    client.end("c1").await;
}

/// What a process has open, without the numbers of sockets and pipes.
fn open_files(pid: i32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut names: Vec<_> = files
        .map(|file| fs::read_link(file.unwrap().path()).unwrap())
        .map(|name| name.display().to_string())
        .map(|name| name.split(":[").next().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Takes one task from its creation to its deletion, whatever becomes of containerd meanwhile. Each step that got
/// no answer is asked for again.
async fn insist(clients: &mut watch::Receiver<Client>, id: &str, wanted: u32, mounts: &[Mount]) {
    let deadline = Instant::now() + PATIENCE;
    let mut started = false;
    loop {
        assert!(Instant::now() < deadline, "{id} makes no progress");
        let client = clients.borrow_and_update().clone();
        let mut ended = attempt(&client, id, wanted, mounts, &mut started).await;
        if matches!(code(&ended), Code::AlreadyExists | Code::NotFound) {
            // Made, or deleted, before the answer got lost. What containerd 1.6 then has of it, its bundle and an
            // empty shim, goes when it is deleted once more.
            let deleted = client.delete(id).await;
            if started || !matches!(code(&deleted), Code::Ok | Code::NotFound) {
                ended = deleted.map(drop);
            }
        }
        match code(&ended) {
            Code::Ok => return,
            Code::NotFound if started => return,
            // Without containerd: the next one is waited for.
            _ => drop(tokio::time::timeout(Duration::from_millis(20), clients.changed()).await),
        }
    }
}

async fn attempt(
    client: &Client,
    id: &str,
    wanted: u32,
    mounts: &[Mount],
    started: &mut bool,
) -> Answer<()> {
    if !*started {
        client.create(id, mounts, Streams::default()).await?;
        client.start(id, "").await?;
        *started = true;
    }
    assert_eq!(client.wait(id, "").await?, wanted, "{id}");
    assert_eq!(client.delete(id).await?, wanted, "{id}");
    Ok(())
}

#[tokio::test]
async fn f05_nothing_is_lost_when_containerd_is_killed_among_many() {
    let mut containerd = Containerd::start();
    let count = how_many() / 4;
    let client = Client::new(&containerd).await;
    // No name twice: containerd 1.6, killed while it deletes a bundle, can't delete another of that name.
    let containers = Arc::new(Containers::new(&client, count).await);
    let (replace, clients) = watch::channel(client);
    let done = Arc::new(AtomicUsize::new(0));
    let (of, counter) = (containers.clone(), done.clone());
    let work = tokio::spawn(all(count, move |_, number| {
        let (mut clients, containers, done) = (clients.clone(), of.clone(), counter.clone());
        async move {
            let (id, wanted, mounts) = &containers.0[number];
            insist(&mut clients, id, *wanted, mounts).await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    }));
    for quarter in 1..4 {
        while done.load(Ordering::Relaxed) < count * quarter / 4 {
            sleep(Duration::from_millis(1)).await;
        }
        containerd.stop(Signal::SIGKILL);
        containerd.restart();
        replace.send(Client::new(&containerd).await).unwrap();
    }
    work.await.unwrap();
    let client = replace.borrow().clone();
    containers.remove(&client).await;
}
