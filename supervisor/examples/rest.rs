//! For `scripts/bench`: `rest DIR PODS PERIOD SECONDS` brings Pods to Running in one supervisor over a runtime that is
//! not there, and prints the milliseconds of CPU time that this took, and those of SECONDS at rest. All else is real:
//! actors, timers, records and event logs. With a PERIOD that is not 0 each container has a readiness probe, and each
//! probe succeeds at once.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use carob::actor::{Actor, AtEnd, Effects, Own};
use carob::backend::Home;
use carob::dirs::Dirs;
use carob::events::Journal;
use carob::life::{Life, Source};
use carob::watch::{Update, Watch};
use carob_core::action::Action;
use carob_core::decide::Outcome;
use carob_core::event::{Event, ProbeResult};
use carob_core::parse::parse_manifest;
use carob_core::pod::Pod;
use carob_core::registry::Origin;
use carob_core::state::PodState;
use carob_core::status::Phase;
use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{JoinSet, LocalSet};

/// After this the copies of the records are written, and the threads that wrote them have ended (tokio keeps them for
/// 10 s).
const SETTLE: Duration = Duration::from_secs(20);

/// A runtime in which everything succeeds at once.
struct Nothing {
    pod: Rc<Pod>,
    source: Source,
    outbox: UnboundedSender<Event>,
}

impl Effects for Nothing {
    fn pod(&self) -> Rc<Pod> {
        self.pod.clone()
    }

    fn source(&self) -> &Source {
        &self.source
    }

    async fn adopt(self: Rc<Self>, _: &PodState, _: bool) {}

    async fn run(self: Rc<Self>, action: Action) {
        if let Some(event) = success(action) {
            // An actor that has ended needs no answer.
            let _ = self.outbox.send(event);
        }
    }

    async fn close(&self) {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    LocalSet::new().run_until(run()).await
}

async fn run() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, pods, period, seconds] = &args[..] else {
        bail!("usage: rest DIR PODS PERIOD SECONDS");
    };
    let dir = PathBuf::from(dir);
    let pods: usize = pods.parse().context("PODS")?;
    let period: u32 = period.parse().context("PERIOD")?;
    let seconds: u64 = seconds.parse().context("SECONDS")?;
    let dirs = Dirs::prepare(&dir.join("root"), &dir.join("state"))?;
    let manifest: String = (0..pods).map(|n| pod(n, period)).collect();
    let mut uids = 0..;
    let parsed = parse_manifest(manifest.as_bytes(), "bench", &mut || {
        format!("uid-{}", uids.next().unwrap_or(0))
    })?;

    let (sender, mut updates) = mpsc::unbounded_channel();
    let (mut actors, mut inboxes) = (JoinSet::new(), Vec::new());
    let mut begun = Duration::ZERO;
    for (number, pod) in parsed.pods.into_iter().enumerate() {
        let life = Life::begin(&dirs, pod, Source::Manifest, Origin::Run, &Home::Embedded)?;
        let before = cpu()?;
        let sender = sender.clone();
        let watch = Watch::new(move |update| drop(sender.send((number, update))));
        let (inbox, actor) = actor(&dirs, life, watch);
        inboxes.push(inbox);
        actors.spawn_local(actor.run());
        begun += cpu()? - before;
    }
    let before = cpu()?;
    let mut up = 0;
    while up < pods {
        up += usize::from(is_up(&heard(&mut updates).await?));
    }
    let bringing_up = begun + cpu()? - before;
    let settled = tokio::time::sleep(SETTLE);
    tokio::pin!(settled);
    loop {
        tokio::select! {
            update = heard(&mut updates) => ensure!(!is_up(&update?), "a Pod came up twice"),
            () = &mut settled => break,
        }
    }
    let before = cpu()?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let at_rest = cpu()? - before;
    ensure!(updates.is_empty(), "something happened to a Pod at rest");
    for inbox in &inboxes {
        inbox.send(Event::DeleteRequested {
            grace_seconds: None,
        })?;
    }
    while let Some(ended) = actors.join_next().await {
        ensure!(ended??.outcome == Outcome::Deleted, "a Pod ended by itself");
    }
    println!(
        "{:.3} {:.3}",
        bringing_up.as_secs_f64() * 1e3,
        at_rest.as_secs_f64() * 1e3
    );
    Ok(())
}

fn pod(number: usize, period: u32) -> String {
    let probe = match period {
        0 => String::new(),
        period => {
            format!(", readinessProbe: {{tcpSocket: {{port: 80}}, periodSeconds: {period}}}")
        }
    };
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: pod-{number}}}, spec: {{containers: [\
         {{name: one, image: 'i:1'{probe}}}, {{name: two, image: 'i:1'{probe}}}]}}}}\n"
    )
}

fn actor(dirs: &Dirs, life: Life, watch: Watch) -> (UnboundedSender<Event>, Actor<Nothing>) {
    let (outbox, inbox) = mpsc::unbounded_channel();
    let effects = Nothing {
        pod: Rc::new(life.pod),
        source: life.source,
        outbox: outbox.clone(),
    };
    let own = Own {
        journal: Rc::new(RefCell::new(Journal::open(dirs, &effects.pod, "bench"))),
        origin: life.origin,
        at_end: Rc::new(Cell::new(AtEnd::Forget)),
        claim: life.claim,
        home: life.home,
        clock: life.clock,
        state: life.state,
        past: life.past,
    };
    (outbox, Actor::new(own, Rc::new(effects), inbox, watch))
}

async fn heard(updates: &mut UnboundedReceiver<(usize, Update)>) -> anyhow::Result<Update> {
    let (_, update) = updates.recv().await.context("the actors are gone")?;
    Ok(update)
}

/// True for the one update that tells of a Pod that all of it is ready now.
fn is_up(update: &Update) -> bool {
    let Update::Status(status) = update else {
        return false;
    };
    status.phase == Phase::Running && status.container_statuses.iter().all(|c| c.ready)
}

/// The CPU time of this process until now.
fn cpu() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn success(action: Action) -> Option<Event> {
    Some(match action {
        Action::CreateSandbox { attempt } => Event::SandboxCreated {
            attempt,
            id: "sandbox".to_owned(),
            pid: 1,
            ips: Vec::new(),
        },
        Action::EnsureImage { container } => Event::ImageReady {
            container,
            image_id: "sha256:0".to_owned(),
            image: "image:1".to_owned(),
            pulled: None,
        },
        Action::CreateContainer { container, attempt } => Event::ContainerCreated {
            id: format!("{container}-{attempt}"),
            container,
            attempt,
        },
        Action::StartContainer { container, attempt } => Event::ContainerStarted {
            container,
            attempt,
            pid: 2,
            at: Timestamp::now(),
        },
        Action::Probe {
            container,
            attempt,
            kind,
        } => Event::Probed {
            container,
            attempt,
            kind,
            result: ProbeResult::Success,
            output: String::new(),
        },
        Action::Signal {
            container, attempt, ..
        } => Event::ContainerExited {
            container,
            attempt,
            exit_code: 143,
            signal: Some(15),
            at: Timestamp::now(),
            message: None,
        },
        Action::RemoveContainer { container, attempt } => {
            Event::ContainerRemoved { container, attempt }
        }
        Action::RemoveSandbox { attempt, last } => Event::SandboxRemoved { attempt, last },
        Action::PostStart { .. } | Action::PreStop { .. } => return None,
    })
}
