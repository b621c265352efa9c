//! The bridge: listeners on this host, behind which the mesh is, for clients that accept no connector.
//!
//! libcurl, JDBC, a database driver or an HTTP library with its own sockets cannot be given a [`MeshConnector`].
//! They all know proxies, Unix sockets or addresses, so the bridge offers these, inside of this process:
//!
//! | client | what to give it |
//! |---|---|
//! | reqwest | [`Bridge::reqwest_builder`], or [`Bridge::reqwest_proxy`] (feature `reqwest`) |
//! | libcurl, curl, Python, Go, most HTTP libraries | [`Bridge::socks_url`] or [`Bridge::http_url`] as the proxy |
//! | Java | `socksProxyHost`/`Port` with [`Bridge::proxy_address`], [`Bridge::user`] and [`Bridge::secret`] |
//! | libpq | [`Bridge::listen_postgres`]: `host=DIR port=N` |
//! | what takes a Unix socket | [`Bridge::listen_unix`] |
//! | what takes an address only | [`Bridge::listen_local`] |
//! | what takes a resolver only, and programs that only know DNS | [`Bridge::local_services`] |
//!
//! ```no_run
//! # async fn example(mesh: mesh_connector::Mesh) -> Result<(), mesh_connector::Error> {
//! let bridge = mesh.bridge().start().await?;
//! // curl --proxy "$SOCKS_URL" http://forecast.weather:3002/
//! println!("{}", bridge.socks_url());
//! # Ok(())
//! # }
//! ```
//!
//! # Who may use it
//!
//! Whoever connects through the bridge has this process' identity in the mesh. Loopback is open to every process of
//! the host, so [`Access`] decides: by default only this process' own sockets are served, and nobody else's, however
//! they come. The proxy also serves whoever presents its secret, which is made anew for each bridge: a child process
//! that is handed [`Bridge::socks_url`] can use it, another process cannot.
//!
//! # What a connection sees
//!
//! Bytes are passed on as they come, with the slower side setting the pace; the end of one direction is passed on
//! and leaves the other open; a reset of one side, or a TLS connection that ends without saying so, is a reset of the
//! other. (A Unix socket knows no reset: its reader sees the end of the data.) On ports whose protocol Istio detects,
//! the client's first bytes are looked at, and HTTP is announced as HTTP to the proxies behind: such a connection is
//! accepted before it is made, and what fails then is a reset.
//!
//! # Limits
//!
//! At most 1024 connections at a time; more wait in the listeners' queues. A client has ten seconds to say what it
//! wants. Both can be set with the [`BridgeBuilder`].

mod access;
mod builder;
mod client;
mod http;
mod listen;
mod local;
mod local_socket;
mod names;
mod proxy;
#[cfg(feature = "reqwest")]
mod reqwest;
mod scheme;
mod secret;
mod services;
mod sniff;
mod socks;
mod tunnel;
mod unix;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ::hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::Semaphore, task::JoinSet};

pub use self::{
    access::Access,
    builder::BridgeBuilder,
    local::{LocalNames, LocalPort},
    local_socket::LocalSocket,
    names::LocalServices,
    secret::Secret,
    tunnel::relay,
};
use self::{access::Gate, builder::Settings, client::Listener, local::Locals, unix::SocketFile};
#[cfg(doc)]
use crate::connector::MeshConnector;
use crate::{
    error::{Error, ErrorKind},
    http_client::HttpClient,
    mesh::Mesh,
    target::Target,
};

/// The name that goes with the secret: proxies' clients want one.
const USER: &str = "sidestep";

/// Listeners on this host behind which the mesh is. See the [module](self) for what to give to which client.
///
/// Dropping it ends the listeners, the connections through them, and its hold on the membership.
pub struct Bridge {
    shared: Arc<Shared>,
    proxy: SocketAddr,
    locals: Arc<Locals>,
    files: Mutex<Vec<SocketFile>>,
    tasks: Arc<Mutex<JoinSet<()>>>,
    runtime: Handle,
}

/// What the listeners' tasks need. It does not keep the bridge alive.
pub(crate) struct Shared {
    pub(crate) mesh: Mesh,
    pub(crate) gate: Gate,
    pub(crate) secret: Secret,
    pub(crate) settings: Settings,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) http: HttpClient<Incoming>,
}

impl Bridge {
    /// The address of the proxy, which speaks SOCKS5 and HTTP. Its clients authenticate with [`user`](Self::user) and
    /// [`secret`](Self::secret), unless [`Access`] lets them in without.
    #[must_use]
    pub fn proxy_address(&self) -> SocketAddr {
        self.proxy
    }

    /// The name to authenticate with at the proxy.
    #[must_use]
    pub fn user(&self) -> &'static str {
        USER
    }

    /// The password to authenticate with at the proxy, made anew for each bridge.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.shared.secret
    }

    /// The proxy as a `socks5h://` URL with the secret in it: names are resolved by the mesh, any protocol passes.
    #[must_use]
    pub fn socks_url(&self) -> String {
        format!("socks5h://{USER}:{}@{}", self.secret().reveal(), self.proxy)
    }

    /// The proxy as an `http://` URL with the secret in it: for `http://` URLs in absolute form, and for everything
    /// that a client tunnels with CONNECT.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{USER}:{}@{}", self.secret().reveal(), self.proxy)
    }

    /// Listens on a Unix socket, behind which `target` is. The file belongs to the bridge: it replaces a socket that
    /// nobody listens on any more, and is removed when the bridge ends.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`]: somebody listens there, the path is too long, the folder is not writable.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no listener behind.
    pub async fn listen_unix(&self, path: impl AsRef<Path>, target: &Target) -> Result<(), Error> {
        let (listener, file) = unix::bind(path.as_ref()).await?;
        self.files.lock().push(file);
        self.serve(listener, target);
        Ok(())
    }

    /// Listens on a Unix socket as libpq expects it: `DIR/.s.PGSQL.PORT`, for `host=DIR port=PORT`. `PORT` is the
    /// target's. The path of the socket is returned.
    ///
    /// # Errors
    ///
    /// Those of [`listen_unix`](Self::listen_unix).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no listener behind.
    pub async fn listen_postgres(&self, dir: impl AsRef<Path>, target: &Target) -> Result<PathBuf, Error> {
        let path = dir.as_ref().join(format!(".s.PGSQL.{}", target.port()));
        self.listen_unix(&path, target).await?;
        Ok(path)
    }

    /// Listens on a loopback address of its own, out of 127.64.0.0/10, behind which `target` is. (Linux; elsewhere
    /// those addresses do not exist.)
    ///
    /// A host has one address for the life of the bridge, and a listener is never closed before the bridge ends, so
    /// that a client may cache what it was told. Asking again for the same target and port is answered with the same
    /// listener.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`]: with [`LocalPort::Real`], another socket of this host has the port on all addresses; the
    /// message says what to do.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no listener behind.
    pub async fn listen_local(&self, target: &Target, port: LocalPort) -> Result<SocketAddr, Error> {
        let canonical = self.canonical(target);
        let mut locals = self.locals.lock();
        if let Some(address) = locals.listener(target, &canonical, port) {
            return Ok(address);
        }
        let (listener, address) = locals.bind(target, &canonical, port)?;
        self.serve(listener, target);
        Ok(address)
    }

    /// Where clients reach `target` that take the port together with the address: a loopback address of its own and a port
    /// that the system chose, as [`listen_local`](Self::listen_local) gives them. `None`: it is not in the mesh, and its own
    /// addresses lead there. For what stands in for the system's lookup.
    ///
    /// # Errors
    ///
    /// Those of [`Mesh::connect`] about the service, such as [`ErrorKind::UnknownPort`], and those of
    /// [`listen_local`](Self::listen_local). It waits for istiod's clusters as a connection does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn local_address(&self, target: &Target) -> Result<Option<SocketAddr>, Error> {
        if !services::is_in_mesh(&self.shared.mesh, target).await? {
            return Ok(None);
        }
        self.listen_local(target, LocalPort::Any).await.map(Some)
    }

    /// The loopback addresses that [`listen_local`](Self::listen_local) has given to names so far: for a resolver that
    /// answers with them.
    #[must_use]
    pub fn local_names(&self) -> LocalNames {
        self.locals.names()
    }

    /// Loopback addresses for every service of the mesh, made when they are asked for: for resolvers, and so for programs
    /// that take nothing else. It waits for istiod's clusters, which say which ports a service has.
    ///
    /// # Errors
    ///
    /// Those of [`Mesh::connect`], as far as they are about istiod.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn local_services(&self) -> Result<LocalServices, Error> {
        services::wait_for_clusters(&self.shared.mesh).await?;
        Ok(LocalServices {
            shared: Arc::downgrade(&self.shared),
            locals: self.locals.clone(),
            tasks: Arc::downgrade(&self.tasks),
            runtime: self.runtime.clone(),
        })
    }

    /// How many connections are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.settings.max_connections - self.shared.slots.available_permits()
    }

    /// Ends the listeners and the connections, and waits until they have ended.
    pub async fn shutdown(self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
    }

    fn canonical(&self, target: &Target) -> String {
        let host = target.host().to_string();
        self.shared.mesh.resolver().canonical_name(&host).unwrap_or(host)
    }

    fn serve<L: Listener>(&self, listener: L, target: &Target) {
        let target = target.clone();
        let to = move |client, shared| listen::to(client, shared, target.clone());
        let task = listen::serve(listener, self.shared.clone(), to);
        self.tasks.lock().spawn_on(task, &self.runtime);
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("proxy", &self.proxy)
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

/// A listener that did not come about.
fn cannot_listen(what: impl fmt::Display, next: &str, error: std::io::Error) -> Error {
    Error::with_source(ErrorKind::Listen, format!("cannot listen on {what}: {next}"), error)
}

const _: fn() = || {
    fn shareable<T: Send + Sync + 'static>() {}
    shareable::<Bridge>();
};
