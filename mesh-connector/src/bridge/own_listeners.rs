//! The addresses on which the bridge listens. If the bridge connected to one of these addresses, it would connect to
//! itself in a loop.

use std::{
    collections::HashMap,
    error::Error as StdError,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    cluster::Route,
    error::{Error, ErrorKind},
    membership::{Resolved, after},
    mesh::Mesh,
    target::{Host, Target},
};

/// The addresses of the open TCP listeners of a bridge.
#[derive(Debug, Default)]
pub(crate) struct OwnListeners(Mutex<HashMap<SocketAddr, usize>>);

/// The entry of one open listener. Dropping it removes the entry.
#[derive(Debug)]
pub(super) struct Registration {
    address: SocketAddr,
    listeners: Arc<OwnListeners>,
}

impl OwnListeners {
    pub(super) fn register(self: &Arc<Self>, address: SocketAddr) -> Registration {
        *self.0.lock().entry(address).or_default() += 1;
        Registration { address, listeners: self.clone() }
    }

    /// Returns whether a connection to this address and port reaches a listener of the bridge.
    pub(super) fn contains(&self, ip: IpAddr, port: u16) -> bool {
        let ip = match ip.to_canonical() {
            // On Linux, a connection to the unspecified address reaches the loopback address.
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        self.0.lock().contains_key(&SocketAddr::new(ip, port))
    }

    fn has_port(&self, port: u16) -> bool {
        self.0.lock().keys().any(|address| address.port() == port)
    }

    /// Returns an error if the address of the target is a listener of this bridge. Resolves the target only if it is
    /// outside the mesh and if a listener has the same port.
    pub(super) async fn refuse(&self, mesh: &Mesh, target: &Target) -> Result<(), Error> {
        if !self.has_port(target.port()) {
            return Ok(());
        }
        let is_own = match target.host() {
            Host::Ip(ip) => self.contains(*ip, target.port()),
            Host::Name(_) => {
                let addresses = addresses_outside(mesh, target).await;
                addresses.into_iter().any(|ip| self.contains(ip, target.port()))
            }
        };
        if is_own { Err(loop_detected(target)) } else { Ok(()) }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut listeners = self.listeners.0.lock();
        if let Some(count) = listeners.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                listeners.remove(&self.address);
            }
        }
    }
}

/// Returns the addresses of a target outside the mesh. Returns no address for a target in the mesh or a target that
/// cannot be resolved. In the second case, the connection fails later with the reason.
async fn addresses_outside(mesh: &Mesh, target: &Target) -> Vec<IpAddr> {
    let (membership, deadline) = (mesh.membership(), after(Instant::now(), mesh.settings().connect_deadline));
    match membership.route(target, deadline).await {
        Ok(Route::Passthrough) => {
            match membership.resolve_passthrough(target, mesh.settings(), deadline).await {
                Ok(Resolved::Passthrough(addresses)) => addresses,
                Ok(Resolved::Cluster(..)) | Err(_) => Vec::new(),
            }
        }
        Ok(Route::Cluster(_)) | Err(_) => Vec::new(),
    }
}

/// The cause of an error: the target is a listener of the bridge itself.
#[derive(Clone, Copy, Debug)]
struct LoopDetected;

impl fmt::Display for LoopDetected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bridge does not connect to itself")
    }
}

impl StdError for LoopDetected {}

pub(super) fn loop_detected(target: &Target) -> Error {
    let message = format!("{target} is a listener of this bridge: connect to the service by its name");
    Error::with_source(ErrorKind::InvalidTarget, message, LoopDetected)
}

/// Returns whether an error is from [`loop_detected`].
pub(super) fn is_loop(error: &Error) -> bool {
    StdError::source(error).is_some_and(|source| source.is::<LoopDetected>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_address_of_a_listener_is_recognised() {
        let listeners = Arc::new(OwnListeners::default());
        let proxy = listeners.register("127.0.0.1:4000".parse().unwrap());
        let _service = listeners.register("127.65.0.1:80".parse().unwrap());
        let contains = |ip: &str, port| listeners.contains(ip.parse().unwrap(), port);
        for ip in ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert!(contains(ip, 4000), "{ip}");
            assert!(!contains(ip, 4001), "{ip}");
        }
        assert!(contains("127.65.0.1", 80) && contains("::ffff:127.65.0.1", 80));
        assert!(!contains("127.0.0.1", 80) && !contains("0.0.0.0", 80) && !contains("127.0.0.2", 4000));
        drop(proxy);
        assert!(!contains("127.0.0.1", 4000));
    }

    #[test]
    fn the_error_names_the_target_and_the_next_step() {
        let error = loop_detected(&"127.0.0.1:4000".parse().unwrap());
        assert!(is_loop(&error) && !is_loop(&Error::new(ErrorKind::InvalidTarget, "another")));
        assert!(error.report().contains("127.0.0.1:4000") && error.report().contains("by its name"));
    }
}
