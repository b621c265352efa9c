//! Resolves services to loopback addresses on which the bridge listens.

use std::{
    fmt,
    net::{IpAddr, SocketAddr, SocketAddrV4},
    sync::{Arc, Weak},
    time::Instant,
};

#[cfg(feature = "reqwest")]
use mesh_resolver::MeshResolver;
use mesh_resolver::{Asker, LocalAddresses, NoLocalAddress};
use nds_client::{resources::cluster::Clusters, watch::Watch};
use parking_lot::Mutex;
use sidestep_util::warn_limit::WarnLimit;
use tokio::{net::TcpStream, runtime::Handle, task::JoinSet};

use super::{
    BridgeState,
    dns_clients::{DnsClients, Rejection},
    listen,
    listening::Listening,
    local_listeners::{self, LocalListeners, ServicePort},
    scheme::{self, Schemes},
    services,
};
use crate::{
    error::{Error, ErrorKind},
    target::Target,
};

/// Assigns a loopback address to each service of the mesh on its first lookup, and listens there on every port of the
/// service. Cheap to clone; it does not keep the bridge alive.
///
/// The builder of a resolver in mesh-resolver accepts it as [`LocalAddresses`]. A resolver or `DnsListener` with it
/// answers with these addresses, so programs that do not know the mesh reach its services by name and real port.
///
/// # Ports
///
/// A service has an address only if the bridge listens on all of its ports. On any other port, a program that listens
/// on all addresses (0.0.0.0 or `[::]`) would receive the plaintext of the client. If a port cannot be bound, the lookup
/// fails, and the error names the port: another program listens there, or the port is below 1024 and this process lacks
/// CAP_NET_BIND_SERVICE. If this process runs in its own network namespace, neither problem occurs. The proxy and
/// [`Bridge::local_address`](super::Bridge::local_address) do not have this restriction, because the system chooses
/// their ports.
///
/// If istiod adds a port to a service, the bridge listens on it immediately. If the bridge cannot listen on the new
/// port, lookups of the service fail from then on. Ports that istiod removes stay bound, and their clients are reset.
///
/// # Limits
///
/// The listeners use at most a quarter of the file descriptors that the process can open, and at most
/// [`with_max_local_listeners`](super::BridgeBuilder::with_max_local_listeners). At the limit, a service without
/// connections and lookups for five minutes loses its listeners and its address, to make room for a new service. If
/// there is no such service, the lookup of the new service fails. Answers have a TTL of 0. After the bridge has ended,
/// lookups fail, but a client that still has an address may connect to another program: stop such clients first.
///
/// # DNS clients
///
/// A DNS client receives addresses only if it runs as the user of this process, or as a user in
/// [`with_dns_client_user`](super::BridgeBuilder::with_dns_client_user), or if the access is
/// [`Access::Any`](super::Access::Any). Other DNS clients receive REFUSED for mesh names.
///
/// With the feature `reqwest`, this type also implements `reqwest::dns::Resolve`. URLs without a port then work even if
/// the bridge cannot listen on port 80.
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
    pub(super) shared: Arc<Shared>,
    pub(super) tasks: Weak<Tasks>,
    pub(super) runtime: Handle,
}

/// The tasks of a bridge.
type Tasks = Mutex<JoinSet<()>>;

/// The parts that all `LocalServices` of a bridge share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) listeners: LocalListeners,
    pub(super) dns_clients: DnsClients,
    warnings: WarnLimit<Cause>,
}

/// The cause of a warning.
#[derive(Debug, Eq, Hash, PartialEq)]
enum Cause {
    Rejected(Rejection),
    CannotListen(String),
}

impl Shared {
    pub(super) fn new(listeners: LocalListeners, dns_clients: DnsClients) -> Self {
        Self { listeners, dns_clients, warnings: WarnLimit::per_minute() }
    }
}

impl LocalServices {
    /// Returns the state and the tasks of the bridge. Fails after the bridge has ended, even if some of its connections
    /// are still ending.
    fn bridge(&self) -> Result<(Arc<BridgeState>, Arc<Tasks>), Error> {
        let ended =
            || Error::new(ErrorKind::Closed, "the bridge has ended: keep it alive as long as its resolvers");
        Ok((self.state.upgrade().ok_or_else(ended)?, self.tasks.upgrade().ok_or_else(ended)?))
    }

    /// Returns the resolver of the mesh. A client that uses its addresses bypasses the bridge.
    #[cfg(feature = "reqwest")]
    pub(super) fn raw_resolver(&self) -> Result<MeshResolver, Error> {
        Ok(self.bridge()?.0.mesh.raw_resolver().clone())
    }

    /// Returns the loopback address of a service. The bridge listens there on every port of the service.
    pub(super) fn listening(&self, host: &str) -> Result<IpAddr, Error> {
        let ports = self.ports(host)?;
        self.open(host, &numbers(&ports))
    }

    /// Returns the address for a client that resolves URLs. If the service has port 80 or 443, the port of the address
    /// is that of the listener for URLs without a port. If it has neither, the port is 0.
    ///
    /// The client uses the port of the URL if it has one, so the bridge must listen on all ports of the service except
    /// 80: an `http` URL with port 80 is treated as a URL without a port, and for an `https` URL the client sends no
    /// plaintext.
    #[cfg(feature = "reqwest")]
    pub(super) fn for_urls(&self, host: &str) -> Result<SocketAddr, Error> {
        let ports = self.ports(host)?;
        if !ports.contains(&80) && !ports.contains(&443) {
            return Ok(SocketAddr::new(self.open(host, &numbers(&ports))?, 0));
        }
        let mut wanted = numbers(&ports);
        wanted.push(ServicePort::Schemes);
        if self.open(host, &wanted).is_err() {
            wanted.retain(|port| *port != ServicePort::Number(80));
            self.open(host, &wanted)?;
        }
        let address = self.shared.listeners.lock().address(host, ServicePort::Schemes);
        address.ok_or_else(|| Error::new(ErrorKind::Listen, format!("the listener for {host} has ended")))
    }

    /// Returns the address of a listener for URLs without a port, for clients that accept a port with each address. The
    /// listener forwards a client that sends TLS to port 443 of the service, and any other client to port 80. `host` is
    /// the canonical name of the service, as returned by
    /// [`MeshResolver::canonical_name`](mesh_resolver::MeshResolver::canonical_name). `None` if the service has neither
    /// port, if the bridge has ended, or if the bridge cannot listen.
    ///
    /// Do not connect to other ports of this address: the bridge does not necessarily listen there.
    #[must_use]
    pub fn default_port(&self, host: &str) -> Option<SocketAddr> {
        let ports = self.ports(host).ok()?;
        if !ports.contains(&80) && !ports.contains(&443) {
            return None;
        }
        self.open(host, &[ServicePort::Schemes]).ok()?;
        self.shared.listeners.lock().address(host, ServicePort::Schemes)
    }

    /// Returns the ports of a service. Fails if istiod has sent no ports, because the address would then have no
    /// listener.
    fn ports(&self, host: &str) -> Result<Vec<u16>, Error> {
        let ports = services::ports(&self.bridge()?.0.mesh, host);
        if ports.is_empty() {
            let message =
                format!("istiod has sent no TCP port of {host}, so the bridge cannot listen for it");
            return Err(Error::new(ErrorKind::UnknownPort, message));
        }
        Ok(ports)
    }

    /// Opens the listeners of a service that are not open yet, and returns its address.
    fn open(&self, host: &str, ports: &[ServicePort]) -> Result<IpAddr, Error> {
        let (state, tasks) = self.bridge()?;
        let opened = self.shared.listeners.lock().service(host, ports, Instant::now(), |port, address| {
            self.listen(&state, &tasks, host, port, address)
        });
        match opened {
            Ok(ip) => Ok(ip.into()),
            Err(error) => {
                if let Some(count) =
                    self.shared.warnings.occurred(Cause::CannotListen(host.to_owned()), Instant::now())
                {
                    let error = error.report();
                    tracing::warn!(
                        host,
                        error,
                        count,
                        "the bridge cannot listen for a service, so lookups of it fail"
                    );
                }
                Err(error)
            }
        }
    }

    fn listen(
        &self,
        state: &Arc<BridgeState>,
        tasks: &Tasks,
        host: &str,
        port: ServicePort,
        address: SocketAddrV4,
    ) -> Result<Listening, Error> {
        let (opened, target) = match port {
            ServicePort::Number(number) => {
                let target = Target::new(host, number)?;
                let behind = target.clone();
                let to = move |client: TcpStream, state| listen::to(client, state, behind.clone());
                (Listening::open(address, state, tasks, &self.runtime, to), target)
            }
            ServicePort::Schemes => {
                let ports = services::ports(&state.mesh, host);
                let of = |port: u16| ports.contains(&port).then(|| Target::new(host, port)).transpose();
                let schemes = Schemes { http: of(80)?, https: of(443)? };
                let to = move |client, state| scheme::serve(client, state, schemes.clone());
                (Listening::open(address, state, tasks, &self.runtime, to), Target::new(host, 80)?)
            }
        };
        opened.map_err(|error| local_listeners::refused(address, &target, error))
    }

    /// Opens listeners for the ports that istiod has added to the services that have an address.
    fn open_new_ports(&self) -> Result<(), Error> {
        let (state, _) = self.bridge()?;
        let hosts = self.shared.listeners.lock().hosts();
        for host in hosts {
            let ports = services::ports(&state.mesh, &host);
            // The failure is logged and remembered for the next lookup.
            let _ = self.open(&host, &numbers(&ports));
        }
        Ok(())
    }

    /// Opens listeners for new ports whenever istiod changes the clusters, until the bridge ends. A client may connect
    /// to a new port without another lookup.
    pub(super) async fn follow(self, mut clusters: Watch<Option<Arc<Clusters>>>) {
        while clusters.changed().await && self.open_new_ports().is_ok() {}
    }
}

fn numbers(ports: &[u16]) -> Vec<ServicePort> {
    ports.iter().copied().map(ServicePort::Number).collect()
}

impl LocalAddresses for LocalServices {
    fn address(&self, host: &str, asker: Asker) -> Result<Option<IpAddr>, NoLocalAddress> {
        if let Err(rejection) = self.shared.dns_clients.check(asker) {
            if let Some(count) = self.shared.warnings.occurred(Cause::Rejected(rejection), Instant::now()) {
                tracing::warn!(host, count, "a DNS query for a mesh name was refused: {rejection}");
            }
            return Err(NoLocalAddress::refused(rejection.to_string()));
        }
        self.listening(host).map(Some).map_err(|error| NoLocalAddress::unavailable(error.report()))
    }
}

impl fmt::Debug for LocalServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalServices").field("names", &self.shared.listeners.names()).finish_non_exhaustive()
    }
}
