//! The standard streams of a container's process: what the client names, what the process gets, and
//! what the shim keeps meanwhile.
//!
//! A FIFO is handed to the process itself, so nothing is copied. Everything else is a pipe that the
//! shim reads ([`pump`]) and writes to a [`sink`]. A terminal is copied both ways ([`console`]).

mod console;
mod fifo;
mod logger;
mod pump;
mod sink;
mod target;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::reap::Children;

pub use carob_log::Stream;
pub use console::Size;
pub use target::{Target, TargetError};

use console::Console;
use fifo::Fifo;
use logger::Logger;
use pump::Pump;
use sink::{Shared, Sink};

/// Why streams can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// The URI is not one that is understood.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Something could not be opened.
    #[error("{stream} can't be opened at {}: {cause}", path.display())]
    Open {
        /// Which stream.
        stream: &'static str,
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A pipe could not be made.
    #[error("a pipe for a standard stream can't be made: {0}")]
    Pipe(#[from] io::Error),
    /// The logging program could not be started.
    #[error("the logging program {} can't be started: {cause}", path.display())]
    Logger {
        /// The program.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
}

/// What a client asks for, as in its Create or Exec request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Standard input: a FIFO's path, or empty.
    pub stdin: String,
    /// Standard output: a FIFO's path, a URI, or empty.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Whether there is a terminal instead of three streams.
    pub terminal: bool,
}

/// Who the streams belong to, for a logging program.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    /// containerd's namespace.
    pub namespace: &'a str,
    /// The container.
    pub container: &'a str,
    /// Who reaps the logging program.
    pub children: &'a Children,
}

/// What the shim keeps of a process' streams.
#[derive(Default)]
pub struct Streams {
    stdin: Option<Fifo>,
    outputs: Vec<Fifo>,
    pumps: Vec<Pump>,
    console: Option<Console>,
    /// Where the terminal's output will go.
    console_output: Option<Output>,
    logger: Option<Logger>,
}

/// Where output goes that the shim copies.
pub(crate) enum Output {
    /// A sink that never blocks.
    Sink(Shared),
    /// A FIFO, whose reader may be slow.
    Fifo(OwnedFd),
}

impl Streams {
    /// Opens what `request` names. Returns also what the process gets: standard input, output and
    /// error, or nothing when there is a terminal.
    ///
    /// # Errors
    /// [`StdioError`]. What was opened is closed again.
    pub async fn open(
        request: &Request,
        owner: Owner<'_>,
    ) -> Result<(Self, Vec<OwnedFd>), StdioError> {
        let mut streams = Self::default();
        let fds = if request.terminal {
            streams.open_terminal(request, owner)?;
            Vec::new()
        } else {
            streams.open_three(request, owner)?
        };
        if let Some(logger) = &mut streams.logger {
            logger.ready().await?;
        }
        Ok((streams, fds))
    }

    fn open_three(
        &mut self,
        request: &Request,
        owner: Owner<'_>,
    ) -> Result<Vec<OwnedFd>, StdioError> {
        let stdin = self.open_input(&Target::parse(&request.stdin)?)?;
        let targets = [
            Target::parse(&request.stdout)?,
            Target::parse(&request.stderr)?,
        ];
        let [stdout, stderr] = &targets;
        let same = stdout == stderr;
        let sink = sink_of(stdout)?;
        let first = self.output(stdout, sink.as_ref(), Stream::Stdout, owner)?;
        let second = match (stderr, sink) {
            // One pipe keeps what both write in order.
            (Target::File(_), Some(_)) if same => first.try_clone()?,
            // One log tells the streams apart.
            (_, Some(sink)) if same => self.pump(&sink, Stream::Stderr)?,
            _ => self.output(stderr, sink_of(stderr)?.as_ref(), Stream::Stderr, owner)?,
        };
        Ok(vec![stdin, first, second])
    }

    fn output(
        &mut self,
        target: &Target,
        sink: Option<&Shared>,
        stream: Stream,
        owner: Owner<'_>,
    ) -> Result<OwnedFd, StdioError> {
        match sink {
            Some(sink) => self.pump(sink, stream),
            None => self.open_output(target, stream, owner),
        }
    }

    fn open_terminal(&mut self, request: &Request, owner: Owner<'_>) -> Result<(), StdioError> {
        if let Target::Fifo(path) = Target::parse(&request.stdin)? {
            self.stdin = Some(Fifo::open(&path).map_err(at("stdin", &path))?);
        }
        let target = Target::parse(&request.stdout)?;
        self.console_output = match (&target, sink_of(&target)?) {
            (_, Some(sink)) => Some(Output::Sink(sink)),
            (Target::Null, None) => None,
            (_, None) => {
                // Through this the shim writes, and must not wait.
                Some(Output::Fifo(self.open_output(
                    &target,
                    Stream::Stdout,
                    owner,
                )?))
            }
        };
        Ok(())
    }

    fn open_input(&mut self, target: &Target) -> Result<OwnedFd, StdioError> {
        match target {
            Target::Fifo(path) => {
                let fifo = Fifo::open(path).map_err(at("stdin", path))?;
                let fd = fifo.reader().map_err(at("stdin", path))?;
                self.stdin = Some(fifo);
                Ok(fd)
            }
            _ => null(),
        }
    }

    /// What a process writes to directly.
    fn open_output(
        &mut self,
        target: &Target,
        stream: Stream,
        owner: Owner<'_>,
    ) -> Result<OwnedFd, StdioError> {
        match target {
            Target::Fifo(path) => {
                let fifo = Fifo::open(path).map_err(at(stream.name(), path))?;
                let fd = fifo.both().map_err(at(stream.name(), path))?;
                self.outputs.push(fifo);
                Ok(fd)
            }
            Target::Binary { path, args } => {
                let logger = match &mut self.logger {
                    Some(logger) => logger,
                    none => {
                        let failed = |cause| StdioError::Logger {
                            path: path.clone(),
                            cause,
                        };
                        none.insert(Logger::start(path, args, owner).map_err(failed)?)
                    }
                };
                match logger.writer(stream) {
                    Some(fd) => Ok(fd),
                    None => null(),
                }
            }
            _ => null(),
        }
    }

    /// Makes a pipe that is copied to `sink`; returns the writing end.
    fn pump(&mut self, sink: &Shared, stream: Stream) -> Result<OwnedFd, StdioError> {
        let (reader, writer) = crate::worker::pipe()?;
        self.pumps.push(Pump::start(reader, sink.clone(), stream)?);
        Ok(writer)
    }

    /// Starts copying from and to the terminal whose master is `master`.
    ///
    /// # Errors
    /// When the runtime can't watch it.
    pub fn attach_console(&mut self, master: OwnedFd) -> io::Result<()> {
        let input = match &self.stdin {
            Some(fifo) => Some(fifo.nonblocking_reader()?),
            None => None,
        };
        self.console = Some(Console::start(master, input, self.console_output.take())?);
        Ok(())
    }

    /// Lets the process read the end of its standard input, once the client has closed it too.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Changes the terminal's size. `false` when there is no terminal.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, size: Size) -> io::Result<bool> {
        match &self.console {
            Some(console) => console.resize(size).map(|()| true),
            None => Ok(false),
        }
    }

    /// To be called when the process has exited: takes over what it wrote last, without waiting for
    /// others that may hold its streams open, and lets readers see the end.
    pub fn exited(&mut self) {
        self.stdin = None;
        for pump in &self.pumps {
            pump.drain();
        }
        if let Some(console) = &self.console {
            console.drain();
        }
        for fifo in &mut self.outputs {
            fifo.let_go();
        }
    }

    /// Ends all copying and closes everything.
    pub fn close(mut self) {
        self.exited();
        for pump in self.pumps.drain(..) {
            pump.finish();
        }
        if let Some(console) = self.console.take() {
            console.finish();
        }
    }
}

/// Gives pipes and FIFOs to a user and group, as `IoUid` and `IoGid` of containerd's options want it: for
/// a container whose root is another user of the machine.
///
/// # Errors
/// When there is no such user here, in a user namespace of ours.
pub fn give_streams(streams: &[OwnedFd], (user, group): (u32, u32)) -> io::Result<()> {
    use std::os::unix::fs::{FileTypeExt, fchown};
    for stream in streams {
        let file = std::fs::File::from(stream.try_clone()?);
        if file.metadata()?.file_type().is_fifo() {
            fchown(&file, Some(user), Some(group))?;
        }
    }
    Ok(())
}

/// The sink for a target that has one.
fn sink_of(target: &Target) -> Result<Option<Shared>, StdioError> {
    let sink = match target {
        Target::File(path) => Sink::file(path).map_err(at("the log file", path))?,
        Target::CriLog { path, limits } => {
            Sink::cri(path, *limits).map_err(at("the log file", path))?
        }
        Target::Null | Target::Fifo(_) | Target::Binary { .. } => return Ok(None),
    };
    Ok(Some(sink.shared()))
}

fn null() -> Result<OwnedFd, StdioError> {
    let open = || {
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
    };
    Ok(open()?.into())
}

/// Names the stream and the path in an error.
fn at(stream: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StdioError {
    let path = path.to_owned();
    move |cause| StdioError::Open {
        stream,
        path,
        cause,
    }
}
