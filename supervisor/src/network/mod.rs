//! The Pods' network, built in: a bridge per supervisor, a veth pair and an IPv4 address per Pod, no CNI plugin.
//!
//! Pods reach each other and the host over the bridge, and the outside through the host, masqueraded. Everything is
//! done by netlink; the only program that is started is `nft`, once per supervisor. What is made is named after the
//! state directory (see `names`), so that supervisors with different state directories never meet, and recorded there
//! before it is made, so that [`Network::prune`] finds what a killed supervisor left.
//!
//! Also here: the files that tell a container about its network, [`hosts`] and [`resolv`], written by [`etc`].

mod address;
mod attach;
mod bridge;
mod error;
pub mod etc;
mod firewall;
pub mod hosts;
mod ipam;
mod link;
mod names;
mod netlink;
mod netns;
mod notice;
mod pod;
mod record;
pub mod resolv;
mod subnet;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::Ipv4Net;

pub use attach::{Attachment, NetworkLeftovers};
pub use error::NetworkError;
pub use link::Mac;
pub use netns::open_namespace;
pub use notice::Notice;

use bridge::Host;
use names::Names;
use netlink::Netlink;
use netns::on_own_thread;

/// Settings of the network. What is `None` is chosen, and then kept in `<state>/network.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The bridge's name; `carob0` for the default state directory, `carob-HASH` for any other.
    pub bridge: Option<String>,
    /// The Pods' subnet; by default a /20 of a private range that nothing else on this machine uses.
    pub subnet: Option<Ipv4Net>,
    /// The largest packet, in bytes; by default that of the machine's default route, 1500 at most.
    pub mtu: Option<u32>,
}

/// The network of one supervisor. Clones share it.
///
/// The futures do blocking work on threads of their own. Dropping one stops the waiting, not the work: a Pod whose
/// [`attach`](Network::attach) was dropped is to be [`detach`](Network::detach)ed like any other.
#[derive(Clone)]
pub struct Network {
    host: Arc<Mutex<Host>>,
    names: Arc<Names>,
}

impl Network {
    /// Opens the network of a state directory (made with mode 0700 if missing), in the calling thread's network
    /// namespace. Nothing of the machine is changed until a Pod is attached.
    pub fn open(state_dir: &Path, config: NetworkConfig) -> Result<Network, NetworkError> {
        if let Some(name) = &config.bridge
            && !link::is_link_name(name)
        {
            return Err(NetworkError::BadInterfaceName(name.clone()));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)
            .map_err(|e| NetworkError::file("create", state_dir, e))?;
        let state = state_dir
            .canonicalize()
            .map_err(|e| NetworkError::file("read", state_dir, e))?;
        let host = Host::new(state, config, Netlink::open()?)?;
        Ok(Network {
            names: Arc::new(host.names.clone()),
            host: Arc::new(Mutex::new(host)),
        })
    }

    /// Makes the bridge, forwarding and masquerading ready. [`attach`](Network::attach) does it too when needed; called
    /// earlier it takes the few milliseconds of the first Pod's way.
    pub async fn prepare(&self) -> Result<(), NetworkError> {
        self.run(|host| host.ready().map(drop)).await
    }

    /// Connects a Pod whose network namespace is at that path (`/proc/PID/ns/net`): gives it an address, the interface
    /// `eth0`, a default route and its loopback.
    ///
    /// Again with the same UID it changes nothing and returns the same; with a new namespace (the sandbox was made
    /// again) the Pod moves there with its address. `mac` is for the Pod's interface; by default it follows from the
    /// address. After an error nothing of the attempt is left.
    pub async fn attach(
        &self,
        pod_uid: &str,
        netns_path: &Path,
        mac: Option<Mac>,
    ) -> Result<Attachment, NetworkError> {
        let (uid, path): (String, PathBuf) = (pod_uid.to_owned(), netns_path.to_owned());
        self.run(move |host| host.attach(&uid, &path, mac)).await
    }

    /// Disconnects a Pod and frees its address. No error when there is nothing to do: the Pod was never attached, or its
    /// namespace is gone and its interface with it.
    pub async fn detach(&self, pod_uid: &str) -> Result<(), NetworkError> {
        let uid = pod_uid.to_owned();
        self.run(move |host| host.detach(&uid)).await
    }

    /// What belongs to Pods other than these, left by a supervisor that was killed. Changes nothing. The bridge
    /// counts as left over when no Pod is live.
    pub async fn leftovers(
        &self,
        live_uids: &HashSet<String>,
    ) -> Result<NetworkLeftovers, NetworkError> {
        let live = live_uids.clone();
        self.run(move |host| host.leftovers(&live)).await
    }

    /// Removes what [`leftovers`](Network::leftovers) names, and says what it was.
    pub async fn prune(
        &self,
        live_uids: &HashSet<String>,
    ) -> Result<NetworkLeftovers, NetworkError> {
        let live = live_uids.clone();
        self.run(move |host| host.prune(&live)).await
    }

    /// Removes the bridge, the firewall table and the records, unless Pods still have addresses: then false.
    pub async fn close(&self) -> Result<bool, NetworkError> {
        self.run(Host::close).await
    }

    /// The machine's end of a Pod's pair of interfaces, whether it is there or not.
    pub fn interface(&self, pod_uid: &str) -> String {
        self.names.veth(pod_uid)
    }

    /// What there is to tell the user since the last call.
    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut lock(&self.host).notices)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Host) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let host = Arc::clone(&self.host);
        on_own_thread(move || work(&mut lock(&host))).await
    }
}

/// A panic elsewhere leaves nothing in `Host` that the next call would not check again.
fn lock(host: &Mutex<Host>) -> MutexGuard<'_, Host> {
    host.lock().unwrap_or_else(PoisonError::into_inner)
}
