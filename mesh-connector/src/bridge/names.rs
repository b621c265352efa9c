//! Resolving to loopback addresses behind which the bridge listens: for clients that take nothing but a resolver.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
};

use mesh_resolver::LocalAddresses;
use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinSet};

use super::{
    Shared, listen,
    local::{LocalPort, Locals},
    scheme::{self, Schemes},
    services,
};
use crate::{error::Error, target::Target};

/// Gives each service of the mesh a loopback address when it is first asked for, and listens there on every port that the
/// service has. Cheap to clone; it does not keep the bridge alive.
///
/// As [`LocalAddresses`] it goes into mesh-resolver's builder: a resolver, or a `DnsListener` over one, that answers with
/// such addresses, so that programs that know nothing of a mesh reach its services by name and real port. Ports below
/// 1024 need the privilege for them, or a network namespace of one's own. A port that cannot be had is told to the log
/// and left out; a service none of whose ports can be had keeps its address in the mesh.
///
/// With the feature `reqwest` it is a resolver of reqwest's as well: URLs without a port work whatever ports can be had.
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
    pub(super) shared: Weak<Shared>,
    pub(super) locals: Arc<Locals>,
    pub(super) tasks: Weak<Mutex<JoinSet<()>>>,
    pub(super) runtime: Handle,
}

impl LocalServices {
    /// What the bridge's listeners need. `None` once it has ended, although connections may still be about to.
    pub(super) fn bridge(&self) -> Option<Arc<Shared>> {
        self.tasks.upgrade().and_then(|_| self.shared.upgrade())
    }

    /// The address of a service, listened on. `None`: the bridge has ended, the service has no cluster (yet), or none of
    /// its ports can be had.
    pub(super) fn listening(&self, host: &str) -> Option<IpAddr> {
        let shared = self.bridge()?;
        let ports = services::ports(&shared.mesh, host);
        let mut address = None;
        for port in ports {
            let target = Target::new(host, port).ok()?;
            let behind = target.clone();
            let to = move |client, shared| listen::to(client, shared, behind.clone());
            match self.bind(&shared, &target, host, LocalPort::Real, to) {
                Ok(bound) => address = Some(bound.ip()),
                Err(error) => tracing::warn!(%target, error = error.report(), "a port is left out"),
            }
        }
        address
    }

    /// Where a service is reached by clients that take the port together with the address, for URLs without one: its port
    /// 80 or 443, whichever its client speaks, told by the first byte. `host` is the mesh's own name of the service, as
    /// [`MeshResolver::canonical_name`](mesh_resolver::MeshResolver::canonical_name) gives it. `None`: it has neither port.
    #[must_use]
    pub fn default_port(&self, host: &str) -> Option<SocketAddr> {
        let shared = self.bridge()?;
        let ports = services::ports(&shared.mesh, host);
        let of = |port: u16| ports.contains(&port).then(|| Target::new(host, port).ok()).flatten();
        let schemes = Schemes { http: of(80), https: of(443) };
        let target = schemes.http.clone().or_else(|| schemes.https.clone())?;
        let to = move |client, shared| scheme::serve(client, shared, schemes.clone());
        self.bind(&shared, &target, host, LocalPort::Any, to).ok()
    }

    fn bind<F: Future<Output = ()> + Send + 'static>(
        &self,
        shared: &Arc<Shared>,
        target: &Target,
        host: &str,
        port: LocalPort,
        to: impl Fn(tokio::net::TcpStream, Arc<Shared>) -> F + Send + Sync + 'static,
    ) -> Result<SocketAddr, Error> {
        // Whoever looks up need not be on the runtime: a listener of DNS has a thread of its own.
        let _runtime = self.runtime.enter();
        let mut listening = self.locals.lock();
        if let Some(address) = listening.listener(target, host, port) {
            return Ok(address);
        }
        let (listener, address) = listening.bind(target, host, port)?;
        if let Some(tasks) = self.tasks.upgrade() {
            let task = listen::serve(listener, shared.clone(), to);
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
        f.debug_struct("LocalServices").field("names", &self.locals.names()).finish_non_exhaustive()
    }
}
