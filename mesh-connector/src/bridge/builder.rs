//! The builder of a bridge.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Handle,
    task::JoinSet,
};

#[cfg(doc)]
use super::LocalServices;
use super::{
    Access, Bridge, BridgeState,
    access::AccessControl,
    cannot_listen,
    dns_clients::DnsClients,
    listen::{self, Clients},
    local_listeners::LocalListeners,
    local_services,
    own_listeners::OwnListeners,
    proxy,
    secret::Secret,
    slots::{Guests, Slots},
    warnings::Warnings,
};
use crate::{error::Error, http_client::HttpClient, mesh::Mesh};

/// The maximum number of clients of other users that have not authenticated yet.
const MAX_GUESTS: usize = 32;

/// The maximum number of clients that have not authenticated yet, if the kernel cannot identify clients. It is higher,
/// because clients of this process are then counted too.
const MAX_UNIDENTIFIED_GUESTS: usize = 256;

/// The length of the listen queue of the proxy. The queue of `TcpListener::bind` overflows in a burst of connections,
/// and an overflow delays clients by a second.
const BACKLOG: u32 = 1024;

/// Starts a [`Bridge`] with settings other than the defaults.
///
/// # Defaults
///
/// The bridge accepts sockets of this process and clients with the proxy secret; at most 1024 connections and 1024
/// loopback listeners; ten seconds for the proxy handshake; 100 ms for protocol detection. The connections use at most
/// half of the file descriptors that the process can still open.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it starts"]
pub struct BridgeBuilder {
    mesh: Mesh,
    settings: Settings,
    dns_client_users: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) access: Access,
    pub(crate) max_connections: usize,
    pub(crate) max_local_listeners: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) detection_timeout: Duration,
}

impl Mesh {
    /// Returns a builder for a bridge: local proxies, Unix sockets and loopback listeners for clients that accept no
    /// connector.
    pub fn bridge(&self) -> BridgeBuilder {
        BridgeBuilder::new(self.clone())
    }
}

impl BridgeBuilder {
    fn new(mesh: Mesh) -> Self {
        let settings = Settings {
            access: Access::default(),
            max_connections: 1024,
            max_local_listeners: 1024,
            handshake_timeout: Duration::from_secs(10),
            detection_timeout: Duration::from_millis(100),
        };
        Self { mesh, settings, dns_client_users: Vec::new() }
    }

    /// Sets which clients the bridge accepts without the secret.
    pub fn with_access(mut self, access: Access) -> Self {
        self.settings.access = access;
        self
    }

    /// Sets the maximum number of simultaneous connections of all listeners together. The connections also use at most
    /// half of the file descriptors that the process can still open (`RLIMIT_NOFILE`); each needs two. At the maximum,
    /// each listener accepts one more connection, which waits. Further connections wait in the listen queues.
    pub fn with_max_connections(mut self, max: usize) -> Self {
        self.settings.max_connections = max.max(1);
        self
    }

    /// Also answers DNS queries of the user with this ID with loopback addresses ([`LocalServices`]). An example is the
    /// user `systemd-resolve`, which runs a local DNS cache. By default only the user of this process receives them.
    /// The connections to these addresses are subject to [`with_access`](Self::with_access).
    ///
    /// Every user of the host can query a local DNS cache, and so make the bridge open listeners up to its limit.
    pub fn with_dns_client_user(mut self, uid: u32) -> Self {
        self.dns_client_users.push(uid);
        self
    }

    /// Sets the maximum number of loopback listeners. They also use at most a quarter of the file descriptors that the
    /// process can open (`RLIMIT_NOFILE`). A service needs one listener per port. Listeners stay open until the bridge
    /// ends, because clients cache their addresses; at the maximum, the bridge closes the listeners of a service that
    /// has been idle for five minutes if another service needs listeners.
    pub fn with_max_local_listeners(mut self, max: usize) -> Self {
        self.settings.max_local_listeners = max;
        self
    }

    /// Sets the time limit for a SOCKS5 handshake, and for the head of each HTTP request to the proxy. Clients of other
    /// users have at most two seconds to authenticate.
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake_timeout = timeout;
        self
    }

    /// Sets the time for which the bridge waits for the first bytes of a client if Istio detects the protocol of the
    /// port. Clients of protocols in which the server sends first are delayed by this time.
    pub fn with_detection_timeout(mut self, timeout: Duration) -> Self {
        self.settings.detection_timeout = timeout;
        self
    }

    /// Starts the proxy on a loopback port that the system chooses. Unix sockets and loopback listeners are added to
    /// the bridge afterwards.
    ///
    /// If the kernel cannot identify the owner of a TCP connection (a sandbox such as gVisor, or a seccomp policy), the
    /// bridge logs a warning, and TCP clients need the secret unless the access is [`Access::Any`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`](crate::ErrorKind::Listen): no port is free;
    /// [`ErrorKind::Credentials`](crate::ErrorKind::Credentials): the mesh has no identity yet; the crypto provider of
    /// the identity generates the secret.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no listener.
    pub async fn start(self) -> Result<Bridge, Error> {
        let access_control = AccessControl::new(self.settings.access);
        let secret = Secret::new(&self.mesh)?;
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (listener, proxy) = bind(any_port)
            .map_err(|error| cannot_listen(any_port, "the proxy needs a free loopback port", error))?;
        let identifies_clients = access_control.accepts_tcp_without_secret();
        let max_guests = if identifies_clients { MAX_GUESTS } else { MAX_UNIDENTIFIED_GUESTS };
        let state = Arc::new(BridgeState {
            http: HttpClient::new(self.mesh.connector()),
            mesh: self.mesh,
            access_control,
            secret,
            slots: Arc::new(Slots::new(self.settings.max_connections)),
            guests: Arc::new(Guests::new(max_guests)),
            own_listeners: Arc::new(OwnListeners::default()),
            warnings: Warnings::new(),
            settings: self.settings,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(listen::accept(listener, state.clone(), Clients::Authenticated, proxy::serve));
        let dns_clients = DnsClients::new(self.settings.access, &self.dns_client_users);
        let local_listeners = LocalListeners::new(self.settings.max_local_listeners);
        let local = Arc::new(local_services::Shared::new(local_listeners, dns_clients));
        let (files, tasks) = (Mutex::default(), Arc::new(Mutex::new(tasks)));
        Ok(Bridge {
            state,
            proxy,
            local,
            following: AtomicBool::new(false),
            files,
            tasks,
            runtime: Handle::current(),
        })
    }
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
