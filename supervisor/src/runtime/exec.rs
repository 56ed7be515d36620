//! Further processes in a container: the exec half of the Task service.

use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::ttrpc::context;

use super::shim::{QUICK, SLOW};
use super::{ExecTask, Exited, Shim, TaskError};

/// What containerd's clients call an OCI process.
const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

impl Shim {
    /// Adds a process to a running container, for [`start_exec`](Self::start_exec).
    ///
    /// # Errors
    /// [`TaskError::Exists`] when the container has a process of this name; the shim's own sentence.
    pub async fn exec(&self, task: ExecTask) -> Result<(), TaskError> {
        let request = api::ExecProcessRequest {
            id: task.id,
            exec_id: task.exec_id,
            stdout: task.stdout,
            stderr: task.stderr,
            spec: MessageField::some(Any {
                type_url: PROCESS_TYPE.to_owned(),
                value: task.process,
                ..Default::default()
            }),
            ..Default::default()
        };
        self.client
            .exec(context::with_timeout(QUICK), &request)
            .await?;
        Ok(())
    }

    /// Runs it.
    ///
    /// # Errors
    /// The shim's own sentence, such as that the program is not there.
    pub async fn start_exec(&self, id: &str, exec_id: &str) -> Result<(), TaskError> {
        let request = api::StartRequest {
            id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            ..Default::default()
        };
        self.client
            .start(context::with_timeout(SLOW), &request)
            .await?;
        Ok(())
    }

    /// Returns when it has ended.
    ///
    /// # Errors
    /// [`TaskError::Gone`] when the shim dies before.
    pub async fn wait_exec(&self, id: &str, exec_id: &str) -> Result<Exited, TaskError> {
        let request = api::WaitRequest {
            id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            ..Default::default()
        };
        let response = self.client.wait(context::with_timeout(0), &request).await?;
        Ok(Exited {
            status: response.exit_status,
            at: super::timestamp(&response.exited_at),
        })
    }

    /// SIGKILL to it and, when it was made so, all that it started.
    ///
    /// # Errors
    /// [`TaskError::NotFound`] when it has ended.
    pub async fn kill_exec(&self, id: &str, exec_id: &str) -> Result<(), TaskError> {
        let request = api::KillRequest {
            id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            signal: nix::libc::SIGKILL.unsigned_abs(),
            all: true,
            ..Default::default()
        };
        self.client
            .kill(context::with_timeout(QUICK), &request)
            .await?;
        Ok(())
    }

    /// Forgets one that has ended or was never started.
    ///
    /// # Errors
    /// The shim's own sentence while it runs.
    pub async fn delete_exec(&self, id: &str, exec_id: &str) -> Result<(), TaskError> {
        let request = api::DeleteRequest {
            id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            ..Default::default()
        };
        self.client
            .delete(context::with_timeout(SLOW), &request)
            .await?;
        Ok(())
    }
}
