//! Resolves services to loopback addresses on which the bridge listens.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
};

use mesh_resolver::LocalAddresses;
use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinSet};

use super::{
    BridgeState, listen,
    local_listeners::{LocalListeners, LocalPort},
    scheme::{self, Schemes},
    services,
};
use crate::{error::Error, target::Target};

/// Assigns a loopback address to each service of the mesh on its first lookup, and listens there on every port of the
/// service. Cheap to clone; it does not keep the bridge alive.
///
/// The builder of a resolver in mesh-resolver accepts it as [`LocalAddresses`]. A resolver or `DnsListener` with it
/// answers with these addresses, so programs that do not know the mesh reach its services by name and real port. Ports
/// below 1024 need CAP_NET_BIND_SERVICE, or a separate network namespace. If the bridge cannot listen on a port, it
/// logs and skips the port. If it cannot listen on any port of a service, the answer contains the addresses in the name
/// table.
///
/// With the feature `reqwest`, it also implements `reqwest::dns::Resolve`. URLs without a port then work even if the
/// bridge cannot listen on port 80 or 443.
///
/// ```no_run
/// # async fn example(mesh: mesh_connector::Mesh) -> Result<(), Box<dyn std::error::Error>> {
/// use mesh_connector::{MeshResolver, bridge::Access};
///
/// let bridge = mesh.bridge().with_access(Access::SameUser).start().await?;
/// let resolver = MeshResolver::builder_for(mesh.client()).with_local_addresses(bridge.local_services().await?).build()?;
/// // With mesh-resolver's feature `listener`: DnsListener::start(resolver)?
/// # let _ = resolver;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LocalServices {
    pub(super) state: Weak<BridgeState>,
    pub(super) local_listeners: Arc<LocalListeners>,
    pub(super) tasks: Weak<Mutex<JoinSet<()>>>,
    pub(super) runtime: Handle,
}

impl LocalServices {
    /// Returns the state of the bridge. `None` after the bridge has ended, even if some of its connections are still
    /// ending.
    pub(super) fn bridge(&self) -> Option<Arc<BridgeState>> {
        self.tasks.upgrade().and_then(|_| self.state.upgrade())
    }

    /// Returns the loopback address of a service and opens its listeners. `None` if the bridge has ended, the service
    /// has no cluster, or none of its ports can be opened.
    pub(super) fn listening(&self, host: &str) -> Option<IpAddr> {
        let state = self.bridge()?;
        let ports = services::ports(&state.mesh, host);
        let mut address = None;
        for port in ports {
            let target = Target::new(host, port).ok()?;
            let behind = target.clone();
            let to = move |client, state| listen::to(client, state, behind.clone());
            match self.bind(&state, &target, host, LocalPort::Real, to) {
                Ok(bound) => address = Some(bound.ip()),
                Err(error) => {
                    tracing::warn!(%target, error = error.report(), "cannot listen on a port of a service; it is skipped")
                }
            }
        }
        address
    }

    /// Returns the address of a listener for URLs without a port, for clients that accept a port with each address. The
    /// listener forwards a client that sends TLS to port 443 of the service, and any other client to port 80. `host` is
    /// the canonical name of the service, as returned by
    /// [`MeshResolver::canonical_name`](mesh_resolver::MeshResolver::canonical_name). `None` if the service has neither
    /// port, the bridge has ended, or it cannot listen.
    #[must_use]
    pub fn default_port(&self, host: &str) -> Option<SocketAddr> {
        let state = self.bridge()?;
        let ports = services::ports(&state.mesh, host);
        let of = |port: u16| ports.contains(&port).then(|| Target::new(host, port).ok()).flatten();
        let schemes = Schemes { http: of(80), https: of(443) };
        let target = schemes.http.clone().or_else(|| schemes.https.clone())?;
        let to = move |client, state| scheme::serve(client, state, schemes.clone());
        self.bind(&state, &target, host, LocalPort::Any, to).ok()
    }

    fn bind<F: Future<Output = ()> + Send + 'static>(
        &self,
        state: &Arc<BridgeState>,
        target: &Target,
        host: &str,
        port: LocalPort,
        to: impl Fn(tokio::net::TcpStream, Arc<BridgeState>) -> F + Send + Sync + 'static,
    ) -> Result<SocketAddr, Error> {
        // The caller may be outside the runtime: a DNS listener has its own thread.
        let _runtime = self.runtime.enter();
        let mut listening = self.local_listeners.lock();
        if let Some(address) = listening.listener(target, host, port) {
            return Ok(address);
        }
        let (listener, address) = listening.bind(target, host, port)?;
        if let Some(tasks) = self.tasks.upgrade() {
            let task = listen::serve(listener, state.clone(), to);
            tasks.lock().spawn_on(task, &self.runtime);
        }
        Ok(address)
    }
}

impl LocalAddresses for LocalServices {
    fn address(&self, host: &str) -> Option<IpAddr> {
        self.listening(host)
    }
}

impl fmt::Debug for LocalServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalServices").field("names", &self.local_listeners.names()).finish_non_exhaustive()
    }
}
