//! A program that runs while a test looks at what it says.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{PATIENCE, Pod};

/// So many lines of a stream are looked at: looking takes longer than writing them.
const LOOKED_AT: usize = 200;

/// Called at each line that a program writes.
pub(crate) type OnLine = Arc<dyn Fn() + Send + Sync>;

/// A running program. Dropped, it is killed.
pub struct Program {
    child: Child,
    said: Arc<Said>,
    ended: bool,
}

/// What a program has written so far.
#[derive(Default)]
struct Said {
    streams: Mutex<Streams>,
    more: Condvar,
}

#[derive(Default)]
struct Streams {
    out: Stream,
    err: Stream,
}

#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    closed: bool,
}

/// A program that has ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; 128 plus the signal's number when it was killed.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Program {
    /// Starts it; `input` is its standard input.
    pub fn start(command: &mut Command, input: &[u8]) -> Self {
        Self::start_watched(command, input, Arc::new(|| {}))
    }

    pub(crate) fn start_watched(command: &mut Command, input: &[u8], on_line: OnLine) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let said = Arc::new(Said::default());
        let (out, err) = (child.stdout.take(), child.stderr.take());
        said.hear(out.expect("it is piped"), |s| &mut s.out, on_line.clone());
        said.hear(err.expect("it is piped"), |s| &mut s.err, on_line);
        let mut stdin = child.stdin.take().expect("it is piped");
        let input = input.to_owned();
        // A program that ends before it has read all is no fault of the test's.
        thread::spawn(move || stdin.write_all(&input));
        Self {
            child,
            said,
            ended: false,
        }
    }

    /// Its process ID.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("the kernel's PIDs are small")
    }

    /// Waits for a line, on either stream, that contains `text`, and returns it.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |s| {
            let both = [&s.out.bytes, &s.err.bytes];
            both.into_iter()
                .find_map(|bytes| lines(bytes).into_iter().find(|l| l.contains(text)))
        })
    }

    /// Waits for a Pod on standard output of which `is` is true, and returns it.
    pub fn wait_pod(&self, what: &str, is: impl Fn(&Pod) -> bool) -> Pod {
        let mut seen = 0;
        self.wait_until(what, |s| {
            let lines = lines(&s.out.bytes);
            let found = lines[seen..].iter().map(|l| Pod::parse(l)).find(|p| is(p));
            seen = lines.len();
            found
        })
    }

    /// Like [`wait_pod`](Self::wait_pod), but `None` when the program ends before.
    pub fn wait_pod_or_end(&self, what: &str, is: impl Fn(&Pod) -> bool) -> Option<Pod> {
        let mut seen = 0;
        self.wait_until(what, |s| {
            let over = s.out.closed && s.err.closed;
            // A line may have been half-written when it was killed.
            let whole = s
                .out
                .bytes
                .iter()
                .rposition(|&b| b == b'\n')
                .map_or(0, |at| at + 1);
            let lines = lines(&s.out.bytes[..whole]);
            let found = lines[seen..].iter().map(|l| Pod::parse(l)).find(|p| is(p));
            seen = lines.len();
            (found.is_some() || over).then_some(found)
        })
    }

    /// Waits until the program has closed both its streams: it is ending.
    fn wait_closed(&self) {
        self.wait_until("to end", |s| (s.out.closed && s.err.closed).then_some(()));
    }

    fn wait_until<T>(&self, what: &str, mut look: impl FnMut(&Streams) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut streams = self.said.lock();
        loop {
            if let Some(found) = look(&streams) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let over = streams.out.closed && streams.err.closed;
            assert!(
                !over && !left.is_zero(),
                "waited in vain for {what:?}; the program said:\n{}",
                transcript(&streams.out.bytes, &streams.err.bytes)
            );
            let waited = self.said.more.wait_timeout(streams, left);
            streams = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends it a signal; it may have ended by itself.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("it has not been waited for");
    }

    /// Sends it a signal and waits until it has ended.
    pub fn stop(self, signal: Signal) -> Finished {
        self.signal(signal);
        self.finish()
    }

    /// Waits until it has ended.
    pub fn finish(mut self) -> Finished {
        self.wait_closed();
        let status = self.child.wait().expect("it is our child");
        self.ended = true;
        let mut streams = self.said.lock();
        Finished {
            code: status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal))
                .expect("it has ended"),
            stdout: std::mem::take(&mut streams.out.bytes),
            stderr: std::mem::take(&mut streams.err.bytes),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, Streams> {
        // A test that fails while it looks leaves what was said as it is.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a stream to its end in the background.
    fn hear(
        self: &Arc<Self>,
        from: impl Read + Send + 'static,
        stream: fn(&mut Streams) -> &mut Stream,
        on_line: OnLine,
    ) {
        let said = self.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            for number in 0.. {
                let mut line = Vec::new();
                let ended = !matches!(from.read_until(b'\n', &mut line), Ok(1..));
                if !ended && number < LOOKED_AT {
                    on_line();
                }
                let mut streams = said.lock();
                let stream = stream(&mut streams);
                stream.bytes.extend(line);
                stream.closed = ended;
                said.more.notify_all();
                if ended {
                    return;
                }
            }
        });
    }
}

impl Finished {
    /// Its standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Its standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// What one container wrote to standard output, without its name before each line.
    pub fn lines_of(&self, container: &str) -> Vec<String> {
        let lines = lines(&self.stdout).into_iter();
        lines
            .filter_map(|line| {
                let (name, text) = line.split_once(" | ")?;
                (name.trim_end() == container).then(|| text.to_owned())
            })
            .collect()
    }

    /// The Pod as it was in the end.
    pub fn last_pod(&self) -> Pod {
        self.pods()
            .pop()
            .unwrap_or_else(|| panic!("no Pod: {self:?}"))
    }

    /// The Pods on its standard output.
    pub fn pods(&self) -> Vec<Pod> {
        lines(&self.stdout).iter().map(|l| Pod::parse(l)).collect()
    }

    /// Panics unless this was the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n{self:?}");
        self
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit code {}\n{}",
            self.code,
            transcript(&self.stdout, &self.stderr)
        )
    }
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn transcript(out: &[u8], err: &[u8]) -> String {
    let [out, err] = [out, err].map(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        // As much as a person reads.
        match text.char_indices().nth_back(10_000) {
            Some((at, _)) => format!("[…]{}", &text[at..]),
            None => text.into_owned(),
        }
    });
    format!("---- stdout\n{out}\n---- stderr\n{err}")
}
