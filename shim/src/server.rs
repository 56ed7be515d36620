//! The server: one thread that serves the Task service until its containers are gone.

use std::collections::HashMap;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use containerd_shim_protos::shim_async::create_task;
use tokio::time::Instant;
use ttrpc::asynchronous::Server;
use ttrpc::asynchronous::transport::Listener;

use crate::bootstrap::{AddressError, Args, Held};
use crate::events::Publisher;
use crate::guard;
use crate::reap::{Notice, Signals};
use crate::service::Service;
use crate::task::Shim;

/// A worker's end is the last that is heard of a create or exec: when nothing has come for so long, the
/// containers run by themselves.
const REST: Duration = Duration::from_secs(2);
/// A shim without any container for so long was forgotten by its client: longer than any client waits
/// before it tries a Pod's sandbox again.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// How long the last events may take to be delivered after Shutdown.
const LAST_EVENTS: Duration = Duration::from_secs(5);
/// How long the last answers may take to be sent.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Why the server can't serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Standard input is no listening socket.
    #[error("standard input is not the shim's socket ({0}): run it with the action start")]
    Socket(#[source] io::Error),
    /// The program could be overwritten by a container.
    #[error("the shim's program is not on a read-only mount: run it with the action start")]
    Unguarded,
    /// The socket's directory.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Setting up the process failed.
    #[error("the server can't be set up: {0}")]
    Io(#[from] io::Error),
    /// ttrpc failed.
    #[error("the socket can't be served: {0}")]
    Ttrpc(#[from] ttrpc::Error),
}

/// Serves on the socket that `start` left as standard input, until Shutdown.
///
/// # Errors
/// [`ServerError`], before anything is served.
pub fn serve(args: &Args) -> Result<(), ServerError> {
    let bundle = std::env::current_dir()?;
    crate::log::to_bundle(&bundle, args.debug);
    let listener = take_listener()?;
    if !guard::is_guarded()? {
        return Err(ServerError::Unguarded);
    }
    let address = Arc::new(Held::of_listener(&listener)?);
    // A session of its own, so that no terminal's signals reach it.
    nix::unistd::setsid().map_err(io::Error::from)?;
    nix::sys::prctl::set_name(c"carob-shim").map_err(io::Error::from)?;
    // Orphans of containers without a PID namespace come to the shim.
    nix::sys::prctl::set_child_subreaper(true).map_err(io::Error::from)?;
    // Containers' files get the modes that are asked for.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let served = runtime.block_on(run(args, listener, &address));
    address.release();
    served
}

/// Takes the socket from standard input, and leaves `/dev/null` there.
fn take_listener() -> Result<UnixListener, ServerError> {
    let socket =
        nix::unistd::dup(io::stdin()).map_err(|error| ServerError::Socket(error.into()))?;
    let listener = UnixListener::from(socket);
    listener
        .set_nonblocking(true)
        .map_err(ServerError::Socket)?;
    listener.local_addr().map_err(ServerError::Socket)?;
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: descriptor 0 is standard input, which nothing here owns.
    let mut stdin = unsafe { OwnedFd::from_raw_fd(0) };
    let put = nix::unistd::dup2(null, &mut stdin);
    std::mem::forget(stdin);
    put.map_err(io::Error::from)?;
    Ok(listener)
}

/// The Task service as version 2 and, for containerd 2, as version 3: their messages are the same on
/// the wire. What version 3 has more, the stream of events, is optional and not offered.
fn services(
    shim: &Arc<Shim>,
    address: &Arc<Held>,
) -> HashMap<String, ttrpc::asynchronous::Service> {
    let service = || create_task(Arc::new(Service::new(shim.clone(), address.clone())));
    let third = service()
        .into_iter()
        .map(|(name, service)| (name.replace(".v2.", ".v3."), service));
    service().into_iter().chain(third).collect()
}

async fn run(args: &Args, listener: UnixListener, address: &Arc<Held>) -> Result<(), ServerError> {
    let signals = Signals::new()?;
    let publisher = Publisher::new(&args.namespace, std::env::var("TTRPC_ADDRESS").ok());
    let scratch = PathBuf::from(crate::bootstrap::DIRECTORY);
    let shim = Arc::new(Shim::new(&args.namespace, scratch, publisher));
    let mut server = Server::new()
        .add_listener(Listener::try_from(listener)?)
        .register_service(services(&shim, address));
    server.start().await?;
    tracing::info!("serving on {}", address.url());
    let rest = tokio::time::sleep(REST);
    tokio::pin!(rest);
    let forgotten = tokio::time::sleep(FORGOTTEN);
    tokio::pin!(forgotten);
    loop {
        tokio::select! {
            notice = signals.next() => match notice? {
                Notice::Child => {
                    shim.children().reap();
                    rest.as_mut().reset(Instant::now() + REST);
                }
                Notice::End => {
                    tracing::info!("ended by a signal");
                    break;
                }
            },
            () = &mut rest, if !rest.is_elapsed() => {
                if let Err(error) = carob_rest::give_back() {
                    tracing::debug!("memory is kept: {error}");
                }
            }
            () = shim.emptied() => forgotten.as_mut().reset(Instant::now() + FORGOTTEN),
            () = &mut forgotten, if !forgotten.is_elapsed() => {
                if shim.is_empty() {
                    tracing::info!("ended, having no container for long");
                    break;
                }
            }
            () = shim.ended() => break,
        }
    }
    // New clients of the group start a shim of their own.
    address.release();
    shim.flush(LAST_EVENTS).await;
    // A client that doesn't take its answer is not waited for.
    let _ = tokio::time::timeout(LAST_ANSWERS, server.shutdown()).await;
    Ok(())
}
