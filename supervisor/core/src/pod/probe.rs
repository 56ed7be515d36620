//! Probes and hooks: what a container can be asked, and when.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Container;

/// `startupProbe`, `livenessProbe` or `readinessProbe`. Every default is applied
/// (`SetDefaults_Probe`, `pkg/apis/core/v1/defaults.go`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is asked.
    pub handler: ProbeHandler,
    /// Seconds from the container's start to the first probe; 0 by default.
    pub initial_delay_seconds: u32,
    /// Seconds after which one probe has failed; at least 1, 1 by default.
    pub timeout_seconds: u32,
    /// Seconds from one probe to the next; at least 1, 10 by default.
    pub period_seconds: u32,
    /// So many successes in a row make it good; at least 1, and 1 by default and unless it is a readiness probe.
    pub success_threshold: u32,
    /// So many failures in a row make it bad; at least 1, 3 by default.
    pub failure_threshold: u32,
    /// Seconds between the stop signal and SIGKILL when the probe ends the container, instead of the Pod's;
    /// at least 1. Readiness probes have none.
    pub termination_grace_period_seconds: Option<u64>,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeHandler {
    /// A command in the container, without a shell. Exit code 0 is success.
    Exec {
        /// At least one word. `$(VAR)` not yet expanded, see [`env::expand_probe`](crate::env::expand_probe).
        command: Vec<String>,
    },
    /// An HTTP request. 200–399 is success.
    HttpGet(HttpGet),
    /// A TCP connection that can be opened.
    TcpSocket(TcpSocket),
    /// The gRPC health service (`grpc.health.v1.Health/Check`), in plain text. SERVING is success.
    Grpc {
        /// 1–65535.
        port: u16,
        /// Which service; empty for the server as a whole.
        service: String,
    },
}

/// `httpGet` of a probe or hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGet {
    /// HTTP by default.
    pub scheme: Scheme,
    /// Where to connect; the Pod's address when absent.
    pub host: Option<String>,
    /// The port.
    pub port: Port,
    /// Path and query as written, `/` by default; without control characters, perhaps without a leading `/`.
    pub path: String,
    /// Headers as written, in order; names may be there more than once. Without control characters.
    pub headers: Vec<(String, String)>,
}

/// `scheme` of an `httpGet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Scheme {
    /// In plain text.
    #[default]
    Http,
    /// With TLS; certificates are not verified.
    Https,
}

/// `tcpSocket` of a probe or hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpSocket {
    /// Where to connect; the Pod's address when absent.
    pub host: Option<String>,
    /// The port.
    pub port: Port,
}

/// A port by number or by its name among the container's `ports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Port {
    /// 1–65535.
    Number(u16),
    /// One of the container has this name.
    Name(String),
}

impl Port {
    /// Its number in this container. Always there for a port that was parsed.
    pub fn number(&self, container: &Container) -> Option<u16> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => {
                let mut ports = container.ports.iter();
                let port = ports.find(|p| p.name.as_ref() == Some(name))?;
                Some(port.container_port)
            }
        }
    }
}

/// `lifecycle`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Done right after the container was started; the next container waits for it.
    pub post_start: Option<HookHandler>,
    /// Done before the stop signal is sent.
    pub pre_stop: Option<HookHandler>,
    /// The stop signal, instead of the image's.
    pub stop_signal: Option<StopSignal>,
}

/// What a hook does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookHandler {
    /// A command in the container, without a shell. Nothing in it is expanded.
    Exec {
        /// At least one word.
        command: Vec<String>,
    },
    /// An HTTP request; any response will do.
    HttpGet(HttpGet),
    /// Kubernetes takes it and then fails the hook (`invalid handler`): there is no such hook.
    TcpSocket(TcpSocket),
    /// Waiting.
    Sleep {
        /// At most the Pod's grace period.
        seconds: u64,
    },
}

/// `lifecycle.stopSignal`: one of the names that Kubernetes has for Linux.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StopSignal {
    /// Its place in [`SIGNALS`].
    index: usize,
}

impl StopSignal {
    /// The signal of this name, such as `SIGUSR1` or `SIGRTMIN+3`.
    pub fn named(name: &str) -> Option<Self> {
        let index = SIGNALS.iter().position(|(known, _)| *known == name)?;
        Some(Self { index })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        SIGNALS[self.index].0
    }

    /// Its number on Linux, on x86-64 and ARM.
    pub fn number(self) -> i32 {
        SIGNALS[self.index].1
    }
}

impl fmt::Debug for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<StopSignal> for String {
    fn from(signal: StopSignal) -> Self {
        signal.name().to_owned()
    }
}

impl TryFrom<String> for StopSignal {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::named(&name).ok_or_else(|| format!("{name:?} is no signal"))
    }
}

/// The names that the API has (`core.Signal`, `pkg/apis/core/types.go`).
const SIGNALS: &[(&str, i32)] = &[
    ("SIGABRT", 6),
    ("SIGALRM", 14),
    ("SIGBUS", 7),
    ("SIGCHLD", 17),
    ("SIGCLD", 17),
    ("SIGCONT", 18),
    ("SIGFPE", 8),
    ("SIGHUP", 1),
    ("SIGILL", 4),
    ("SIGINT", 2),
    ("SIGIO", 29),
    ("SIGIOT", 6),
    ("SIGKILL", 9),
    ("SIGPIPE", 13),
    ("SIGPOLL", 29),
    ("SIGPROF", 27),
    ("SIGPWR", 30),
    ("SIGQUIT", 3),
    ("SIGSEGV", 11),
    ("SIGSTKFLT", 16),
    ("SIGSTOP", 19),
    ("SIGSYS", 31),
    ("SIGTERM", 15),
    ("SIGTRAP", 5),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
    ("SIGVTALRM", 26),
    ("SIGWINCH", 28),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGRTMIN", 34),
    ("SIGRTMIN+1", 35),
    ("SIGRTMIN+2", 36),
    ("SIGRTMIN+3", 37),
    ("SIGRTMIN+4", 38),
    ("SIGRTMIN+5", 39),
    ("SIGRTMIN+6", 40),
    ("SIGRTMIN+7", 41),
    ("SIGRTMIN+8", 42),
    ("SIGRTMIN+9", 43),
    ("SIGRTMIN+10", 44),
    ("SIGRTMIN+11", 45),
    ("SIGRTMIN+12", 46),
    ("SIGRTMIN+13", 47),
    ("SIGRTMIN+14", 48),
    ("SIGRTMIN+15", 49),
    ("SIGRTMAX-14", 50),
    ("SIGRTMAX-13", 51),
    ("SIGRTMAX-12", 52),
    ("SIGRTMAX-11", 53),
    ("SIGRTMAX-10", 54),
    ("SIGRTMAX-9", 55),
    ("SIGRTMAX-8", 56),
    ("SIGRTMAX-7", 57),
    ("SIGRTMAX-6", 58),
    ("SIGRTMAX-5", 59),
    ("SIGRTMAX-4", 60),
    ("SIGRTMAX-3", 61),
    ("SIGRTMAX-2", 62),
    ("SIGRTMAX-1", 63),
    ("SIGRTMAX", 64),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_one_name_and_number() {
        for (name, number) in SIGNALS {
            let signal = StopSignal::named(name).unwrap();
            assert_eq!((signal.name(), signal.number()), (*name, *number));
        }
        assert_eq!(SIGNALS.len(), 65);
        for bad in ["", "TERM", "sigterm", "15", "SIGRTMIN+16"] {
            assert_eq!(StopSignal::named(bad), None, "{bad}");
        }
    }
}
