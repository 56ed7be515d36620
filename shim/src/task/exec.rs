//! Exec: a further process in a running container.

use std::sync::Arc;

use containerd_shim_protos::events::task::TaskExecAdded;

use super::process::Process;
use super::{Error, Kind, Phase, Shim, find};
use crate::bundle::check_id;
use crate::stdio::Request;

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// The container.
    pub id: String,
    /// The exec's id.
    pub exec_id: String,
    /// Its standard streams.
    pub streams: Request,
    /// An OCI `Process` in JSON.
    pub spec: Vec<u8>,
}

impl Shim {
    /// Adds an exec, which Start then runs.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `FailedPrecondition` when the container doesn't run,
    /// `InvalidArgument` for an unusable id.
    pub fn exec(&self, request: ExecRequest) -> Result<(), Error> {
        check_id("exec id", &request.exec_id).map_err(Error::invalid)?;
        let mut containers = self.containers();
        let container = find(&mut containers, &request.id)?;
        if container.execs.contains_key(&request.exec_id) || request.exec_id == request.id {
            let message = format!("exec {:?} exists already", request.exec_id);
            return Err(Error::new(Kind::AlreadyExists, message));
        }
        let phase = container.init.phase();
        if phase != Phase::Running {
            let message = format!("nothing can be executed in a container that is {phase}");
            return Err(Error::new(Kind::FailedPrecondition, message));
        }
        let mut process = Process::new(Phase::Created, request.streams);
        process.spec = Some(request.spec.into());
        container.execs.insert(request.exec_id.clone(), process);
        self.publisher.publish(TaskExecAdded {
            container_id: request.id,
            exec_id: request.exec_id,
            ..TaskExecAdded::default()
        });
        Ok(())
    }

    pub(super) async fn start_exec(self: Arc<Self>, id: &str, exec_id: &str) -> Result<i32, Error> {
        let _ = (id, exec_id);
        Err(Error::new(Kind::Unimplemented, "exec"))
    }
}
