//! Signals to containers: which, by what name, and to whom.

use carob_core::action::Signal;
use carob_core::event::Event;

use super::asked::Stage;
use super::{Executor, Instance};
use crate::failpoint::boundary;
use crate::runtime::{Process, TaskError};

impl Executor {
    pub(super) async fn signal(&self, instance: Instance, signal: Signal) {
        let id = self.id(&instance.name, instance.attempt);
        self.asked.advance(&id, Stage::Signalled);
        let (number, all) = match signal {
            Signal::Kill => (nix::libc::SIGKILL, true),
            Signal::StopSignal => (self.stop_signal(&instance.name), false),
        };
        let sent = match self.tasks() {
            Ok(tasks) => {
                tasks
                    .kill(Process::init(&id), number.unsigned_abs(), all)
                    .await
            }
            Err(error) => Err(error),
        };
        match sent {
            // It has ended already: its exit is on the way.
            Ok(()) | Err(TaskError::NotFound(_)) => boundary(),
            Err(error) => self.tell(Event::SignalFailed {
                container: instance.name,
                attempt: instance.attempt,
                message: error.to_string(),
            }),
        }
    }

    /// The signal that asks a container to end: the manifest's, the image's, or SIGTERM.
    fn stop_signal(&self, container: &str) -> i32 {
        let lifecycle = self.container(container).map(|c| &c.lifecycle);
        if let Some(signal) = lifecycle.and_then(|lifecycle| lifecycle.stop_signal) {
            return signal.number();
        }
        let live = self.live.borrow();
        let named = live
            .images
            .get(container)
            .and_then(|image| image.config.stop_signal.as_deref());
        named.and_then(signal_number).unwrap_or(nix::libc::SIGTERM)
    }
}

/// `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`: the forms that an image may have (OCI image specification,
/// `StopSignal`).
fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=nix::libc::SIGRTMAX())
            .contains(&number)
            .then_some(number);
    }
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let number = nix::libc::SIGRTMIN()
            + if offset.is_empty() {
                0
            } else {
                offset.parse::<i32>().ok()?
            };
        return (nix::libc::SIGRTMIN()..=nix::libc::SIGRTMAX())
            .contains(&number)
            .then_some(number);
    }
    format!("SIG{name}")
        .parse::<nix::sys::signal::Signal>()
        .ok()
        .map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn stop_signals_have_several_forms() {
        for (name, number) in [
            ("SIGQUIT", 3),
            ("QUIT", 3),
            ("sigterm", 15),
            ("9", 9),
            ("SIGRTMIN+3", 37),
            ("RTMIN", 34),
        ] {
            assert_eq!(signal_number(name), Some(number), "{name}");
        }
        for bad in ["", "SIG", "SIGNOPE", "0", "-1", "65", "RTMIN+99"] {
            assert_eq!(signal_number(bad), None, "{bad}");
        }
    }
}
