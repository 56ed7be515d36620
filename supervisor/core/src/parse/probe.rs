//! Probes, and what probes and hooks can ask (`validateProbe`, `validateHandler`).

use std::collections::BTreeSet;

use super::field::Field;
use super::names::{Check, port_name};
use super::object::Object;
use super::unhonoured::NONE;
use crate::action::ProbeKind;
use crate::pod::{HttpGet, Port, Probe, ProbeHandler, Scheme, TcpSocket};

/// One probe. `ports` are the names of the container's ports.
pub(super) fn probe(field: &Field<'_>, kind: ProbeKind, ports: &BTreeSet<&str>) -> Option<Probe> {
    field.object(NONE, |o| {
        let mut handlers = Vec::new();
        if let Some(field) = o.get("exec") {
            let handler = exec(&field).map(|command| ProbeHandler::Exec { command });
            handlers.push((field, handler));
        }
        if let Some(field) = o.get("httpGet") {
            let handler = http_get(&field, ports).map(ProbeHandler::HttpGet);
            handlers.push((field, handler));
        }
        if let Some(field) = o.get("tcpSocket") {
            let handler = tcp_socket(&field, ports).map(ProbeHandler::TcpSocket);
            handlers.push((field, handler));
        }
        if let Some(field) = o.get("grpc") {
            let handler = grpc(&field);
            handlers.push((field, handler));
        }
        let handler = only(field, handlers, "exec, httpGet, tcpSocket or grpc");
        let initial_delay_seconds = count(o, "initialDelaySeconds", 0);
        let timeout_seconds = count(o, "timeoutSeconds", 1);
        let period_seconds = count(o, "periodSeconds", 10);
        let failure_threshold = count(o, "failureThreshold", 3);
        let success_threshold = match o.get("successThreshold") {
            Some(field) => {
                let most = i64::from(i32::MAX);
                let given = field.integer(0..=most).unwrap_or_default();
                if given > 1 && kind != ProbeKind::Readiness {
                    field.invalid("must be 1, unless it is a readiness probe's");
                }
                u32::try_from(given.max(1)).unwrap_or(1)
            }
            None => 1,
        };
        let grace = o.get("terminationGracePeriodSeconds").and_then(|field| {
            if kind == ProbeKind::Readiness {
                field.error("must not be set for readiness probes: they end no container");
                return None;
            }
            u64::try_from(field.integer(1..=i64::MAX)?).ok()
        });
        Some(Probe {
            handler: handler?,
            initial_delay_seconds,
            timeout_seconds,
            period_seconds,
            success_threshold,
            failure_threshold,
            termination_grace_period_seconds: grace,
        })
    })?
}

/// A number that is not negative; 0 is as good as none.
fn count(o: &mut Object<'_, '_>, name: &'static str, default: u32) -> u32 {
    let given = o
        .get(name)
        .and_then(|f| f.integer(0..=i64::from(i32::MAX)))
        .and_then(|n| u32::try_from(n).ok());
    given.filter(|&n| n != 0).unwrap_or(default)
}

/// The one handler of several that may be given.
pub(super) fn only<T>(
    parent: &Field<'_>,
    mut handlers: Vec<(Field<'_>, Option<T>)>,
    choices: &str,
) -> Option<T> {
    for (field, _) in handlers.iter().skip(1) {
        field.error_at_key("may not specify more than 1 handler; remove all but one");
    }
    if handlers.is_empty() {
        parent.error(format!("must specify a handler: one of {choices}"));
        return None;
    }
    handlers.swap_remove(0).1
}

/// The command of an `exec`.
pub(super) fn exec(field: &Field<'_>) -> Option<Vec<String>> {
    let command = field.object(NONE, |o| {
        let command = o.strings("command");
        if command.is_empty() {
            o.missing("command", "required: the program and its arguments");
        }
        command
    })?;
    (!command.is_empty()).then_some(command)
}

/// An `httpGet`.
pub(super) fn http_get(field: &Field<'_>, ports: &BTreeSet<&str>) -> Option<HttpGet> {
    field.object(NONE, |o| {
        let scheme = o
            .text("scheme")
            .and_then(|f| f.choice(&[("HTTP", Scheme::Http), ("HTTPS", Scheme::Https)]));
        let host = o
            .text("host")
            .and_then(|f| f.checked(host).map(str::to_owned));
        let path = o
            .text("path")
            .and_then(|f| f.checked(visible).map(str::to_owned));
        let headers = o.list("httpHeaders");
        let headers = headers.iter().filter_map(header).collect();
        let port = o.require("port").and_then(|f| port(&f, ports));
        Some(HttpGet {
            scheme: scheme.unwrap_or_default(),
            host,
            port: port?,
            path: path.unwrap_or_else(|| "/".to_owned()),
            headers,
        })
    })?
}

fn header(field: &Field<'_>) -> Option<(String, String)> {
    field.object(NONE, |o| {
        let name = o
            .require("name")
            .and_then(|f| f.checked(header_name).map(str::to_owned));
        let value = match o.text("value") {
            Some(field) => field.checked(visible)?.to_owned(),
            None => String::new(),
        };
        Some((name?, value))
    })?
}

/// A `tcpSocket`.
pub(super) fn tcp_socket(field: &Field<'_>, ports: &BTreeSet<&str>) -> Option<TcpSocket> {
    field.object(NONE, |o| {
        let host = o
            .text("host")
            .and_then(|f| f.checked(host).map(str::to_owned));
        let port = o.require("port").and_then(|f| port(&f, ports));
        Some(TcpSocket { host, port: port? })
    })?
}

fn grpc(field: &Field<'_>) -> Option<ProbeHandler> {
    field.object(NONE, |o| {
        let port = o.require("port").and_then(|f| f.integer(1..=65535));
        let service = o
            .text("service")
            .and_then(|f| f.checked(visible).map(str::to_owned));
        Some(ProbeHandler::Grpc {
            port: u16::try_from(port?).ok()?,
            service: service.unwrap_or_default(),
        })
    })?
}

/// A number, or the name of one of the container's ports.
fn port(field: &Field<'_>, names: &BTreeSet<&str>) -> Option<Port> {
    let scalar = field.node().scalar();
    if scalar.is_none_or(|s| s.other_type() == Some("a number")) {
        let number = u16::try_from(field.integer(1..=65535)?).ok()?;
        return Some(Port::Number(number));
    }
    let name = field.string()?;
    if name.bytes().all(|b| b.is_ascii_digit()) {
        field.invalid("is a string; write the number without quotes");
        return None;
    }
    let name = field.checked(port_name)?;
    if !names.contains(name) {
        field.invalid(
            "is the name of no port of this container; add it to ports, or give the number",
        );
        return None;
    }
    Some(Port::Name(name.to_owned()))
}

/// What can be part of a request without changing its form.
fn visible(text: &str) -> Check {
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".into());
    }
    Ok(())
}

fn host(text: &str) -> Check {
    if text
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '/')
    {
        return Err("must be a host name or an IP address".into());
    }
    Ok(())
}

/// `IsHTTPHeaderName`.
fn header_name(text: &str) -> Check {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if text.is_empty() || !text.bytes().all(good) {
        return Err("must consist of alphanumeric characters and '-'".into());
    }
    Ok(())
}
