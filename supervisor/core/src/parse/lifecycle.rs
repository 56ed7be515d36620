//! Hooks and the stop signal (`validateLifecycle`).

use std::collections::BTreeSet;

use super::field::Field;
use super::probe::{exec, http_get, only, tcp_socket};
use super::unhonoured::NONE;
use crate::pod::{HookHandler, Lifecycle, StopSignal};

/// What hooks are checked against.
pub(super) struct Limits<'a> {
    /// The names of the container's ports.
    pub ports: &'a BTreeSet<&'a str>,
    /// The Pod's grace period in seconds.
    pub grace: u64,
    /// Whether the Pod names its operating system.
    pub os: bool,
}

/// `lifecycle`.
pub(super) fn lifecycle(field: &Field<'_>, limits: &Limits<'_>) -> Lifecycle {
    let lifecycle = field.object(NONE, |o| Lifecycle {
        post_start: o.get("postStart").and_then(|f| hook(&f, limits)),
        pre_stop: o.get("preStop").and_then(|f| hook(&f, limits)),
        stop_signal: o.text("stopSignal").and_then(|f| stop_signal(&f, limits)),
    });
    lifecycle.unwrap_or_default()
}

fn hook(field: &Field<'_>, limits: &Limits<'_>) -> Option<HookHandler> {
    field.object(NONE, |o| {
        let mut handlers = Vec::new();
        if let Some(field) = o.get("exec") {
            let handler = exec(&field).map(|command| HookHandler::Exec { command });
            handlers.push((field, handler));
        }
        if let Some(field) = o.get("httpGet") {
            let handler = http_get(&field, limits.ports).map(HookHandler::HttpGet);
            handlers.push((field, handler));
        }
        if let Some(field) = o.get("tcpSocket") {
            let handler = tcp_socket(&field, limits.ports).map(HookHandler::TcpSocket);
            field.warn("Kubernetes has no such hook: it always fails; use exec or httpGet");
            handlers.push((field, handler));
        }
        if let Some(field) = o.get("sleep") {
            let handler = sleep(&field, limits.grace);
            handlers.push((field, handler));
        }
        only(field, handlers, "exec, httpGet or sleep")
    })?
}

fn sleep(field: &Field<'_>, grace: u64) -> Option<HookHandler> {
    field.object(NONE, |o| {
        let field = o.require("seconds")?;
        let seconds = u64::try_from(field.integer(0..=i64::MAX)?).ok()?;
        if seconds > grace {
            field.invalid(&format!(
                "must be no more than the Pod's terminationGracePeriodSeconds ({grace})"
            ));
            return None;
        }
        Some(HookHandler::Sleep { seconds })
    })?
}

fn stop_signal(field: &Field<'_>, limits: &Limits<'_>) -> Option<StopSignal> {
    let signal = StopSignal::named(field.string()?);
    if signal.is_none() {
        field.invalid("is no signal; write it as SIGTERM or SIGRTMIN+3");
    } else if !limits.os {
        field.error("needs to know the operating system; add spec.os.name: linux");
    }
    signal
}
