//! The `delete` action: cleans up after a shim that was killed, in whatever state it left things.

use std::path::Path;
use std::time::{Duration, Instant};

use containerd_shim_protos::api::DeleteResponse;
use containerd_shim_protos::protobuf::{Message, MessageField};
use nix::mount::{MntFlags, umount2};

use super::Args;
use super::address::{Address, AddressError, DIRECTORY};
use crate::bundle::{Bundle, BundleError, check_id, noted_init};
use crate::cgroup::{Cgroup, CgroupError};
use crate::events::timestamp;

/// What the container's init is said to have ended with: killed.
const KILLED: u32 = 128 + libc::SIGKILL as u32;

/// How long killed processes may take to disappear.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why not everything could be cleaned up.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The id is unusable.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The bundle's path is unusable.
    #[error("the bundle's directory can't be found: {0}")]
    Directory(#[source] std::io::Error),
    /// The socket's directory is unusable.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The cgroup can't be removed.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The answer can't be encoded.
    #[error("the answer can't be encoded: {0}")]
    Encode(#[from] containerd_shim_protos::protobuf::Error),
}

/// Kills what is left of the container, and returns the answer for standard output.
pub fn delete(args: &Args) -> Result<Vec<u8>, DeleteError> {
    check_id("container id", &args.id)?;
    check_id("namespace", &args.namespace)?;
    let directory = match &args.bundle {
        Some(bundle) => bundle.clone(),
        None => std::env::current_dir().map_err(DeleteError::Directory)?,
    };
    // A bundle that is half gone still has the default cgroup and group.
    let bundle = Bundle::read(&directory).ok();
    let default = format!("/{}/{}", args.namespace, args.id);
    let path = match &bundle {
        Some(bundle) => bundle.cgroup_path(&args.namespace, &args.id).into_owned(),
        None => default.clone(),
    };
    let init = noted_init(&directory);
    let group = bundle.as_ref().and_then(Bundle::group).unwrap_or(&args.id);
    Address::of_group(Path::new(DIRECTORY), &args.namespace, &args.address, group)
        .remove_stale()?;
    let cgroup = Cgroup::at(&path)?;
    if init.is_some() || path == default {
        kill_all(&cgroup)?;
        cgroup.remove()?;
    } else if cgroup.pids()?.is_empty() {
        // The container was never made: a cgroup in use is another's, and was the reason why.
        cgroup.remove_unused()?;
    }
    // Ours are in the container's own namespace; another tool's would be here.
    let _ = umount2(
        &directory.join("rootfs"),
        MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW,
    );
    let response = DeleteResponse {
        pid: init.unwrap_or(0),
        exit_status: KILLED,
        exited_at: MessageField::some(timestamp(jiff::Timestamp::now())),
        ..DeleteResponse::default()
    };
    Ok(response.write_to_bytes()?)
}

fn kill_all(cgroup: &Cgroup) -> Result<(), CgroupError> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    while !cgroup.pids()?.is_empty() && Instant::now() < deadline {
        cgroup.kill(libc::SIGKILL)?;
        // A frozen process doesn't die.
        cgroup.thaw()?;
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    Ok(())
}
