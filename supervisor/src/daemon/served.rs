//! The daemon's metrics and health on an address.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;

use nix::sys::statvfs::{FsFlags, statvfs};

use crate::dirs::Dirs;
use crate::metrics::{Check, Checks, MetricsServer, Scrape};
use crate::registry::Registry;
use crate::stats::node::Node;

/// Where metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsAddress {
    /// At [`DEFAULT_METRICS`], if nobody else is there.
    #[default]
    Default,
    /// Nowhere.
    None,
    /// Here and nowhere else.
    At(SocketAddr),
}

/// A kubelet's read-only port, on the loopback.
const DEFAULT_METRICS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10255);

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            _ => text.parse().map(Self::At).map_err(|_| {
                "give an address and a port, such as 127.0.0.1:10255, or none".to_owned()
            }),
        }
    }
}

/// Begins to serve. `adopted` is set once the Pods that were left behind go on.
///
/// # Errors
/// When the address that was asked for is not to be had.
pub async fn serve(
    address: MetricsAddress,
    registry: &Registry,
    node: &Arc<Node>,
    adopted: &Rc<Cell<bool>>,
) -> anyhow::Result<Option<MetricsServer>> {
    let wanted = match address {
        MetricsAddress::None => return Ok(None),
        MetricsAddress::Default => DEFAULT_METRICS,
        MetricsAddress::At(address) => address,
    };
    let scrape = Scrape::new(registry.clone(), node.clone());
    match MetricsServer::listen(wanted, scrape, checks(&registry.engine().dirs, adopted)).await {
        Ok(server) => {
            tracing::info!("metrics are at http://{}/metrics", server.address());
            Ok(Some(server))
        }
        Err(error) if address == MetricsAddress::Default => {
            tracing::warn!("{error}; there are no metrics");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn checks(dirs: &Dirs, adopted: &Rc<Cell<bool>>) -> Checks {
    let adopted = adopted.clone();
    let writable = |name, path: PathBuf| Check {
        name,
        vital: false,
        ask: Box::new(move || match statvfs(&path) {
            Ok(found) if found.flags().contains(FsFlags::ST_RDONLY) => {
                Err(format!("{path:?} is read-only"))
            }
            Ok(found) if found.blocks_available() == 0 => {
                Err(format!("no space is left for {path:?}"))
            }
            Ok(_) => Ok(()),
            Err(errno) => Err(format!("{path:?}: {}", errno.desc())),
        }),
    };
    Checks::new(vec![
        Check {
            name: "adopted",
            vital: false,
            ask: Box::new(move || match adopted.get() {
                true => Ok(()),
                false => Err("the Pods that were left behind don't go on yet".to_owned()),
            }),
        },
        writable("root-directory", dirs.root.clone()),
        writable("state-directory", dirs.state.clone()),
    ])
}
