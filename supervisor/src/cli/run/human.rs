//! What a person sees of a foreground run: a status line per container, and the logs below each other,
//! prefixed with the container's name.
//!
//! Status goes to standard error, logs go to the stream that the container wrote them to.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use carob_core::pod::Pod;
use carob_core::status::{EventType, PodEvent, PodStatus};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::super::summary;
use crate::dirs::Dirs;
use crate::follow::{self, Follow};
use crate::logs::{LogReader, Shown, Stream};
use crate::watch::Update;

/// The view of all Pods of one run.
pub struct Human {
    lines: MultiProgress,
    live: bool,
    follow: Follow,
    pods: Vec<PodView>,
}

struct PodView {
    name: String,
    shown: Shown,
    containers: Vec<ContainerView>,
}

struct ContainerView {
    name: String,
    /// What stands before its log lines.
    prefix: String,
    line: ProgressBar,
    shown: String,
    logs: Vec<LogReader>,
}

impl PodView {
    fn container(&mut self, name: &str) -> Option<&mut ContainerView> {
        self.containers.iter_mut().find(|c| c.name == name)
    }
}

impl Human {
    /// A view of these Pods; draws live lines only on a terminal.
    ///
    /// # Errors
    /// When the user's inotify instances are used up.
    pub fn new<'a>(dirs: &Dirs, pods: impl Iterator<Item = &'a Pod>) -> io::Result<Self> {
        let lines = MultiProgress::new();
        let live = io::stderr().is_terminal();
        let style =
            ProgressStyle::with_template("{prefix} {msg}").expect("a constant template is valid");
        let pods: Vec<&Pod> = pods.collect();
        let full = |pod: &Pod, container: &str| match pods.len() {
            1 => container.to_owned(),
            _ => format!("{}/{container}", pod.metadata.name),
        };
        let names = pods
            .iter()
            .flat_map(|pod| pod.spec.all_containers().map(|c| full(pod, &c.name)));
        let width = names.map(|name| name.len()).max().unwrap_or(0);
        let pods = pods
            .iter()
            .map(|pod| {
                let containers = pod
                    .spec
                    .all_containers()
                    .map(|c| {
                        let line = match live {
                            true => lines.add(ProgressBar::new_spinner().with_style(style.clone())),
                            false => ProgressBar::hidden(),
                        };
                        line.set_prefix(format!("{:width$}", full(pod, &c.name)));
                        ContainerView {
                            name: c.name.clone(),
                            prefix: format!("{:width$} | ", full(pod, &c.name)),
                            line,
                            shown: String::new(),
                            logs: Vec::new(),
                        }
                    })
                    .collect();
                PodView {
                    shown: Shown::open(dirs.shown(&pod.metadata.uid)),
                    name: pod.metadata.name.clone(),
                    containers,
                }
            })
            .collect();
        Ok(Self {
            lines,
            live,
            follow: Follow::new()?,
            pods,
        })
    }

    /// Shows what is new.
    pub fn update(&mut self, pod: usize, update: Update) {
        match update {
            Update::Status(status) => self.status(pod, &status),
            Update::Event(event) if event.kind == EventType::Warning => {
                let text = format!(
                    "{}: {}: {}",
                    self.pods[pod].name, event.reason, event.message
                );
                self.say(&text);
            }
            // On a terminal the container's line shows the progress. An image that is present is no news.
            Update::Event(event) if !self.live && is_pull(&event) => {
                self.say(&format!("{}: {}", self.pods[pod].name, event.message));
            }
            Update::Event(_) | Update::Logged(_) => {}
            Update::Pulling {
                container,
                done,
                total,
            } => {
                let text = match total {
                    0 => "Pulling".to_owned(),
                    _ => format!(
                        "Pulling {} of {}",
                        summary::bytes(done),
                        summary::bytes(total)
                    ),
                };
                if self.live {
                    self.set_line(pod, &container, text);
                }
            }
            Update::Log { container, path } => self.add_log(pod, &container, path),
            Update::Done(_) => {
                self.show_logs(pod, true);
                self.pods[pod].shown.forget();
            }
        }
    }

    /// Waits until a log file has grown and shows what is new in them.
    pub async fn logs_grew(&mut self) {
        if let Err(error) = self.follow.changed().await {
            tracing::warn!(%error, "logs are not shown any more; read them in their files");
            return std::future::pending().await;
        }
        for pod in 0..self.pods.len() {
            self.show_logs(pod, false);
        }
    }

    fn status(&mut self, pod: usize, status: &PodStatus) {
        for (container, text) in summary::container_texts(status) {
            self.set_line(pod, &container, text);
        }
    }

    fn set_line(&mut self, pod: usize, container: &str, text: String) {
        let Some(view) = self.pods[pod].container(container) else {
            return;
        };
        if view.shown == text {
            return;
        }
        view.line.set_message(text.clone());
        view.line.tick();
        if !self.live {
            eprintln!("{}{text}", view.prefix);
        }
        view.shown = text;
    }

    fn say(&self, text: &str) {
        self.lines.suspend(|| eprintln!("{text}"));
    }

    fn add_log(&mut self, pod: usize, container: &str, path: PathBuf) {
        let watched = path
            .parent()
            .map_or(Ok(()), |dir| self.follow.watch(dir, follow::LOGS));
        if let Err(error) = watched {
            tracing::warn!(%error, ?path, "a log is not followed");
        }
        let reader = self.pods[pod].shown.reader(path);
        let Some(view) = self.pods[pod].container(container) else {
            return;
        };
        view.logs.push(reader);
        self.show_logs(pod, false);
    }

    fn show_logs(&mut self, pod: usize, finish: bool) {
        for view in &mut self.pods[pod].containers {
            let (lines, prefix) = (&self.lines, &view.prefix);
            let mut show =
                |stream: Stream, text: &[u8]| lines.suspend(|| print_line(stream, prefix, text));
            let current = view.logs.len().saturating_sub(1);
            for (index, log) in view.logs.iter_mut().enumerate() {
                // The log of an instance that was replaced gets no more lines.
                let result = if finish || index < current {
                    log.finish(&mut show)
                } else {
                    log.read(&mut show)
                };
                if let Err(error) = result {
                    tracing::warn!(%error, "a log cannot be read");
                }
            }
            view.logs.drain(..current);
        }
        if !finish {
            let PodView {
                shown, containers, ..
            } = &mut self.pods[pod];
            shown.note(containers.iter().flat_map(|view| &view.logs));
        }
    }
}

impl Drop for Human {
    fn drop(&mut self) {
        for view in self.pods.iter().flat_map(|p| &p.containers) {
            view.line.abandon();
        }
    }
}

/// A pull that begins or has succeeded.
fn is_pull(event: &PodEvent) -> bool {
    event.reason == "Pulling" || event.message.starts_with("Successfully pulled")
}

/// A closed standard output is the reader's choice and no reason to end the Pod.
fn print_line(stream: Stream, prefix: &str, text: &[u8]) {
    let line = [prefix.as_bytes(), text, b"\n"].concat();
    let _ = match stream {
        Stream::Stdout => io::stdout().lock().write_all(&line),
        Stream::Stderr => io::stderr().lock().write_all(&line),
    };
}
