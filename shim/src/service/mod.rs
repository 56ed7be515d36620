//! containerd's Task service, version 2, on the wire.

mod convert;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use containerd_shim_protos::api::*;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{EnumOrUnknown, MessageField};
use containerd_shim_protos::shim_async::Task;
use ttrpc::asynchronous::TtrpcContext;

use crate::bootstrap::Held;
use crate::events::timestamp;
use crate::options::Options;
use crate::stdio::{Request, Size};
use crate::task::{CreateRequest, Error, ExecRequest, Kind, Shim};

use convert::{status, to_status};

/// The service.
pub struct Service {
    shim: Arc<Shim>,
    address: Arc<Held>,
}

impl Service {
    /// Serves `shim` at `address`.
    pub fn new(shim: Arc<Shim>, address: Arc<Held>) -> Self {
        Self { shim, address }
    }
}

/// Runs an operation to its end, even when its client goes away meanwhile: ttrpc drops the
/// handler of a connection that is closed.
async fn whole<T: Send + 'static>(
    operation: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> ttrpc::Result<T> {
    match tokio::spawn(operation).await {
        Ok(done) => done.map_err(status),
        Err(error) => Err(status(Error::new(
            Kind::Unknown,
            format!("the operation failed: {error}"),
        ))),
    }
}

#[async_trait]
impl Task for Service {
    async fn state(&self, _: &TtrpcContext, request: StateRequest) -> ttrpc::Result<StateResponse> {
        let state = self
            .shim
            .state(&request.id, &request.exec_id)
            .map_err(status)?;
        let mut response = StateResponse {
            id: state.id,
            bundle: state.bundle.display().to_string(),
            pid: state.pid as u32,
            status: EnumOrUnknown::new(to_status(state.phase)),
            stdin: state.request.stdin,
            stdout: state.request.stdout,
            stderr: state.request.stderr,
            terminal: state.request.terminal,
            exec_id: state.exec_id,
            ..StateResponse::default()
        };
        if let Some(exit) = state.exit {
            response.exit_status = exit.status;
            response.exited_at = MessageField::some(timestamp(exit.at));
        }
        Ok(response)
    }

    async fn create(
        &self,
        _: &TtrpcContext,
        request: CreateTaskRequest,
    ) -> ttrpc::Result<CreateTaskResponse> {
        if !request.checkpoint.is_empty() {
            return Err(unimplemented("restoring a checkpoint"));
        }
        let options = Options::read(request.options.as_ref())
            .map_err(|error| status(Error::invalid(error)))?;
        let request = CreateRequest {
            id: request.id,
            bundle: PathBuf::from(request.bundle),
            rootfs: request.rootfs,
            streams: Request {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                terminal: request.terminal,
            },
            options,
        };
        let pid = whole(self.shim.clone().create(request)).await?;
        Ok(CreateTaskResponse {
            pid: pid as u32,
            ..CreateTaskResponse::default()
        })
    }

    async fn start(&self, _: &TtrpcContext, request: StartRequest) -> ttrpc::Result<StartResponse> {
        let pid = whole(self.shim.clone().start(request.id, request.exec_id)).await?;
        Ok(StartResponse {
            pid: pid as u32,
            ..StartResponse::default()
        })
    }

    async fn delete(
        &self,
        _: &TtrpcContext,
        request: DeleteRequest,
    ) -> ttrpc::Result<DeleteResponse> {
        let deleted = whole(self.shim.clone().delete(request.id, request.exec_id)).await?;
        let mut response = DeleteResponse {
            pid: deleted.pid as u32,
            ..DeleteResponse::default()
        };
        if let Some(exit) = deleted.exit {
            response.exit_status = exit.status;
            response.exited_at = MessageField::some(timestamp(exit.at));
        }
        Ok(response)
    }

    async fn pids(&self, _: &TtrpcContext, request: PidsRequest) -> ttrpc::Result<PidsResponse> {
        let pids = self.shim.pids(&request.id).map_err(status)?;
        let processes = pids
            .into_iter()
            .map(|(pid, exec)| convert::process(pid, exec))
            .collect();
        Ok(PidsResponse {
            processes,
            ..PidsResponse::default()
        })
    }

    async fn pause(&self, _: &TtrpcContext, request: PauseRequest) -> ttrpc::Result<Empty> {
        whole(self.shim.clone().pause(request.id)).await?;
        Ok(Empty::new())
    }

    async fn resume(&self, _: &TtrpcContext, request: ResumeRequest) -> ttrpc::Result<Empty> {
        self.shim.resume(&request.id).map_err(status)?;
        Ok(Empty::new())
    }

    async fn checkpoint(&self, _: &TtrpcContext, _: CheckpointTaskRequest) -> ttrpc::Result<Empty> {
        Err(unimplemented("checkpointing a container"))
    }

    async fn kill(&self, _: &TtrpcContext, request: KillRequest) -> ttrpc::Result<Empty> {
        self.shim
            .kill(&request.id, &request.exec_id, request.signal, request.all)
            .map_err(status)?;
        Ok(Empty::new())
    }

    async fn exec(&self, _: &TtrpcContext, request: ExecProcessRequest) -> ttrpc::Result<Empty> {
        let request = ExecRequest {
            id: request.id,
            exec_id: request.exec_id,
            streams: Request {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                terminal: request.terminal,
            },
            spec: request.spec.into_option().unwrap_or_default().value,
        };
        self.shim.exec(request).map_err(status)?;
        Ok(Empty::new())
    }

    async fn resize_pty(
        &self,
        _: &TtrpcContext,
        request: ResizePtyRequest,
    ) -> ttrpc::Result<Empty> {
        let side = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
        let size = Size {
            width: side(request.width),
            height: side(request.height),
        };
        self.shim
            .resize(&request.id, &request.exec_id, size)
            .map_err(status)?;
        Ok(Empty::new())
    }

    async fn close_io(&self, _: &TtrpcContext, request: CloseIORequest) -> ttrpc::Result<Empty> {
        if request.stdin {
            self.shim
                .close_stdin(&request.id, &request.exec_id)
                .map_err(status)?;
        }
        Ok(Empty::new())
    }

    async fn update(&self, _: &TtrpcContext, request: UpdateTaskRequest) -> ttrpc::Result<Empty> {
        let resources = request.resources.into_option().unwrap_or_default();
        whole(self.shim.clone().update(request.id, resources.value)).await?;
        Ok(Empty::new())
    }

    async fn stats(&self, _: &TtrpcContext, request: StatsRequest) -> ttrpc::Result<StatsResponse> {
        let (type_url, value) = self.shim.stats(&request.id).map_err(status)?;
        let stats = Any {
            type_url: type_url.to_owned(),
            value,
            ..Any::default()
        };
        Ok(StatsResponse {
            stats: MessageField::some(stats),
            ..StatsResponse::default()
        })
    }

    async fn wait(&self, _: &TtrpcContext, request: WaitRequest) -> ttrpc::Result<WaitResponse> {
        let exit = self
            .shim
            .wait(&request.id, &request.exec_id)
            .await
            .map_err(status)?;
        Ok(WaitResponse {
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(exit.at)),
            ..WaitResponse::default()
        })
    }

    async fn connect(
        &self,
        _: &TtrpcContext,
        request: ConnectRequest,
    ) -> ttrpc::Result<ConnectResponse> {
        // A client may connect before it creates anything.
        let task_pid = self
            .shim
            .state(&request.id, "")
            .map_or(0, |state| state.pid);
        Ok(ConnectResponse {
            shim_pid: std::process::id(),
            task_pid: task_pid as u32,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ConnectResponse::default()
        })
    }

    async fn shutdown(&self, _: &TtrpcContext, request: ShutdownRequest) -> ttrpc::Result<Empty> {
        if self.shim.shutdown(request.now) {
            // Before the answer, after which a container of the same name may come.
            self.address.release();
        }
        Ok(Empty::new())
    }
}

fn unimplemented(what: &str) -> ttrpc::Error {
    status(Error::new(
        Kind::Unimplemented,
        format!("{what} is not supported"),
    ))
}
