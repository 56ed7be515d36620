//! What `--simulate` says: how containers, probes, hooks and images behave.
//!
//! ```text
//! [CONTAINER:] exit=CODE after TIME [N times]     ends so long after each start (N starts, then it runs on)
//! [CONTAINER:] oom after TIME [N times]           is killed for memory
//! [CONTAINER:] liveness|readiness|startup fails [from TIME] [until TIME]   counted from its start
//! [CONTAINER:] pull fails [N times]
//! [CONTAINER:] postStart|preStop fails            its hook
//! [CONTAINER:] postStart|preStop takes TIME
//! [CONTAINER:] stop after TIME | stop never       after the stop signal
//! delete at TIME [grace TIME]
//! ```
//!
//! Without a container, a statement is about all regular containers. Several are separated by `;`.

use std::collections::BTreeMap;

use super::words::Words;
use crate::action::ProbeKind;
use crate::pod::{Pod, RestartPolicy};

/// How everything behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// By container.
    pub(super) habits: BTreeMap<String, Habits>,
    /// Milliseconds until someone deletes the Pod, and the grace period in seconds.
    pub(super) delete: Option<(u64, Option<u64>)>,
}

/// How one container behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Habits {
    /// How it ends by itself.
    pub(super) exit: Option<Exit>,
    /// What the exit code is and how long it takes once `exit` has happened often enough; none is for ever.
    pub(super) afterwards: Option<(i32, u64)>,
    /// Probes that fail, and from when until when after the start.
    pub(super) failing: Vec<(ProbeKind, u64, u64)>,
    /// How many pulls fail.
    pub(super) failing_pulls: u32,
    pub(super) post_start: Hook,
    pub(super) pre_stop: Hook,
    /// Milliseconds from the stop signal to the end; none for a program that ignores it.
    pub(super) stop_after: Option<u64>,
}

/// How a program ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exit {
    pub code: i32,
    pub oom: bool,
    pub after: u64,
    pub times: u32,
}

/// How a hook goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Hook {
    pub takes: u64,
    pub fails: bool,
}

/// What is wrong with a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--simulate {statement:?}: {why}; `carob explain --help` lists what can be said")]
pub struct ScriptError {
    statement: String,
    why: String,
}

/// What an init container needs when nothing is said of it.
const INIT_TAKES_MS: u64 = 1_000;
/// What a container that is not always restarted needs when nothing is said of it.
const JOB_TAKES_MS: u64 = 10_000;
/// What a program needs to end after its stop signal when nothing is said of it.
const STOP_TAKES_MS: u64 = 100;

impl Script {
    /// Reads statements about this Pod. What none is about is healthy: init containers end well after a second,
    /// regular ones run for ever, or end well after 10 seconds where `restartPolicy` is not `Always`.
    ///
    /// # Errors
    /// The first statement that is not one, and why.
    pub fn parse<S: AsRef<str>>(pod: &Pod, texts: &[S]) -> Result<Self, ScriptError> {
        let mut script = Self {
            habits: BTreeMap::new(),
            delete: None,
        };
        let init = pod.spec.init_containers.iter().map(|c| (c, !c.sidecar));
        for (container, init) in init.chain(pod.spec.containers.iter().map(|c| (c, false))) {
            let policy = container.restart_policy.unwrap_or(pod.spec.restart_policy);
            let afterwards = match (init, policy) {
                (true, _) => Some((0, INIT_TAKES_MS)),
                (false, RestartPolicy::Always) => None,
                (false, _) if container.sidecar => None,
                (false, _) => Some((0, JOB_TAKES_MS)),
            };
            script.habits.insert(
                container.name.clone(),
                Habits {
                    exit: None,
                    afterwards,
                    failing: Vec::new(),
                    failing_pulls: 0,
                    post_start: Hook::default(),
                    pre_stop: Hook::default(),
                    stop_after: Some(STOP_TAKES_MS),
                },
            );
        }
        let statements = texts.iter().flat_map(|t| t.as_ref().split(';'));
        for statement in statements.map(str::trim).filter(|s| !s.is_empty()) {
            let read = script.statement(pod, statement);
            read.map_err(|why| ScriptError {
                statement: statement.to_owned(),
                why,
            })?;
        }
        Ok(script)
    }

    fn statement(&mut self, pod: &Pod, statement: &str) -> Result<(), String> {
        let (names, said) = match statement.split_once(':') {
            Some((name, said)) => {
                let name = name.trim();
                if !self.habits.contains_key(name) {
                    let known: Vec<&str> = self.habits.keys().map(String::as_str).collect();
                    let known = known.join(", ");
                    return Err(format!("the Pod has no container {name:?}, only {known}"));
                }
                (vec![name.to_owned()], said)
            }
            None => {
                let all = pod.spec.containers.iter().map(|c| c.name.clone());
                (all.collect(), statement)
            }
        };
        let mut words = Words::new(said);
        if words.take("delete") {
            words.expect("at")?;
            let at = words.time()?;
            let grace = words.time_after("grace")?.map(|ms| ms.div_ceil(1000));
            self.delete = Some((at, grace));
            return words.end();
        }
        let change = change(&mut words)?;
        words.end()?;
        for name in names {
            if let Some(habits) = self.habits.get_mut(&name) {
                change.apply(habits, pod, &name)?;
            }
        }
        Ok(())
    }
}

/// What a statement changes.
enum Change {
    Exit(Exit),
    Probe(ProbeKind, u64, u64),
    Pull(u32),
    PostStart(Hook),
    PreStop(Hook),
    Stop(Option<u64>),
}

fn change(words: &mut Words<'_>) -> Result<Change, String> {
    let verb = words.next().unwrap_or_default();
    if let Some(code) = verb.strip_prefix("exit=") {
        let code = code.parse().ok().filter(|code| (0..=255).contains(code));
        let code = code.ok_or("an exit code is a number from 0 to 255")?;
        return exit(words, code, false);
    }
    let probe = |words: &mut Words<'_>, kind| {
        words.expect("fails")?;
        let from = words.time_after("from")?.unwrap_or(0);
        let until = words.time_after("until")?.unwrap_or(u64::MAX);
        Ok(Change::Probe(kind, from, until))
    };
    match verb {
        "oom" => exit(words, 137, true),
        "liveness" => probe(words, ProbeKind::Liveness),
        "readiness" => probe(words, ProbeKind::Readiness),
        "startup" => probe(words, ProbeKind::Startup),
        "pull" => {
            words.expect("fails")?;
            Ok(Change::Pull(words.times()?.unwrap_or(u32::MAX)))
        }
        "postStart" => hook(words).map(Change::PostStart),
        "preStop" => hook(words).map(Change::PreStop),
        "stop" if words.take("never") => Ok(Change::Stop(None)),
        "stop" => {
            words.expect("after")?;
            Ok(Change::Stop(Some(words.time()?)))
        }
        _ => Err(format!(
            "{verb:?} is none of exit=CODE, oom, liveness, readiness, startup, pull, postStart, preStop, stop, delete"
        )),
    }
}

fn exit(words: &mut Words<'_>, code: i32, oom: bool) -> Result<Change, String> {
    words.expect("after")?;
    Ok(Change::Exit(Exit {
        code,
        oom,
        after: words.time()?,
        times: words.times()?.unwrap_or(u32::MAX),
    }))
}

fn hook(words: &mut Words<'_>) -> Result<Hook, String> {
    if words.take("takes") {
        let takes = words.time()?;
        return Ok(Hook {
            takes,
            fails: words.take("fails"),
        });
    }
    words.expect("fails")?;
    let takes = words.time_after("after")?.unwrap_or(0);
    Ok(Hook { takes, fails: true })
}

impl Change {
    fn apply(&self, habits: &mut Habits, pod: &Pod, name: &str) -> Result<(), String> {
        let container = pod.spec.all_containers().find(|c| c.name == name);
        let lacks = |what: &str| Err(format!("container {name} has no {what}"));
        match *self {
            Self::Exit(exit) => habits.exit = Some(exit),
            Self::Probe(kind, from, until) => {
                if container.is_none_or(|c| c.probe(kind).is_none()) {
                    return lacks(&format!("{}Probe", kind.as_str().to_lowercase()));
                }
                habits.failing.push((kind, from, until));
            }
            Self::Pull(times) => habits.failing_pulls = times,
            Self::PostStart(hook) => {
                if container.is_none_or(|c| c.lifecycle.post_start.is_none()) {
                    return lacks("postStart hook");
                }
                habits.post_start = hook;
            }
            Self::PreStop(hook) => {
                if container.is_none_or(|c| c.lifecycle.pre_stop.is_none()) {
                    return lacks("preStop hook");
                }
                habits.pre_stop = hook;
            }
            Self::Stop(after) => habits.stop_after = after,
        }
        Ok(())
    }
}
