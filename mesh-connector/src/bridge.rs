//! The bridge: local proxies, Unix sockets and loopback listeners for clients that accept no connector.
//!
//! libcurl, JDBC, database drivers and HTTP libraries that open their own sockets cannot use a [`MeshConnector`]. But
//! they support proxies, Unix sockets or plain addresses, which the bridge provides inside this process:
//!
//! | client | configuration |
//! |---|---|
//! | reqwest | [`Bridge::reqwest_builder`], or [`Bridge::reqwest_proxy`] (feature `reqwest`) |
//! | libcurl, curl, Python, Go, most HTTP libraries | [`Bridge::socks_url`] or [`Bridge::http_url`] as the proxy |
//! | Java | `socksProxyHost`/`Port` from [`Bridge::proxy_address`], [`Bridge::user`] and [`Bridge::secret`] |
//! | libpq | [`Bridge::listen_postgres`]: `host=DIR port=N` |
//! | clients that accept a Unix socket | [`Bridge::listen_unix`] |
//! | clients that accept only an address | [`Bridge::listen_local`] |
//! | clients that accept a resolver, and dial themselves | [`Bridge::resolver`] |
//!
//! ```no_run
//! # async fn example(mesh: mesh_connector::Mesh) -> Result<(), mesh_connector::Error> {
//! let bridge = mesh.bridge().start().await?;
//! // The URL contains the secret of the proxy. Other users can read command lines, but not the environment.
//! let mut curl = std::process::Command::new("curl");
//! curl.arg("http://forecast.weather:3002/").env("ALL_PROXY", bridge.socks_url());
//! # Ok(())
//! # }
//! ```
//!
//! # Access control
//!
//! Connections through the bridge use the identity of this process. Every process of the host can connect to loopback,
//! so [`Access`] restricts the clients. By default the bridge accepts only sockets of this process. The proxy also
//! accepts clients that present its secret, a random password that is new for each bridge: a child process that
//! receives [`Bridge::socks_url`] in its environment can use the proxy, other processes cannot.
//!
//! The kernel identifies the owner of a connection when the bridge accepts it. The bridge closes connections of other
//! users immediately, except connections to the proxy: those clients have two seconds to present the secret, and at
//! most 32 of them can be connected at a time before they authenticate.
//!
//! If a client requests a target whose address is a listener of the bridge itself, the bridge refuses the connection
//! (HTTP status 508), because it would connect to itself in a loop.
//!
//! # Connections
//!
//! The bridge relays bytes with backpressure. The end of one direction leaves the other direction open. If the client
//! or the service resets its connection, or a TLS connection ends without close_notify, the bridge resets the other
//! connection. (A Unix socket has no reset: its reader sees the end of the data.) If Istio detects the protocol of a
//! port, the bridge reads the first bytes of the client, and offers the ALPN protocols of HTTP if the bytes are HTTP.
//! It accepts such a client before it connects to the service, so the client sees a failed connection as a reset.
//!
//! # Limits
//!
//! The bridge serves at most 1024 connections at a time, and uses at most half of the file descriptors that the process
//! can still open; further connections wait in the listen queues. A client has ten seconds to complete the proxy
//! handshake. [`BridgeBuilder`] changes these limits.

mod access;
mod admission;
mod builder;
mod client;
mod dns_clients;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod listen;
mod listening;
mod local_listeners;
mod local_names;
mod local_services;
mod local_socket;
mod own_listeners;
mod protocol_detection;
mod proxy;
#[cfg(feature = "reqwest")]
mod reqwest;
mod scheme;
mod secret;
mod services;
mod slots;
#[cfg(target_os = "linux")]
mod socket_diagnostics;
mod socks;
mod tunnel;
mod unix;
mod warnings;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ::hyper::body::Incoming;
use mesh_resolver::MeshResolver;
use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinSet, time::timeout};

pub use self::{
    access::Access, builder::BridgeBuilder, local_listeners::LocalPort, local_names::LocalNames,
    local_services::LocalServices, local_socket::LocalSocket, secret::Secret, tunnel::relay,
};
use self::{
    access::AccessControl,
    builder::Settings,
    client::Listener,
    listening::Listening,
    own_listeners::OwnListeners,
    slots::{Guests, Slots},
    unix::SocketFile,
    warnings::Warnings,
};
#[cfg(doc)]
use crate::connector::MeshConnector;
use crate::{
    error::{Error, ErrorKind},
    http_client::HttpClient,
    mesh::Mesh,
    target::Target,
};

/// The user name for proxy authentication. Proxy protocols require a user name in addition to the password.
const USER: &str = "sidestep";

/// The time for which [`Bridge::shutdown`] waits for the tasks of the bridge.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Local proxies, Unix sockets and loopback listeners for one mesh. The documentation of the [module](self) lists which
/// one each kind of client can use.
///
/// Dropping the bridge closes the listeners and the connections through them, and releases its handle to the mesh.
pub struct Bridge {
    state: Arc<BridgeState>,
    proxy: SocketAddr,
    local: Arc<local_services::Shared>,
    /// Whether a task opens listeners for the ports that istiod adds.
    following: AtomicBool,
    files: Mutex<Vec<SocketFile>>,
    tasks: Arc<Mutex<JoinSet<()>>>,
    runtime: Handle,
}

/// The state that the tasks of the listeners share. A reference to this state does not keep the bridge alive.
pub(crate) struct BridgeState {
    pub(crate) mesh: Mesh,
    pub(crate) access_control: AccessControl,
    pub(crate) secret: Secret,
    pub(crate) settings: Settings,
    pub(crate) slots: Arc<Slots>,
    pub(crate) guests: Arc<Guests>,
    pub(crate) own_listeners: Arc<OwnListeners>,
    pub(crate) warnings: Warnings,
    pub(crate) http: HttpClient<Incoming>,
}

impl Bridge {
    /// Returns the address of the proxy, which speaks SOCKS5 and HTTP. Clients authenticate with [`user`](Self::user)
    /// and [`secret`](Self::secret), unless [`Access`] accepts them without authentication.
    #[must_use]
    pub fn proxy_address(&self) -> SocketAddr {
        self.proxy
    }

    /// Returns the user name for proxy authentication.
    #[must_use]
    pub fn user(&self) -> &'static str {
        USER
    }

    /// Returns the password for proxy authentication. It is new for each bridge.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.state.secret
    }

    /// Returns the URL of the SOCKS5 proxy (`socks5h://`), including the secret. The client sends host names to the
    /// bridge, which resolves them in the mesh. The proxy forwards connections of any protocol.
    #[must_use]
    pub fn socks_url(&self) -> String {
        format!("socks5h://{USER}:{}@{}", self.secret().reveal(), self.proxy)
    }

    /// Returns the URL of the HTTP proxy (`http://`), including the secret. The proxy forwards requests for `http://`
    /// URLs in absolute form, and opens tunnels with CONNECT.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{USER}:{}@{}", self.secret().reveal(), self.proxy)
    }

    /// Listens on a Unix socket and forwards its connections to `target`. If `path` is the file of a socket on which no
    /// program listens, the bridge replaces the file. The bridge removes the file when it ends.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`]: the socket is in use, the path is too long, or the directory is not writable.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no listener.
    pub async fn listen_unix(&self, path: impl AsRef<Path>, target: &Target) -> Result<(), Error> {
        let (listener, file) = unix::bind(path.as_ref()).await?;
        self.files.lock().push(file);
        self.serve(listener, target);
        Ok(())
    }

    /// Listens on a Unix socket with the name that libpq expects for `host=DIR port=PORT`: `DIR/.s.PGSQL.PORT`. `PORT`
    /// is the port of the target. Returns the path of the socket.
    ///
    /// # Errors
    ///
    /// The errors of [`listen_unix`](Self::listen_unix).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no listener.
    pub async fn listen_postgres(&self, dir: impl AsRef<Path>, target: &Target) -> Result<PathBuf, Error> {
        let path = dir.as_ref().join(format!(".s.PGSQL.{}", target.port()));
        self.listen_unix(&path, target).await?;
        Ok(path)
    }

    /// Listens on a loopback address in 127.64.0.0/10 and forwards its connections to `target`. This works only on
    /// Linux, where all of 127.0.0.0/8 is local.
    ///
    /// The listener stays open until the bridge ends, so clients can cache the address. A further call with the same
    /// target and port returns the address of the same listener. The bridge does not listen on other ports of the
    /// address, and another program may answer there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`]: the kernel cannot identify the clients of a loopback listener, or the listener cannot be
    /// opened, for instance if `port` is [`LocalPort::Real`] and another program listens on the same port of all
    /// addresses (0.0.0.0 or \[::\]). The message contains the next step.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no listener.
    pub async fn listen_local(&self, target: &Target, port: LocalPort) -> Result<SocketAddr, Error> {
        self.check_loopback_clients()?;
        let canonical = self.canonical(target);
        let behind = target.clone();
        let to = move |client, state| listen::to(client, state, behind.clone());
        let bind = |address| Listening::open(address, &self.state, &self.tasks, &self.runtime, to);
        self.local.listeners.lock().fixed(target, &canonical, port, Instant::now(), bind)
    }

    /// Returns the address and port on which the bridge listens for `target`: a loopback address and a port that the
    /// system chooses, as with [`listen_local`](Self::listen_local) and [`LocalPort::Any`]. `None` if the target is
    /// outside the mesh: the client can then connect to the addresses from DNS. This replaces getaddrinfo for clients
    /// that accept a port with each address.
    ///
    /// # Errors
    ///
    /// The errors of [`Mesh::connect`] about the service, such as [`ErrorKind::UnknownPort`], and those of
    /// [`listen_local`](Self::listen_local). The call waits until istiod has sent its clusters, at most for the connect
    /// deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn local_address(&self, target: &Target) -> Result<Option<SocketAddr>, Error> {
        if !services::is_in_mesh(&self.state.mesh, target).await? {
            return Ok(None);
        }
        self.listen_local(target, LocalPort::Any).await.map(Some)
    }

    /// Returns the loopback addresses that [`listen_local`](Self::listen_local) and lookups have assigned to names so far.
    #[must_use]
    pub fn local_names(&self) -> LocalNames {
        self.local.listeners.names()
    }

    /// Returns an object that assigns loopback addresses to the services of the mesh on demand, for resolvers. The call
    /// waits until istiod has sent its clusters, which contain the ports of each service.
    ///
    /// # Errors
    ///
    /// The errors of [`Mesh::connect`] about istiod, such as [`ErrorKind::ControlPlane`]. [`ErrorKind::Listen`]: the
    /// kernel cannot identify the clients of a loopback listener.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn local_services(&self) -> Result<LocalServices, Error> {
        self.check_loopback_clients()?;
        services::wait_for_clusters(&self.state.mesh).await?;
        let services = LocalServices {
            state: Arc::downgrade(&self.state),
            shared: self.local.clone(),
            tasks: Arc::downgrade(&self.tasks),
            runtime: self.runtime.clone(),
        };
        if let Some(clusters) = self.state.mesh.membership().clusters.watch()
            && !self.following.swap(true, Relaxed)
        {
            self.tasks.lock().spawn_on(services.clone().follow(clusters.clone()), &self.runtime);
        }
        Ok(services)
    }

    /// Returns a resolver that answers names of the mesh with loopback addresses on which the bridge listens, and other
    /// names from upstream DNS. It is for clients that resolve and dial by themselves: with these addresses, their
    /// connections go through the mesh. The call waits until istiod has sent its clusters.
    ///
    /// The bridge listens on the service ports of each name, so a client connects to the service port itself. If the
    /// bridge cannot listen on one of the ports, or has ended, the lookup fails: the addresses in the name table would
    /// bypass the mesh, and another program could answer on the port. See [`LocalServices`].
    ///
    /// ```no_run
    /// # async fn example(mesh: mesh_connector::Mesh) -> Result<(), Box<dyn std::error::Error>> {
    /// let bridge = mesh.bridge().start().await?;
    /// let resolver = bridge.resolver().await?;
    /// let ip = resolver.lookup_ip("forecast.weather").await?.addresses()[0];
    /// // The connection to the service uses mesh mTLS.
    /// let stream = tokio::net::TcpStream::connect((ip, 3002)).await?;
    /// # let _ = stream;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`local_services`](Self::local_services); [`ErrorKind::Resolve`] if upstream DNS cannot be set up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn resolver(&self) -> Result<MeshResolver, Error> {
        let services = self.local_services().await?;
        self.state.mesh.membership().dns.resolver_with(services)
    }

    /// Returns the number of open connections of clients to the bridge.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.state.slots.in_use()
    }

    /// Closes the listeners and the connections, and waits until their tasks have ended. The wait takes at most five
    /// seconds. Tasks that have not ended by then are logged as a warning.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listeners and the connections without waiting.
    pub async fn shutdown(self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        if timeout(SHUTDOWN_TIMEOUT, tasks.shutdown()).await.is_err() {
            tracing::warn!("tasks of the bridge did not end within five seconds of its shutdown");
        }
    }

    /// Returns an error if access control would reject all clients of a loopback listener. These clients cannot present
    /// the secret.
    fn check_loopback_clients(&self) -> Result<(), Error> {
        if self.state.access_control.accepts_tcp_without_secret() {
            return Ok(());
        }
        let message = "cannot listen on a loopback address: the system does not identify the owner of a TCP connection, \
                       so every client would be rejected; use the proxy with its secret, a Unix socket, or `Access::Any`";
        Err(Error::new(ErrorKind::Listen, message))
    }

    fn canonical(&self, target: &Target) -> String {
        let host = target.host().to_string();
        self.state.mesh.raw_resolver().canonical_name(&host).unwrap_or(host)
    }

    fn serve<L: Listener>(&self, listener: L, target: &Target) {
        let target = target.clone();
        let to = move |client, state| listen::to(client, state, target.clone());
        let task = listen::serve(listener, self.state.clone(), to);
        self.tasks.lock().spawn_on(task, &self.runtime);
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("proxy", &self.proxy)
            .field("settings", &self.state.settings)
            .finish_non_exhaustive()
    }
}

/// Returns the error for a listener that could not be opened.
fn cannot_listen(what: impl fmt::Display, next: &str, error: std::io::Error) -> Error {
    Error::with_source(ErrorKind::Listen, format!("cannot listen on {what}: {next}"), error)
}

const _: fn() = || {
    fn shareable<T: Send + Sync + 'static>() {}
    shareable::<Bridge>();
};
