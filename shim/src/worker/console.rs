//! The socket by which libcontainer hands over the master of a container's terminal.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};

use super::WorkerError;

/// A listening socket in the worker's scratch directory, which nobody else sees.
pub struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ConsoleSocket {
    pub fn listen(scratch: &Path) -> Result<Self, WorkerError> {
        let path = scratch.join("console.sock");
        let listener = UnixListener::bind(&path)
            .map_err(|cause| WorkerError::step("the console's socket can't be made", cause))?;
        Ok(Self { listener, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the master, which init has sent before it was ready.
    pub fn receive(self) -> Result<OwnedFd, WorkerError> {
        let failed = |cause| WorkerError::step("the terminal was not handed over", cause);
        let (stream, _) = self.listener.accept().map_err(failed)?;
        let mut name = [0; 64];
        let mut space = nix::cmsg_space!([i32; 1]);
        let mut parts = [IoSliceMut::new(&mut name)];
        let message = recvmsg::<UnixAddr>(
            stream.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )
        .map_err(|error| failed(error.into()))?;
        let controls = message.cmsgs().map_err(|error| failed(error.into()))?;
        let received = controls.filter_map(|control| match control {
            ControlMessageOwned::ScmRights(fds) => fds.into_iter().next(),
            _ => None,
        });
        let Some(master) = received.last() else {
            return Err(failed(std::io::Error::other("no descriptor came")));
        };
        // SAFETY: the kernel just made this descriptor for this process.
        Ok(unsafe { OwnedFd::from_raw_fd(master) })
    }
}
