//! Probes, hooks and restart rules as Kubernetes' API shows them.

use serde_json::{Value, json};

use super::{fields, list};
use crate::pod::{
    HookHandler, HttpGet, Lifecycle, Port, Probe, ProbeHandler, RestartRule, TcpSocket,
};

pub(super) fn probe(probe: &Option<Probe>) -> Value {
    let Some(probe) = probe else {
        return Value::Null;
    };
    let mut value = fields([
        ("failureThreshold", json!(probe.failure_threshold)),
        ("periodSeconds", json!(probe.period_seconds)),
        ("successThreshold", json!(probe.success_threshold)),
        ("timeoutSeconds", json!(probe.timeout_seconds)),
        (
            "terminationGracePeriodSeconds",
            json!(probe.termination_grace_period_seconds),
        ),
    ]);
    if probe.initial_delay_seconds > 0 {
        value["initialDelaySeconds"] = json!(probe.initial_delay_seconds);
    }
    let (name, handler) = match &probe.handler {
        ProbeHandler::Exec { command } => ("exec", json!({ "command": command })),
        ProbeHandler::HttpGet(get) => ("httpGet", http_get(get)),
        ProbeHandler::TcpSocket(socket) => ("tcpSocket", tcp_socket(socket)),
        ProbeHandler::Grpc { port, service } => {
            ("grpc", json!({ "port": port, "service": service }))
        }
    };
    value[name] = handler;
    value
}

fn http_get(get: &HttpGet) -> Value {
    fields([
        ("host", json!(get.host)),
        (
            "httpHeaders",
            list(
                &get.headers,
                |(name, value)| json!({ "name": name, "value": value }),
            ),
        ),
        ("path", json!(get.path)),
        ("port", port(&get.port)),
        ("scheme", json!(get.scheme)),
    ])
}

fn tcp_socket(socket: &TcpSocket) -> Value {
    fields([("host", json!(socket.host)), ("port", port(&socket.port))])
}

fn port(port: &Port) -> Value {
    match port {
        Port::Number(number) => json!(number),
        Port::Name(name) => json!(name),
    }
}

pub(super) fn lifecycle(lifecycle: &Lifecycle) -> Value {
    fields([
        ("postStart", hook(&lifecycle.post_start)),
        ("preStop", hook(&lifecycle.pre_stop)),
        ("stopSignal", json!(lifecycle.stop_signal)),
    ])
}

fn hook(hook: &Option<HookHandler>) -> Value {
    match hook {
        None => Value::Null,
        Some(HookHandler::Exec { command }) => json!({ "exec": { "command": command } }),
        Some(HookHandler::HttpGet(get)) => json!({ "httpGet": http_get(get) }),
        Some(HookHandler::TcpSocket(socket)) => json!({ "tcpSocket": tcp_socket(socket) }),
        Some(HookHandler::Sleep { seconds }) => json!({ "sleep": { "seconds": seconds } }),
    }
}

pub(super) fn restart_rule(rule: &RestartRule) -> Value {
    json!({
        "action": rule.action,
        "exitCodes": { "operator": rule.operator, "values": rule.values },
    })
}
