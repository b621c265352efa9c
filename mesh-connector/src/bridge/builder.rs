//! Starting a bridge with settings.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{net::TcpListener, runtime::Handle, sync::Semaphore, task::JoinSet};

use super::{
    Access, Bridge, Shared, access::Gate, cannot_listen, listen, local::Locals, proxy, secret::Secret,
};
use crate::{error::Error, http_client::HttpClient, mesh::Mesh};

/// Starts a [`Bridge`] with other settings than the defaults.
///
/// # Defaults
///
/// Only this process' own sockets are served, and whoever knows the proxy's secret; at most 1024 connections, and 1024
/// listeners at loopback addresses; ten
/// seconds for a client to say what it wants; 100 ms for the first bytes that tell a protocol.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it starts"]
pub struct BridgeBuilder {
    mesh: Mesh,
    settings: Settings,
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
    /// Starts listeners on this host behind which the mesh is, for clients that accept no connector.
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
        Self { mesh, settings }
    }

    /// Whose connections are served.
    pub fn with_access(mut self, access: Access) -> Self {
        self.settings.access = access;
        self
    }

    /// How many connections are served at a time, over all listeners, beside one that each listener keeps waiting.
    /// More wait in the listeners' queues, not in this process.
    pub fn with_max_connections(mut self, max: usize) -> Self {
        self.settings.max_connections = max.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How many ports of services are listened on at loopback addresses. Such listeners are never closed before the bridge
    /// ends, because clients keep addresses.
    pub fn with_max_local_listeners(mut self, max: usize) -> Self {
        self.settings.max_local_listeners = max;
        self
    }

    /// How long a client of the proxy may take to say where it wants to go, and a client of HTTP for each request's
    /// head.
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake_timeout = timeout;
        self
    }

    /// How long the first bytes of a client are waited for where Istio would detect the protocol from them. Clients
    /// that let the server speak first lose this much.
    pub fn with_detection_timeout(mut self, timeout: Duration) -> Self {
        self.settings.detection_timeout = timeout;
        self
    }

    /// Starts the proxy on a port of loopback that the system chooses. Unix sockets and loopback addresses are added
    /// to the bridge afterwards.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Listen`](crate::ErrorKind::Listen): no port, or a system that cannot say whose a connection is;
    /// [`ErrorKind::Credentials`](crate::ErrorKind::Credentials): no identity yet, from whose crypto provider the
    /// secret would come.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no listener behind.
    pub async fn start(self) -> Result<Bridge, Error> {
        let gate = Gate::new(self.settings.access)?;
        let secret = Secret::new(&self.mesh)?;
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = match TcpListener::bind(any_port).await {
            Ok(listener) => listener.local_addr().map(|proxy| (listener, proxy)),
            Err(error) => Err(error),
        };
        let (listener, proxy) =
            bound.map_err(|error| cannot_listen(any_port, "the proxy needs a port of loopback", error))?;
        let shared = Arc::new(Shared {
            http: HttpClient::new(self.mesh.connector()),
            mesh: self.mesh,
            gate,
            secret,
            slots: Arc::new(Semaphore::new(self.settings.max_connections)),
            settings: self.settings,
        });
        let mut tasks = JoinSet::new();
        let proxied = |client, shared: Arc<Shared>| async move { proxy::serve(client, &shared).await };
        tasks.spawn(listen::serve(listener, shared.clone(), proxied));
        let locals = Arc::new(Locals::new(self.settings.max_local_listeners));
        let (files, tasks) = (Mutex::default(), Arc::new(Mutex::new(tasks)));
        Ok(Bridge { shared, proxy, locals, files, tasks, runtime: Handle::current() })
    }
}
