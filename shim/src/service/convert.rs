//! Between the shim's own types and containerd's messages.

use containerd_shim_protos::api::{ProcessInfo, Status};
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message, MessageField, MessageFull};
use containerd_shim_protos::shim::oci::ProcessDetails;
use ttrpc::Code;

use crate::task::{Error, Kind, Phase};

/// An error with the code that containerd turns back into its kind.
pub fn status(error: Error) -> ttrpc::Error {
    let code = match error.kind {
        Kind::NotFound => Code::NOT_FOUND,
        Kind::AlreadyExists => Code::ALREADY_EXISTS,
        Kind::FailedPrecondition => Code::FAILED_PRECONDITION,
        Kind::InvalidArgument => Code::INVALID_ARGUMENT,
        Kind::Unimplemented => Code::UNIMPLEMENTED,
        Kind::Unknown => Code::UNKNOWN,
    };
    ttrpc::Error::RpcStatus(ttrpc::get_status(code, error.message))
}

/// The phase as containerd knows it.
pub fn to_status(phase: Phase) -> Status {
    match phase {
        Phase::Creating | Phase::Created | Phase::Starting | Phase::StartingExited => {
            Status::CREATED
        }
        Phase::Running => Status::RUNNING,
        Phase::Pausing => Status::PAUSING,
        Phase::Paused => Status::PAUSED,
        Phase::Stopped => Status::STOPPED,
    }
}

/// A process for the list of all. An exec is marked as such in the way of containerd's runc shim.
pub fn process(pid: i32, exec_id: Option<String>) -> ProcessInfo {
    let mut info = ProcessInfo {
        pid: pid as u32,
        ..ProcessInfo::default()
    };
    let details = exec_id.map(|exec_id| ProcessDetails {
        exec_id,
        ..ProcessDetails::default()
    });
    // Encoding a short string into memory doesn't fail.
    if let Some(value) = details.and_then(|details| details.write_to_bytes().ok()) {
        info.info = MessageField::some(Any {
            type_url: ProcessDetails::descriptor().full_name().to_owned(),
            value,
            ..Any::default()
        });
    }
    info
}
