//! What differs between shims: ours writes Kubernetes' logs and sets what the machine lets it; others are given a
//! logging program, and a configuration that has only what they may set.

use std::env;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use jiff::Timestamp;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::RUNTIME;
use crate::process_tree::MARK;
use crate::runtime::{CreateTask, Stdio, stream_uris};

/// A shim, by containerd's name for it.
#[derive(Debug, Clone)]
pub struct ShimKind {
    name: Rc<str>,
    ours: bool,
}

impl ShimKind {
    /// The shim of this name.
    pub fn of(name: &Rc<str>) -> Self {
        let program = Path::new(&**name).file_name();
        Self {
            name: name.clone(),
            ours: **name == *RUNTIME || program.is_some_and(|p| p == "containerd-shim-carob-v1"),
        }
    }

    /// containerd's name for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Standard streams as it takes them.
    ///
    /// # Errors
    /// When this program can't name itself.
    pub fn stream_uris(&self, task: &CreateTask) -> Result<[String; 3], String> {
        match &task.stdio {
            Stdio::Log(path) if !self.ours => {
                let program = env::current_exe().map_err(|e| {
                    format!("cannot tell where carob is, which writes the log: {e}")
                })?;
                let uri = logger(&program, path);
                // A terminal has one stream.
                let stderr = if task.terminal {
                    String::new()
                } else {
                    uri.clone()
                };
                Ok([String::new(), uri, stderr])
            }
            stdio => Ok(stream_uris(stdio)),
        }
    }

    /// The task with a configuration that it can carry out.
    ///
    /// # Errors
    /// When the configuration is not JSON.
    pub fn adapted(&self, mut task: CreateTask) -> Result<CreateTask, String> {
        if self.ours {
            return Ok(task);
        }
        let mut config: Value = serde_json::from_slice(&task.config).map_err(|e| e.to_string())?;
        let floor = fs::read_to_string("/proc/self/oom_score_adj");
        raise_oom_score_adj(&mut config, floor.ok().as_deref(), may_lower_oom_score());
        task.config = serde_json::to_vec(&config).map_err(|e| e.to_string())?;
        Ok(task)
    }
}

impl ShimKind {
    /// A process that is to be executed such that all that it will have started can be found. Ours makes it a subreaper,
    /// as it is asked.
    ///
    /// # Errors
    /// When the process is not JSON.
    pub fn marked(&self, process: Vec<u8>) -> Result<Vec<u8>, String> {
        if self.ours {
            return Ok(process);
        }
        let mut process: Value = serde_json::from_slice(&process).map_err(|e| e.to_string())?;
        let own = format!("{MARK}={}", Timestamp::now().as_nanosecond());
        match process.get_mut("env").and_then(Value::as_array_mut) {
            Some(env) => env.push(json!(own)),
            None => process["env"] = json!([own]),
        }
        serde_json::to_vec(&process).map_err(|e| e.to_string())
    }
}

/// `binary://PROGRAM?cri-log=LOG`: the program is run as `PROGRAM cri-log LOG`.
fn logger(program: &Path, log: &Path) -> String {
    let encoded: String = byte_serialize(log.as_os_str().as_encoded_bytes()).collect();
    format!("binary://{}?cri-log={encoded}", program.display())
}

/// Without CAP_SYS_RESOURCE a process can't make itself less likely to be killed than it was started (proc(5)), and
/// other runtimes give up then. containerd has what we have: both are started by the same hand.
fn raise_oom_score_adj(config: &mut Value, floor: Option<&str>, may_lower: bool) {
    let floor = floor.and_then(|text| text.trim().parse::<i64>().ok());
    let wanted = config
        .pointer("/process/oomScoreAdj")
        .and_then(Value::as_i64);
    if let (Some(floor), Some(wanted), false) = (floor, wanted, may_lower)
        && wanted < floor
    {
        config["process"]["oomScoreAdj"] = json!(floor);
    }
}

/// True when this process has CAP_SYS_RESOURCE.
fn may_lower_oom_score() -> bool {
    /// Its bit (capability.h).
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|set| set >> CAP_SYS_RESOURCE & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_known_by_its_name() {
        for (name, ours) in [
            ("io.containerd.carob.v1", true),
            ("/opt/bin/containerd-shim-carob-v1", true),
            ("io.containerd.runc.v2", false),
        ] {
            assert_eq!(ShimKind::of(&Rc::from(name)).ours, ours, "{name}");
        }
    }

    #[test]
    fn a_log_of_any_name_reaches_the_logger() {
        let uri = logger(Path::new("/bin/carob"), Path::new("/logs/a b&c/0.log"));
        assert_eq!(uri, "binary:///bin/carob?cri-log=%2Flogs%2Fa+b%26c%2F0.log");
    }

    #[test]
    fn an_exec_of_another_shim_is_marked() {
        let process = || br#"{"env":["A=1"]}"#.to_vec();
        let ours = ShimKind::of(&Rc::from(RUNTIME));
        assert_eq!(ours.marked(process()).unwrap(), process());
        let other = ShimKind::of(&Rc::from("io.containerd.runc.v2"));
        let marked = other.marked(process()).unwrap();
        let marked = String::from_utf8(marked).unwrap();
        assert!(marked.contains(r#""A=1","CAROB_EXEC="#), "{marked}");
    }

    #[test]
    fn a_score_that_cannot_be_had_is_raised() {
        for (wanted, floor, may, got) in [
            (-998, "0\n", false, 0),
            (-998, "0\n", true, -998),
            (1000, "0\n", false, 1000),
            (-10, "-500\n", false, -10),
        ] {
            let mut config = json!({"process": {"oomScoreAdj": wanted}});
            raise_oom_score_adj(&mut config, Some(floor), may);
            assert_eq!(
                config["process"]["oomScoreAdj"], got,
                "{wanted} {floor} {may}"
            );
        }
    }
}
