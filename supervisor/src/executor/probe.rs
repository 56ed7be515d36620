//! Carries out one probe, as a kubelet's prober does (`pkg/kubelet/prober/prober.go`).

use std::time::Duration;

use carob_core::action::ProbeKind;
use carob_core::env::expand_probe;
use carob_core::event::{Event, ProbeResult};
use carob_core::pod::{Container, HttpGet, Port, Probe, ProbeHandler};
use tokio::time::Instant;

use super::asked::Stage;
use super::{Executor, Instance};
use crate::probe::exec::{Ended, Failure};
use crate::probe::{self, HttpError, OUTPUT_MAX, Outcome, Request, Response, quoted};

/// How often a probe that could not be asked is asked again at once (`maxProbeRetries`).
const TRIES: usize = 3;

impl Executor {
    /// Probes once and answers.
    pub(super) async fn probe(&self, instance: Instance, kind: ProbeKind) {
        let id = self.id(&instance.name, instance.attempt);
        let Outcome { result, output } = tokio::select! {
            biased;
            outcome = self.try_probe(&instance, kind) => outcome,
            () = self.asked.reached(&id, Stage::Ended) => unknown("the container has ended".to_owned()),
        };
        self.tell(Event::Probed {
            container: instance.name,
            attempt: instance.attempt,
            kind,
            result,
            output,
        });
    }

    async fn try_probe(&self, instance: &Instance, kind: ProbeKind) -> Outcome {
        let container = self.container(&instance.name);
        let found = container.and_then(|c| Some((c, c.probe(kind)?)));
        let Some((container, probe)) = found else {
            return unknown("the container has no such probe".to_owned());
        };
        let deadline = Instant::now() + limit(probe);
        let mut why = String::new();
        for _ in 0..TRIES {
            match self.ask(instance, kind, container, probe, deadline).await {
                Ok(outcome) => return outcome,
                Err(error) => why = error,
            }
        }
        unknown(why)
    }

    /// Asks once. An error is one to ask again for.
    async fn ask(
        &self,
        instance: &Instance,
        kind: ProbeKind,
        container: &Container,
        probe: &Probe,
        deadline: Instant,
    ) -> Result<Outcome, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        match &probe.handler {
            ProbeHandler::Exec { command } => {
                let words = expand_probe(container, command).map_err(|error| error.to_string())?;
                let ended = self.command(instance, name(kind), &words, Some(left)).await;
                judge_command(&words, ended)
            }
            ProbeHandler::HttpGet(get) => {
                let port = number(&get.port, container)?;
                self.http(get, port, deadline).await
            }
            ProbeHandler::TcpSocket(socket) => {
                let port = number(&socket.port, container)?;
                let host = socket.host.as_deref();
                probe::connect(&self.place()?, host, port, left).await
            }
            ProbeHandler::Grpc { port, service } => {
                probe::health(&self.place()?, *port, service, limit(probe)).await
            }
        }
    }

    async fn http(&self, get: &HttpGet, port: u16, deadline: Instant) -> Result<Outcome, String> {
        let request = Request {
            get,
            port,
            purpose: "probe",
        };
        judge_response(probe::get(&self.place()?, &request, Some(deadline)).await)
    }
}

fn limit(probe: &Probe) -> Duration {
    Duration::from_secs(probe.timeout_seconds.into())
}

/// The number of a handler's port.
pub(super) fn number(port: &Port, container: &Container) -> Result<u16, String> {
    let number = port.number(container);
    number.ok_or_else(|| match port {
        Port::Name(name) => format!("couldn't find port: {name} in {}", container.name),
        Port::Number(number) => format!("invalid port number: {number}"),
    })
}

/// The name of a probe's command.
fn name(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "startup-probe",
        ProbeKind::Liveness => "liveness-probe",
        ProbeKind::Readiness => "readiness-probe",
    }
}

fn unknown(output: String) -> Outcome {
    Outcome {
        result: ProbeResult::Unknown,
        output,
    }
}

/// `pkg/probe/exec/exec.go`.
fn judge_command(words: &[String], ended: Result<Ended, Failure>) -> Result<Outcome, String> {
    let (result, output) = match ended {
        Ok(ended) if ended.status == 0 => (ProbeResult::Success, said(&ended)),
        Ok(ended) => (ProbeResult::Failure, said(&ended)),
        Err(Failure::TimedOut) => (
            ProbeResult::Failure,
            format!("command {} timed out", quoted(&words.join(" "))),
        ),
        Err(Failure::Refused(why)) => return Err(why),
    };
    Ok(Outcome { result, output })
}

/// What a command wrote: standard output, then standard error.
pub(super) fn said(ended: &Ended) -> String {
    let mut bytes = [&ended.stdout[..], &ended.stderr[..]].concat();
    bytes.truncate(OUTPUT_MAX);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `DoHTTPProbe`, `pkg/probe/http/http.go`.
fn judge_response(answer: Result<Response, HttpError>) -> Result<Outcome, String> {
    let (result, output) = match answer {
        Ok(Response { status, body }) => {
            let body = String::from_utf8_lossy(&body);
            match status {
                200..300 => (ProbeResult::Success, body.into_owned()),
                300..400 => (
                    ProbeResult::Warning,
                    format!("Probe terminated redirects, Response body: {body}"),
                ),
                _ => (
                    ProbeResult::Failure,
                    format!("HTTP probe failed with statuscode: {status}"),
                ),
            }
        }
        Err(HttpError::Failed(why) | HttpError::PlainHttp(why)) => (ProbeResult::Failure, why),
        Err(HttpError::NoTarget(why) | HttpError::Body(why)) => return Err(why),
    };
    Ok(Outcome { result, output })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: u32) -> Ended {
        Ended {
            status,
            stdout: b"out\n".to_vec(),
            stderr: b"err\n".to_vec(),
        }
    }

    #[test]
    fn commands_are_judged_by_their_exit_code() {
        let words = ["cat".to_owned(), "/tmp/\"x\"".to_owned()];
        let judge = |ended| judge_command(&words, ended);
        let outcome = |result, output: &str| {
            let output = output.to_owned();
            Ok(Outcome { result, output })
        };
        assert_eq!(
            judge(Ok(ended(0))),
            outcome(ProbeResult::Success, "out\nerr\n")
        );
        assert_eq!(
            judge(Ok(ended(1))),
            outcome(ProbeResult::Failure, "out\nerr\n")
        );
        assert_eq!(
            judge(Err(Failure::TimedOut)),
            outcome(
                ProbeResult::Failure,
                r#"command "cat /tmp/\"x\"" timed out"#
            )
        );
        assert_eq!(
            judge(Err(Failure::Refused("no".to_owned()))),
            Err("no".to_owned())
        );
    }

    #[test]
    fn responses_are_judged_by_their_status() {
        let judge = |status| {
            let body = b"body".to_vec();
            judge_response(Ok(Response { status, body })).unwrap()
        };
        for (status, result, output) in [
            (200, ProbeResult::Success, "body"),
            (299, ProbeResult::Success, "body"),
            (
                302,
                ProbeResult::Warning,
                "Probe terminated redirects, Response body: body",
            ),
            (
                304,
                ProbeResult::Warning,
                "Probe terminated redirects, Response body: body",
            ),
            (
                400,
                ProbeResult::Failure,
                "HTTP probe failed with statuscode: 400",
            ),
            (
                503,
                ProbeResult::Failure,
                "HTTP probe failed with statuscode: 503",
            ),
        ] {
            let output = output.to_owned();
            assert_eq!(judge(status), Outcome { result, output });
        }
    }
}
