//! `carob run --bundle`: ready OCI bundles as one Pod, for scripts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use carob_core::pod::{
    Container, DnsPolicy, ImagePullPolicy, Metadata, Pod, PodSpec, RestartPolicy,
};
use carob_core::registry::Origin;
use carob_core::status::{EventType, PodStatus};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;
use tokio::net::unix::pipe::{self, Receiver};

use super::human::Human;
use super::session::{Session, Signals, View};
use crate::backend::Setup;
use crate::dirs::Dirs;
use crate::executor::{Source, Streams, read_bundle};
use crate::life::Life;
use crate::machine;
use crate::watch::Update;

/// Runs the bundles as one Pod that is never restarted.
///
/// # Errors
/// When one of them is no bundle: then nothing is started.
pub async fn run(
    bundles: &[PathBuf],
    as_json: bool,
    timeout: Option<Duration>,
    dirs: Dirs,
    setup: Setup,
) -> anyhow::Result<ExitCode> {
    let mut names = Vec::new();
    let mut by_name = BTreeMap::new();
    for (index, bundle) in bundles.iter().enumerate() {
        let dir = fs::canonicalize(bundle)
            .with_context(|| format!("cannot find the bundle {bundle:?}"))?;
        read_bundle(&dir)?;
        let name = container_name(&dir, index);
        names.push(name.clone());
        by_name.insert(name, dir);
    }
    let signals = Signals::listen()?;
    let uid = machine::new_uid()?;
    let pod = pod(&uid, &names);
    let pipes = PipeDir::new(dirs.pipes(&uid));
    let (view, streams) = match (by_name.len(), as_json) {
        (_, true) => (
            View::Bundle(Passthrough::result(
                &by_name,
                dirs.pod_logs(&pod.metadata.namespace, &pod.metadata.name, &uid),
            )),
            Streams::Logs,
        ),
        (1, false) => {
            let names = pipes
                .make()
                .context("cannot make the pipes for standard output")?;
            (
                View::Bundle(Passthrough::pipes(&names)?),
                Streams::Pipes(names),
            )
        }
        (_, false) => (
            View::Human(Human::new(&dirs, [&pod].into_iter())?),
            Streams::Logs,
        ),
    };
    let source = Source::Bundles(by_name, streams);
    let life = Life::begin(&dirs, pod, source, Origin::Run, &setup.backend.home())?;
    let session = Session::start(dirs, &setup, vec![life], view, signals).await?;
    session.until_done(timeout).await
}

/// The directory's name made a DNS label, with its position when that is not unique by itself.
fn container_name(dir: &Path, index: usize) -> String {
    let base = dir
        .file_name()
        .map(|n| n.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let label: String = base
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(50)
        .collect();
    match label.trim_matches('-') {
        "" => format!("bundle-{index}"),
        label => format!("{label}-{index}"),
    }
}

fn pod(uid: &str, names: &[String]) -> Pod {
    let container = |name: &String| Container {
        image_pull_policy: ImagePullPolicy::Never,
        ..Container::new(name, "")
    };
    Pod {
        metadata: Metadata::new(format!("bundle-{}", &uid[..8]), uid),
        spec: PodSpec {
            restart_policy: RestartPolicy::Never,
            dns_policy: DnsPolicy::Default,
            ..PodSpec::new(names.iter().map(container).collect())
        },
    }
}

/// The named pipes of one run; gone with it.
struct PipeDir(PathBuf);

impl PipeDir {
    fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn make(&self) -> io::Result<[PathBuf; 3]> {
        fs::create_dir(&self.0)?;
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.0.join(name));
        for path in [&stdout, &stderr] {
            mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        }
        Ok([PathBuf::new(), stdout, stderr])
    }
}

impl Drop for PipeDir {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, dir = ?self.0, "the pipes stay behind");
            }
            _ => {}
        }
    }
}

/// What a script sees: the container's own output, or one JSON line at the end.
pub enum Passthrough {
    /// The container's standard output and error, as they are.
    Pipes {
        /// Its standard output.
        stdout: Receiver,
        /// Its standard error.
        stderr: Receiver,
    },
    /// One JSON line when all is over.
    Result {
        /// The bundles by container name.
        bundles: BTreeMap<String, PathBuf>,
        /// Where the log files are.
        logs: PathBuf,
        /// The latest status.
        status: Option<std::rc::Rc<PodStatus>>,
    },
}

impl Passthrough {
    fn pipes(paths: &[PathBuf; 3]) -> io::Result<Self> {
        // Opened for writing too, a pipe has no end of file when its writers come and go.
        let open = |path| {
            pipe::OpenOptions::new()
                .read_write(true)
                .open_receiver(path)
        };
        Ok(Self::Pipes {
            stdout: open(&paths[1])?,
            stderr: open(&paths[2])?,
        })
    }

    fn result(bundles: &BTreeMap<String, PathBuf>, logs: PathBuf) -> Self {
        Self::Result {
            bundles: bundles.clone(),
            logs,
            status: None,
        }
    }

    /// True when nobody needs log files afterwards.
    pub fn shows_logs(&self) -> bool {
        matches!(self, Self::Pipes { .. })
    }

    /// Passes on what has been written so far; prints the result at the end.
    pub fn update(&mut self, update: &Update) {
        match (self, update) {
            // Of a container that never ran there is no other word.
            (_, Update::Event(event)) if event.kind == EventType::Warning => {
                eprintln!("carob: {}", event.message);
            }
            (Self::Result { status, .. }, Update::Status(new)) => *status = Some(new.clone()),
            (
                Self::Result {
                    bundles,
                    logs,
                    status: Some(status),
                },
                Update::Done(_),
            ) => {
                let _ = writeln!(io::stdout().lock(), "{}", result(bundles, logs, status));
            }
            // The shim has closed its ends: what is in the pipes now is all there is.
            (Self::Pipes { stdout, stderr }, Update::Done(_)) => {
                drain(stdout, &mut io::stdout());
                drain(stderr, &mut io::stderr());
            }
            _ => {}
        }
    }

    /// Passes on output as it comes.
    pub async fn logs_grew(&mut self) {
        let Self::Pipes { stdout, stderr } = self else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = stdout.readable() => drain(stdout, &mut io::stdout()),
            _ = stderr.readable() => drain(stderr, &mut io::stderr()),
        }
    }
}

/// Copies what is there. A closed output is the reader's choice: the rest is read and dropped.
fn drain(pipe: &Receiver, output: &mut dyn Write) {
    let mut chunk = [0; 65536];
    while let Ok(n @ 1..) = pipe.try_read(&mut chunk) {
        let _ = output.write_all(&chunk[..n]);
    }
    let _ = output.flush();
}

fn result(
    bundles: &BTreeMap<String, PathBuf>,
    logs: &Path,
    status: &PodStatus,
) -> serde_json::Value {
    let containers: Vec<_> = status
        .container_statuses
        .iter()
        .map(|c| {
            let ended = c.state.terminated.as_ref();
            json!({
                "name": c.name,
                "bundle": bundles.get(&c.name),
                "log": logs.join(&c.name).join("0.log"),
                "state": c.state,
                "exitCode": ended.map(|e| e.exit_code),
            })
        })
        .collect();
    json!({"phase": status.phase, "reason": status.reason, "message": status.message, "containers": containers})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_get_names_that_kubernetes_allows() {
        assert_eq!(container_name(Path::new("/tmp/My.Job"), 0), "my-job-0");
        assert_eq!(container_name(Path::new("/"), 1), "bundle-1");
        assert_eq!(container_name(Path::new("/tmp/---"), 2), "bundle-2");
    }
}
