//! The requests of the Task service, each in one call.

use std::path::PathBuf;

use containerd_shim_protos::api::*;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message, MessageField};
use serde_json::Value;

use super::{Shim, context};

impl Shim {
    pub fn start_container(&self, id: &str) -> ttrpc::Result<StartResponse> {
        self.start_process(id, "")
    }

    pub fn start_process(&self, id: &str, exec_id: &str) -> ttrpc::Result<StartResponse> {
        let request = StartRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..StartRequest::default()
        };
        self.client.start(context(), &request)
    }

    pub fn wait(&self, id: &str, exec_id: &str) -> ttrpc::Result<WaitResponse> {
        let request = WaitRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..WaitRequest::default()
        };
        self.client.wait(context(), &request)
    }

    pub fn state(&self, id: &str, exec_id: &str) -> ttrpc::Result<StateResponse> {
        let request = StateRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..StateRequest::default()
        };
        self.client.state(context(), &request)
    }

    pub fn kill(&self, id: &str, exec_id: &str, signal: u32, all: bool) -> ttrpc::Result<Empty> {
        let request = KillRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            signal,
            all,
            ..KillRequest::default()
        };
        self.client.kill(context(), &request)
    }

    pub fn delete(&self, id: &str, exec_id: &str) -> ttrpc::Result<DeleteResponse> {
        let request = DeleteRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            ..DeleteRequest::default()
        };
        self.client.delete(context(), &request)
    }

    /// Adds an exec of `process`, an OCI process.
    pub fn exec(
        &self,
        id: &str,
        exec_id: &str,
        process: &Value,
        stdout: &str,
    ) -> ttrpc::Result<Empty> {
        let request = ExecProcessRequest {
            id: id.into(),
            exec_id: exec_id.into(),
            stdout: stdout.into(),
            stderr: stdout.into(),
            terminal: process["terminal"].as_bool().unwrap_or(false),
            spec: MessageField::some(Any {
                type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
                value: process.to_string().into_bytes(),
                ..Any::default()
            }),
            ..ExecProcessRequest::default()
        };
        self.client.exec(context(), &request)
    }

    /// Runs a container to its end: (exit status, output).
    pub fn run_container(&mut self, id: &str, config: Value) -> (u32, String) {
        let output = self.create_with_output(id, config).expect("created");
        self.start_container(id).expect("started");
        let status = self.wait(id, "").expect("ended").exit_status;
        self.delete(id, "").expect("deleted");
        (status, std::fs::read_to_string(output).unwrap_or_default())
    }

    /// Runs an exec to its end: (exit status, output).
    pub fn run_exec(&self, id: &str, exec_id: &str, process: &Value) -> (u32, String) {
        let output = self.dir.path().join(format!("{id}-{exec_id}.out"));
        let url = format!("file://{}", output.display());
        self.exec(id, exec_id, process, &url).expect("added");
        self.start_process(id, exec_id).expect("started");
        let status = self.wait(id, exec_id).expect("ended").exit_status;
        self.delete(id, exec_id).expect("deleted");
        (status, std::fs::read_to_string(output).unwrap_or_default())
    }
}

/// A request as it is on the wire (containerd/ttrpc: PROTOCOL.md).
pub fn frame(stream: u32, method: &str, request: &impl Message) -> Vec<u8> {
    let request = ttrpc::Request {
        service: "containerd.task.v2.Task".into(),
        method: method.into(),
        payload: request.write_to_bytes().expect("encoded"),
        ..ttrpc::Request::default()
    };
    let payload = request.write_to_bytes().expect("encoded");
    let length = u32::try_from(payload.len()).expect("short");
    let (length, stream) = (length.to_be_bytes(), stream.to_be_bytes());
    [&length[..], &stream, &[1, 0], &payload].concat()
}
