//! A command in a container, through the runtime's exec: its output, its end, and that nothing of it stays.
//!
//! Whoever waits for it may stop at any moment: the command is then killed with everything that it started, in a task
//! of its own, and until that is done no other command takes its name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};
use tokio::task;
use tokio::time::{Instant, sleep, sleep_until};

use super::OUTPUT_MAX;
use crate::runtime::{ExecTask, Exited, Process, TaskError, Tasks};

/// How long a command that writes more than is wanted waits for each [`BUFFER`] to be thrown away: it is not to keep
/// the supervisor busy.
const FLOOD_PAUSE: Duration = Duration::from_millis(10);
/// So much is read at once. Bytes.
const BUFFER: usize = 16 << 10;

/// A command to run.
#[derive(Clone)]
pub struct Command {
    /// Serves the container.
    pub tasks: Rc<dyn Tasks>,
    /// The container.
    pub id: String,
    /// The command's name, one of few: only one of a name runs at a time.
    pub name: &'static str,
    /// An OCI process in JSON.
    pub process: Vec<u8>,
    /// Where its FIFOs are made.
    pub dir: PathBuf,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Exit code, or 128 plus the signal's number.
    pub status: u32,
    /// What it wrote, at most [`OUTPUT_MAX`].
    pub stdout: Vec<u8>,
    /// The same.
    pub stderr: Vec<u8>,
}

/// Why there is no end to tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It took too long, and is killed.
    TimedOut,
    /// It could not be started, or what serves the container is gone.
    Refused(String),
}

/// Which commands are under way, by container and name.
#[derive(Default)]
pub struct Commands(RefCell<BTreeMap<Name, Arc<Mutex<()>>>>);

/// A container's ID, and what its command is called.
type Name = (String, &'static str);

impl Commands {
    /// Runs a command to its end, or until `limit` has passed.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&self, command: Command, limit: Option<Duration>) -> Result<Ended, Failure> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let name = self.name(&command);
        let run = async {
            let turn = name.lock_owned().await;
            // Dropping the first ends the command.
            let (wanted, unwanted) = oneshot::channel();
            let (tell, told) = oneshot::channel();
            task::spawn_local(async move {
                let ended = command.run(unwanted, turn).await;
                // Nobody listens to a command that was given up.
                let _ = tell.send(ended);
            });
            let ended = told.await;
            drop::<oneshot::Sender<()>>(wanted);
            ended.unwrap_or_else(|_| Err(Failure::Refused("the supervisor is ending".to_owned())))
        };
        tokio::select! {
            biased;
            ended = run => ended,
            () = late => Err(Failure::TimedOut),
        }
    }

    /// No command of this container will run any more.
    pub fn forget(&self, id: &str) {
        self.0.borrow_mut().retain(|(known, _), _| known != id);
    }

    fn name(&self, command: &Command) -> Arc<Mutex<()>> {
        let mut names = self.0.borrow_mut();
        names
            .entry((command.id.clone(), command.name))
            .or_default()
            .clone()
    }
}

impl Command {
    /// Runs until it has ended, or kills it once it is unwanted.
    async fn run(
        self,
        unwanted: oneshot::Receiver<()>,
        _turn: OwnedMutexGuard<()>,
    ) -> Result<Ended, Failure> {
        let refused = |what: &str, error: &io::Error| {
            Failure::Refused(format!("cannot {what} in {:?}: {error}", self.dir))
        };
        let stdout = Fifo::make(&self.dir.join(format!("{}.out", self.name)))
            .map_err(|error| refused("make a FIFO", &error))?;
        let stderr = Fifo::make(&self.dir.join(format!("{}.err", self.name)))
            .map_err(|error| refused("make a FIFO", &error))?;
        self.add(&stdout.path, &stderr.path).await?;
        if let Err(error) = self.tasks.start(self.exec()).await {
            // What was never started has nothing to end.
            let _ = self.tasks.delete(self.exec()).await;
            return Err(Failure::Refused(error.to_string()));
        }
        let (exited, stdout, stderr) = self.follow(stdout, stderr, unwanted).await;
        let deleted = self.tasks.delete(self.exec()).await;
        match (exited, deleted) {
            (Ok(exited), _) => Ok(Ended {
                status: exited.status,
                stdout,
                stderr,
            }),
            (Err(error), _) => Err(Failure::Refused(error.to_string())),
        }
    }

    fn exec(&self) -> Process<'_> {
        Process::exec(&self.id, self.name)
    }

    /// SIGKILL to the command and all that it started.
    async fn kill(&self) -> Result<(), TaskError> {
        let signal = nix::libc::SIGKILL.unsigned_abs();
        self.tasks.kill(self.exec(), signal, true).await
    }

    /// Adds the exec. One of the same name is a supervisor's that was killed: it is ended first.
    async fn add(&self, stdout: &Path, stderr: &Path) -> Result<(), Failure> {
        let task = ExecTask {
            id: self.id.clone(),
            exec_id: self.name.to_owned(),
            process: self.process.clone(),
            stdout: stdout.to_string_lossy().into_owned(),
            stderr: stderr.to_string_lossy().into_owned(),
        };
        let refused = |error: TaskError| Failure::Refused(error.to_string());
        match self.tasks.exec(task.clone()).await {
            Ok(()) => return Ok(()),
            Err(TaskError::Exists(_)) => {}
            Err(error) => return Err(refused(error)),
        }
        // One that has ended, or never began, can't be killed and need not be.
        if self.kill().await.is_ok() {
            let ended = self.tasks.wait(self.exec()).await;
            ended.map_err(refused)?;
        }
        let deleted = self.tasks.delete(self.exec()).await;
        deleted.map_err(refused)?;
        match self.tasks.exec(task).await {
            Ok(()) => Ok(()),
            Err(TaskError::Exists(_)) => Err(Failure::Refused("it is still running".to_owned())),
            Err(error) => Err(refused(error)),
        }
    }

    /// Reads what the command writes until it has ended.
    async fn follow(
        &self,
        mut stdout: Fifo,
        mut stderr: Fifo,
        mut unwanted: oneshot::Receiver<()>,
    ) -> (Result<Exited, TaskError>, Vec<u8>, Vec<u8>) {
        let ended = self.tasks.wait(self.exec());
        tokio::pin!(ended);
        let mut killed = false;
        let exited = loop {
            tokio::select! {
                biased;
                exited = &mut ended => break exited,
                _ = &mut unwanted, if !killed => {
                    killed = true;
                    if let Err(error) = self.kill().await {
                        tracing::debug!(%error, id = self.id, name = self.name, "a command was not killed");
                    }
                }
                () = stdout.read() => {}
                () = stderr.read() => {}
            }
        };
        // It has written all that it ever will; others that it left behind may go on.
        stdout.drain();
        stderr.drain();
        (exited, stdout.take(), stderr.take())
    }
}

/// A FIFO that a command writes to. Removed when dropped.
struct Fifo {
    path: PathBuf,
    receiver: pipe::Receiver,
    read: Vec<u8>,
    broken: bool,
}

impl Fifo {
    fn make(path: &Path) -> io::Result<Self> {
        // A supervisor that was killed may have left it.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let mut options = pipe::OpenOptions::new();
        // With a writer of our own there is no end before the command has begun.
        let receiver = options.read_write(true).open_receiver(path)?;
        Ok(Self {
            path: path.to_owned(),
            receiver,
            read: Vec::new(),
            broken: false,
        })
    }

    /// Takes some of what is there, when something is.
    async fn read(&mut self) {
        if self.broken {
            return std::future::pending().await;
        }
        if self.read.len() >= OUTPUT_MAX {
            sleep(FLOOD_PAUSE).await;
        }
        if self.receiver.readable().await.is_err() {
            self.broken = true;
            return;
        }
        self.take_some();
    }

    /// Takes what is there without waiting; true when there was something.
    fn take_some(&mut self) -> bool {
        let mut buffer = [0; BUFFER];
        match self.receiver.try_read(&mut buffer) {
            Ok(0) => self.broken = true,
            Ok(count) => {
                let wanted = OUTPUT_MAX.saturating_sub(self.read.len()).min(count);
                self.read.extend_from_slice(&buffer[..wanted]);
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.broken = true,
        }
        false
    }

    fn drain(&mut self) {
        while self.read.len() < OUTPUT_MAX && !self.broken && self.take_some() {}
    }

    fn take(mut self) -> Vec<u8> {
        std::mem::take(&mut self.read)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        // It may have gone with the whole bundle.
        let _ = fs::remove_file(&self.path);
    }
}
