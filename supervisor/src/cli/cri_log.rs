//! `carob cri-log`: the logging program of shims that write no Kubernetes logs themselves.
//!
//! Such a shim starts it with the URI `binary://CAROB?cri-log=PATH` as containerd documents it (`docs/logging.md` of
//! its runtime-v2): descriptors 3 and 4 are the container's output and error, and 5 is closed to say that it is ready.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, FromRawFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use carob_log::{CriLog, Limits, Stream};
use clap::Args;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::fstat;

/// How much is read at a time. Bytes.
const CHUNK: usize = 16384;
/// What the shim gives.
const STDOUT: RawFd = 3;
const STDERR: RawFd = 4;
const READY: RawFd = 5;

/// What `carob cri-log` is told.
#[derive(Debug, Args)]
pub struct CriLogArgs {
    /// The log file
    path: PathBuf,
}

/// Writes until both streams have ended.
///
/// # Errors
/// When not started as a logging program, or the file can't be opened.
pub fn run(args: &CriLogArgs) -> anyhow::Result<ExitCode> {
    let [stdout, stderr, ready] = [STDOUT, STDERR, READY].map(inherited);
    let missing =
        "this is started by a containerd shim, with the container's output as descriptors 3 and 4";
    let (stdout, stderr, ready) = (
        stdout.context(missing)?,
        stderr.context(missing)?,
        ready.context(missing)?,
    );
    // The shim asks it to end as soon as the container has; what the container wrote is still to be read then.
    // SAFETY: the disposition is changed to ignoring, which has no handler to be unsafe.
    unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }.context("cannot ignore SIGTERM")?;
    let path = &args.path;
    let mut log = CriLog::open(path, Limits::default())
        .with_context(|| format!("cannot open the log {path:?}"))?;
    drop(ready);
    let mut streams = [
        (Stream::Stdout, Some(stdout)),
        (Stream::Stderr, Some(stderr)),
    ];
    while streams.iter().any(|(_, file)| file.is_some()) {
        wait(&streams).context("cannot wait for output")?;
        for (stream, open) in &mut streams {
            pass_on(*stream, open, &mut log);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A descriptor that this program was started with, as a file that is read without waiting.
fn inherited(fd: RawFd) -> Option<File> {
    fstat(
        // SAFETY: only looked at; a number that is no descriptor is answered with EBADF.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) },
    )
    .ok()?;
    // SAFETY: it is open, and nothing else in this program knows of it: it is taken once, at the start.
    let file = unsafe { File::from_raw_fd(fd) };
    let flags = fcntl(&file, FcntlArg::F_GETFL).ok()?;
    let flags = nix::fcntl::OFlag::from_bits_truncate(flags) | nix::fcntl::OFlag::O_NONBLOCK;
    fcntl(&file, FcntlArg::F_SETFL(flags)).ok()?;
    Some(file)
}

/// Returns when there is something to read, or an end.
fn wait(streams: &[(Stream, Option<File>)]) -> nix::Result<()> {
    let open = streams.iter().filter_map(|(_, file)| file.as_ref());
    let mut fds: Vec<_> = open
        .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLIN))
        .collect();
    match poll(&mut fds, PollTimeout::NONE) {
        Err(nix::errno::Errno::EINTR) => Ok(()),
        waited => waited.map(drop),
    }
}

/// Takes what is there of one stream; closes it at its end.
fn pass_on(stream: Stream, open: &mut Option<File>, log: &mut CriLog) {
    let Some(file) = open else {
        return;
    };
    let mut chunk = [0; CHUNK];
    match file.read(&mut chunk) {
        Ok(count) if count > 0 => log.write(stream, &chunk[..count]),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
        Ok(_) | Err(_) => {
            log.end(stream);
            *open = None;
        }
    }
}
