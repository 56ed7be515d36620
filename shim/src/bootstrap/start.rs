//! The `start` action: names the group's running shim, or starts one.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::address::{self, Address, AddressError, Claim};
use super::protocol::{Form, MAX_SHIM_VERSION};
use super::{Args, NAME};
use crate::bundle::{Bundle, BundleError, check_id};
use crate::guard;

/// Why no shim could be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The id or the bundle is unusable.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The socket is unusable.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The program can't be protected from containers.
    #[error("the shim's own program can't be mounted read-only: {0}")]
    Guard(#[source] io::Error),
    /// The server process can't be started.
    #[error("the shim's server can't be started: {0}")]
    Spawn(#[source] io::Error),
    /// containerd's message on standard input can't be read, or the answer not be encoded.
    #[error("containerd can't be answered: {0}")]
    Answer(#[source] io::Error),
    /// containerd's file in the bundle can't be written.
    #[error("{} can't be written: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
}

/// Returns the answer for standard output.
pub fn start(args: &Args) -> Result<Vec<u8>, StartError> {
    check_id("container id", &args.id)?;
    check_id("namespace", &args.namespace)?;
    let version = std::env::var(MAX_SHIM_VERSION).ok();
    let form = Form::asked(version.as_deref(), io::stdin(), &args.id, &args.namespace)
        .map_err(StartError::Answer)?;
    let directory = match &args.bundle {
        Some(bundle) => bundle.clone(),
        None => std::env::current_dir().map_err(StartError::Spawn)?,
    };
    let bundle = Bundle::read(&directory)?;
    let group = bundle.group().unwrap_or(&args.id);
    let address = Address::of_group(
        Path::new(address::DIRECTORY),
        &args.namespace,
        &args.address,
        group,
    );
    if let Claim::Ours(listener) = address.claim()? {
        let pid = spawn(args, &directory, listener.into()).inspect_err(|_| address.release())?;
        write(&directory, "shim.pid", &pid.to_string())?;
    }
    // containerd reads this when it comes back after a restart.
    write(&directory, "address", &address.url())?;
    form.answer(&address.url())
        .map_err(|cause| StartError::Answer(cause.into()))
}

/// Starts the server with the socket as its standard input, and doesn't wait for it: a client may
/// connect at once, since the socket listens already.
fn spawn(args: &Args, bundle: &Path, listener: OwnedFd) -> Result<u32, StartError> {
    let program = guard::read_only_program().map_err(StartError::Guard)?;
    let mut command = Command::new(guard::path_of(&program));
    command.arg0(NAME).current_dir(bundle);
    command.args([
        "-namespace",
        &args.namespace,
        "-id",
        &args.id,
        "-address",
        &args.address,
    ]);
    if args.debug {
        command.arg("-debug");
    }
    // containerd waits until standard output and error are closed.
    command
        .stdin(Stdio::from(listener))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn().map_err(StartError::Spawn)?;
    Ok(child.id())
}

fn write(bundle: &Path, name: &str, text: &str) -> Result<(), StartError> {
    use std::io::Write;
    let path = bundle.join(name);
    let temporary = bundle.join(format!(".{name}"));
    let put = || -> io::Result<()> {
        File::create(&temporary)?.write_all(text.as_bytes())?;
        std::fs::rename(&temporary, &path)
    };
    put().map_err(|cause| StartError::Write {
        path: path.clone(),
        cause,
    })
}
