//! The life of one process (a container's init, or an exec) as a pure state machine.
//!
//! ```text
//!            made          start            started          pause           paused
//!  Creating ──────► Created ─────► Starting ───────► Running ───────► Pausing ──────► Paused
//!                     │  ▲            │ │               │  ▲             │  │            │
//!                     │  └────────────┘ │ exited        │  └─────────────┘  │            │
//!                     │   start failed, ▼               │   pause failed    │            │
//!                     │   not made   StartingExited     │   and resumed ◄───┼────────────┘
//!                     │ exited          │ started,      │ exited            │ exited
//!                     │                 │ start failed  ▼                   │
//!                     └─────────────────┴───────────► Stopped ◄─────────────┘
//! ```
//!
//! An exit before the answer to Start (`StartingExited`) waits for that answer, so that the event of
//! the start always precedes the event of the exit.

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A worker makes the container.
    Creating,
    /// The container's init waits for Start; of an exec, only the request exists.
    Created,
    /// Start is under way.
    Starting,
    /// Start is under way, and the process has exited already.
    StartingExited,
    /// The program runs.
    Running,
    /// The container is being frozen.
    Pausing,
    /// The container is frozen.
    Paused,
    /// The process has exited and was reaped.
    Stopped,
}

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The worker has made the container.
    Made,
    /// Somebody asks to start it.
    Start,
    /// The program was executed.
    Started,
    /// The program could not be executed, and no process was made, so Start may be tried again.
    NotMade,
    /// The program could not be executed, and the process that tried will exit.
    StartFailed,
    /// Somebody asks to freeze it.
    Pause,
    /// It is frozen.
    Frozen,
    /// It could not be frozen.
    PauseFailed,
    /// It was thawed.
    Resumed,
    /// It has exited.
    Exited,
}

/// The event makes no sense in this phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a process that is {phase} can't be {}", event.asks())]
pub struct Refused {
    /// The phase.
    pub phase: Phase,
    /// The event.
    pub event: Event,
}

impl Phase {
    /// The phase after `event`.
    ///
    /// # Errors
    /// [`Refused`] when the event makes no sense now; the phase stays.
    pub fn on(self, event: Event) -> Result<Self, Refused> {
        Ok(match (self, event) {
            (Self::Creating, Event::Made) => Self::Created,
            (Self::Created, Event::Start) => Self::Starting,
            (Self::Starting, Event::Started) => Self::Running,
            (Self::Starting, Event::NotMade) => Self::Created,
            // Its exit is on the way.
            (Self::Starting, Event::StartFailed) => Self::Running,
            (Self::Starting, Event::Exited) => Self::StartingExited,
            (Self::StartingExited, Event::Started | Event::StartFailed) => Self::Stopped,
            (Self::Running, Event::Pause) => Self::Pausing,
            (Self::Pausing, Event::Frozen) => Self::Paused,
            (Self::Pausing, Event::PauseFailed) | (Self::Paused, Event::Resumed) => Self::Running,
            (Self::Created | Self::Running | Self::Pausing | Self::Paused, Event::Exited) => {
                Self::Stopped
            }
            // A freeze that was under way when the process exited.
            (Self::Stopped, Event::Frozen | Event::PauseFailed) => Self::Stopped,
            (phase, event) => return Err(Refused { phase, event }),
        })
    }

    /// Whether there is, or will be, a process to signal.
    pub fn is_alive(self) -> bool {
        !matches!(self, Self::Creating | Self::StartingExited | Self::Stopped)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Creating => "being created",
            Self::Created => "created",
            Self::Starting | Self::StartingExited => "being started",
            Self::Running => "running",
            Self::Pausing => "being paused",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

impl Event {
    fn asks(self) -> &'static str {
        match self {
            Self::Made => "created",
            Self::Start | Self::Started | Self::NotMade | Self::StartFailed => "started",
            Self::Pause | Self::Frozen | Self::PauseFailed => "paused",
            Self::Resumed => "resumed",
            Self::Exited => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 8] = [
        Phase::Creating,
        Phase::Created,
        Phase::Starting,
        Phase::StartingExited,
        Phase::Running,
        Phase::Pausing,
        Phase::Paused,
        Phase::Stopped,
    ];
    const EVENTS: [Event; 10] = [
        Event::Made,
        Event::Start,
        Event::Started,
        Event::NotMade,
        Event::StartFailed,
        Event::Pause,
        Event::Frozen,
        Event::PauseFailed,
        Event::Resumed,
        Event::Exited,
    ];

    /// One row a phase, one column an event, in the orders above. `.` is refused; else the number
    /// of the next phase.
    const TABLE: [&str; 8] = [
        "1.........", // Creating
        ".2.......7", // Created
        "..414....3", // Starting
        "..7.7.....", // StartingExited
        ".....5...7", // Running
        "......64.7", // Pausing
        "........47", // Paused
        "......77..", // Stopped
    ];

    #[test]
    fn every_event_in_every_phase() {
        for (row, phase) in TABLE.iter().zip(PHASES) {
            for (cell, event) in row.bytes().zip(EVENTS) {
                let wanted = match cell {
                    b'.' => Err(Refused { phase, event }),
                    digit => Ok(PHASES[usize::from(digit - b'0')]),
                };
                assert_eq!(phase.on(event), wanted, "{phase:?} on {event:?}");
            }
        }
    }

    #[test]
    fn b48_start_twice_reads_well() {
        let refused = Phase::Running
            .on(Event::Start)
            .expect_err("started already");
        assert_eq!(
            refused.to_string(),
            "a process that is running can't be started"
        );
    }

    #[test]
    fn f6_an_exit_before_start_returns_waits_for_it() {
        let phase = Phase::Starting
            .on(Event::Exited)
            .expect("it may exit at once");
        assert_ne!(phase, Phase::Stopped);
        assert_eq!(phase.on(Event::Started), Ok(Phase::Stopped));
    }
}
