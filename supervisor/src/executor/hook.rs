//! Carries out postStart and preStop hooks, as a kubelet does (`pkg/kubelet/lifecycle/handlers.go`).

use std::time::Duration;

use carob_core::event::Event;
use carob_core::pod::{Container, HookHandler, HttpGet, Port, Scheme, TcpSocket};
use tokio::time::{sleep, timeout};

use super::asked::Stage;
use super::probe::{number, said};
use super::{Executor, Instance};
use crate::probe::exec::Failure;
use crate::probe::{self, HttpError, Request, join_host_port, quoted};

impl Executor {
    /// Does the postStart hook, however long it takes, and answers.
    pub(super) async fn post_start(&self, instance: Instance) {
        let id = self.id(&instance.name, instance.attempt);
        let container = self.container(&instance.name);
        let handler = container.and_then(|c| Some((c, c.lifecycle.post_start.as_ref()?)));
        let failure = tokio::select! {
            biased;
            failure = self.hook(&instance, "post-start-hook", handler) => failure,
            () = self.asked.reached(&id, Stage::Stops) => {
                Some("the container was stopped before its hook was done".to_owned())
            }
        };
        self.tell(Event::PostStartDone {
            container: instance.name,
            attempt: instance.attempt,
            failure,
        });
    }

    /// Does the preStop hook for at most so long and answers.
    pub(super) async fn pre_stop(&self, instance: Instance, within: Duration) {
        let id = self.id(&instance.name, instance.attempt);
        self.asked.advance(&id, Stage::Stops);
        let container = self.container(&instance.name);
        let handler = container.and_then(|c| Some((c, c.lifecycle.pre_stop.as_ref()?)));
        let failure = tokio::select! {
            biased;
            failure = timeout(within, self.hook(&instance, "pre-stop-hook", handler)) => {
                failure.unwrap_or_else(|_| Some("the hook was not done within the grace period".to_owned()))
            }
            () = self.asked.reached(&id, Stage::Signalled) => {
                Some("the container was ended before its hook was done".to_owned())
            }
        };
        self.tell(Event::PreStopDone {
            container: instance.name,
            attempt: instance.attempt,
            failure,
        });
    }

    /// Does a hook; tells why it failed, in a kubelet's words.
    async fn hook(
        &self,
        instance: &Instance,
        name: &'static str,
        handler: Option<(&Container, &HookHandler)>,
    ) -> Option<String> {
        let Some((container, handler)) = handler else {
            return Some("the container has no such hook".to_owned());
        };
        match handler {
            HookHandler::Exec { command } => self.hook_command(instance, name, command).await,
            HookHandler::HttpGet(get) => {
                let failure = self.hook_request(instance, container, get).await.err()?;
                Some(self.hook_failed("HTTP", &get.path, instance, &failure))
            }
            HookHandler::TcpSocket(socket) => Some(no_handler(socket)),
            HookHandler::Sleep { seconds } => {
                sleep(Duration::from_secs(*seconds)).await;
                None
            }
        }
    }

    async fn hook_command(
        &self,
        instance: &Instance,
        name: &'static str,
        words: &[String],
    ) -> Option<String> {
        let words_shown = words.join(" ");
        let (error, output) = match self.command(instance, name, words, None).await {
            Ok(ended) if ended.status == 0 => return None,
            Ok(ended) => {
                let stderr = String::from_utf8_lossy(&ended.stderr);
                let status = ended.status;
                (
                    format!("command '{words_shown}' exited with {status}: {stderr}"),
                    said(&ended),
                )
            }
            Err(Failure::TimedOut) => (
                format!("command {} timed out", quoted(&words_shown)),
                String::new(),
            ),
            Err(Failure::Refused(why)) => (why, String::new()),
        };
        let failed = self.hook_failed("Exec", &format!("[{words_shown}]"), instance, &error);
        Some(format!("{failed}, message: {}", quoted(&output)))
    }

    fn hook_failed(&self, kind: &str, what: &str, instance: &Instance, error: &str) -> String {
        let meta = &self.pod.metadata;
        let pod = format!("{}_{}({})", meta.name, meta.namespace, meta.uid);
        format!(
            "{kind} lifecycle hook ({what}) for Container {} in Pod {} failed - error: {error}",
            quoted(&instance.name),
            quoted(&pod)
        )
    }

    /// Any response will do. What is asked with TLS and answered without is asked without.
    async fn hook_request(
        &self,
        instance: &Instance,
        container: &Container,
        get: &HttpGet,
    ) -> Result<(), String> {
        let port = number(&get.port, container)?;
        let place = self.place()?;
        let request = |get| Request {
            get,
            port,
            purpose: "lifecycle",
        };
        match probe::get(&place, &request(get), None).await {
            Ok(_) | Err(HttpError::Body(_)) => Ok(()),
            Err(HttpError::NoTarget(why) | HttpError::Failed(why)) => Err(why),
            Err(HttpError::PlainHttp(why)) => {
                let mut plain = get.clone();
                plain.scheme = Scheme::Http;
                let secret = |name: &str| name.eq_ignore_ascii_case("authorization");
                plain.headers.retain(|(name, _)| !secret(name));
                match probe::get(&place, &request(&plain), None).await {
                    Ok(_) | Err(HttpError::Body(_)) => {}
                    Err(_) => return Err(why),
                }
                let host = place.host(get.host.as_deref())?;
                self.tell(Event::HookFellBack {
                    container: instance.name.clone(),
                    attempt: instance.attempt,
                    host: join_host_port(&host, port),
                });
                Ok(())
            }
        }
    }
}

/// Kubernetes takes such a hook and cannot do it: its words, with the handler as Go shows it.
fn no_handler(socket: &TcpSocket) -> String {
    let port = match &socket.port {
        Port::Number(number) => format!("{{0 {number} }}"),
        Port::Name(name) => format!("{{1 0 {name}}}"),
    };
    let host = socket.host.as_deref().unwrap_or_default();
    format!(
        "Cannot run handler: invalid handler: &LifecycleHandler{{Exec:nil,HTTPGet:nil,\
         TCPSocket:&TCPSocketAction{{Port:{port},Host:{host},}},Sleep:nil,}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_no_hook() {
        let socket = TcpSocket {
            host: None,
            port: Port::Number(80),
        };
        assert_eq!(
            no_handler(&socket),
            "Cannot run handler: invalid handler: &LifecycleHandler{Exec:nil,HTTPGet:nil,\
             TCPSocket:&TCPSocketAction{Port:{0 80 },Host:,},Sleep:nil,}"
        );
    }
}
