//! One foreground run: starts the actors, passes on signals, and waits for all Pods to end.

use std::cell::Cell;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use carob_core::decide::Outcome;
use carob_core::event::Event;
use carob_core::pod::Pod;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bundle::Passthrough;
use super::human::Human;
use super::json::Json;
use crate::actor::AtEnd;
use crate::backend::Setup;
use crate::cli::EXIT_TIMEOUT;
use crate::dirs::Dirs;
use crate::engine::Engine;
use crate::events;
use crate::life::{Life, remove_logs};
use crate::runtime::{PodName, PodRuntime};
use crate::watch::{Update, Watch};

/// When nothing has happened for so long, the Pods are taken to have settled.
const REST: Duration = Duration::from_secs(2);

/// Who is told what happens.
pub enum View {
    /// A person at a terminal.
    Human(Human),
    /// A script that reads Pods.
    Json(Json),
    /// A script that runs bundles.
    Bundle(Passthrough),
}

impl View {
    fn update(&mut self, pod: usize, update: Update) {
        match self {
            Self::Human(view) => view.update(pod, update),
            Self::Json(view) => view.update(pod, &update),
            Self::Bundle(view) => view.update(&update),
        }
    }

    /// Returns when there is something to show that no update tells of: log files that grew.
    async fn wake(&mut self) {
        match self {
            Self::Human(view) => view.logs_grew().await,
            Self::Bundle(view) => view.logs_grew().await,
            Self::Json(_) => std::future::pending().await,
        }
    }

    /// True when the logs are read here, so that nobody needs their files afterwards.
    fn shows_logs(&self) -> bool {
        match self {
            Self::Human(_) => true,
            Self::Bundle(view) => view.shows_logs(),
            Self::Json(_) => false,
        }
    }
}

/// The signals that delete the Pods.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Hears them from now on. To be called before there is anything to clean up.
    ///
    /// # Errors
    /// The system's answer.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }
}

/// Pods that run in the foreground.
pub struct Session {
    engine: Rc<Engine>,
    inboxes: Vec<mpsc::UnboundedSender<Event>>,
    actors: JoinSet<(usize, anyhow::Result<Outcome>)>,
    updates: mpsc::UnboundedReceiver<(usize, Update)>,
    view: View,
    signals: Signals,
    pods: Vec<Pod>,
}

impl Session {
    /// Starts the Pods, or goes on with them.
    ///
    /// # Errors
    /// When the machine can't be prepared: then new Pods are forgotten and others are left as they were.
    pub async fn start(
        dirs: Dirs,
        setup: &Setup,
        lives: Vec<Life>,
        view: View,
        signals: Signals,
    ) -> anyhow::Result<Self> {
        let (engine, runtimes) = match prepare(dirs, setup, &lives).await {
            Ok(prepared) => prepared,
            Err(error) => {
                Life::abandon(lives)?;
                return Err(error);
            }
        };
        let (sender, updates) = mpsc::unbounded_channel();
        if lives.iter().any(|life| !life.pod.spec.host_network) {
            let network = engine.network.clone();
            // Beside the first sandbox; what fails here fails again, with a Pod to tell of it.
            tokio::task::spawn_local(async move { network.prepare().await });
        }
        let mut session = Self {
            pods: lives.iter().map(|life| life.pod.clone()).collect(),
            engine,
            signals,
            inboxes: Vec::new(),
            actors: JoinSet::new(),
            updates,
            view,
        };
        for (index, (life, runtime)) in lives.into_iter().zip(runtimes).enumerate() {
            let inbox = mpsc::unbounded_channel();
            session.inboxes.push(inbox.0.clone());
            let sender = sender.clone();
            let watch = Watch::new(move |update| {
                // A watcher that left doesn't need to know.
                let _ = sender.send((index, update));
            });
            let started = life.start(
                &session.engine,
                runtime,
                inbox,
                watch,
                Rc::new(Cell::new(AtEnd::Forget)),
            );
            session.actors.spawn_local(async move {
                let end = started.actor.run().await;
                (index, end.map(|end| end.outcome).map_err(Into::into))
            });
        }
        Ok(session)
    }

    /// Returns the exit code when every Pod has ended: that of the first one, in the manifest's order,
    /// which failed.
    ///
    /// SIGINT and SIGTERM delete the Pods gracefully; a second one doesn't wait for their grace.
    ///
    /// # Errors
    /// When a Pod ended but something of it could not be removed.
    pub async fn until_done(mut self, timeout: Option<Duration>) -> anyhow::Result<ExitCode> {
        let deadline = async {
            match timeout {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        let rest = tokio::time::sleep(REST);
        tokio::pin!(deadline, rest);
        let mut outcomes: Vec<Option<Outcome>> = self.inboxes.iter().map(|_| None).collect();
        let (mut timed_out, mut stopped_by) = (false, None);
        while !self.actors.is_empty() {
            tokio::select! {
                biased;
                Some((pod, update)) = self.updates.recv() => {
                    self.view.update(pod, update);
                    rest.as_mut().reset(Instant::now() + REST);
                }
                () = self.view.wake() => {}
                Some(ended) = self.actors.join_next() => {
                    let (pod, outcome) = ended?;
                    outcomes[pod] = Some(outcome?);
                }
                _ = self.signals.interrupt.recv() => self.stop(&mut stopped_by, SignalKind::interrupt()),
                _ = self.signals.terminate.recv() => self.stop(&mut stopped_by, SignalKind::terminate()),
                () = &mut rest, if !rest.is_elapsed() => {
                    if let Err(error) = carob_rest::give_back() {
                        tracing::debug!(%error, "memory is kept");
                    }
                }
                () = &mut deadline, if !timed_out => {
                    timed_out = true;
                    self.delete(None);
                }
            }
        }
        while let Ok((pod, update)) = self.updates.try_recv() {
            self.view.update(pod, update);
        }
        let shown = self.view.shows_logs();
        drop(self.view);
        // What was shown is not kept.
        if shown {
            for pod in &self.pods {
                remove_logs(&self.engine.dirs, pod)?;
            }
        }
        // Nobody may ever ask for the events of Pods that are long gone.
        if let Err(error) = events::list(&self.engine.dirs) {
            tracing::debug!(%error, "old events stay");
        }
        self.engine.close().await?;
        if timed_out {
            return Ok(ExitCode::from(EXIT_TIMEOUT));
        }
        let stopped = stopped_by.map_or(0, |signal| 128 + signal.as_raw_value());
        let mut codes = outcomes.into_iter().flatten().map(|outcome| match outcome {
            Outcome::Succeeded => 0,
            Outcome::Failed { exit_code } => exit_code,
            // As the shell has it for a program that a signal ended.
            Outcome::Deleted => stopped,
        });
        // A process has 8 bits for its exit code; what doesn't fit is still no success.
        Ok(ExitCode::from(
            codes
                .find(|&code| code != 0)
                .map_or(0, |code| u8::try_from(code).unwrap_or(u8::MAX)),
        ))
    }

    /// The first time gracefully, then by force.
    fn stop(&self, stopped_by: &mut Option<SignalKind>, signal: SignalKind) {
        self.delete(stopped_by.replace(signal).map(|_| 0));
    }

    fn delete(&self, grace_seconds: Option<u64>) {
        for inbox in &self.inboxes {
            // An actor that has ended has nothing left to delete.
            let _ = inbox.send(Event::DeleteRequested { grace_seconds });
        }
    }
}

/// What all Pods share, and what runs the containers of each.
async fn prepare(
    dirs: Dirs,
    setup: &Setup,
    lives: &[Life],
) -> anyhow::Result<(Rc<Engine>, Vec<Rc<dyn PodRuntime>>)> {
    for life in lives {
        life.forget_old_logs(&dirs)?;
    }
    let engine = Engine::open(dirs, setup).await?;
    let mut runtimes = Vec::new();
    for life in lives {
        runtimes.push(engine.runtime.pod(PodName::of(&life.pod)).await?);
    }
    Ok((Rc::new(engine), runtimes))
}
