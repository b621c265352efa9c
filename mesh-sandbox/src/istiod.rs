//! istiod: the CA and ADS on one TLS port, and the debounce between a change and its push.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::error::Result;
use crate::events::{AdsConnection, Events};
use crate::listen;
use crate::pki::{Authority, TokenIssuer};
use crate::tasks::TaskGroup;

pub(crate) mod ads;
pub(crate) mod authenticate;
pub(crate) mod ca;
pub(crate) mod changes;
pub(crate) mod push;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod snapshot;
pub(crate) mod subscription;

pub(crate) use push::Pushes;
pub(crate) use snapshot::Snapshot;

/// The lifetime of a certificate whose request contains no lifetime, and the maximum lifetime (istio
/// `security/pkg/server/ca/server.go`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct TtlPolicy {
    pub(crate) default: Duration,
    pub(crate) max: Duration,
}

/// The age at which istiod sends a GOAWAY on a connection, and the grace period after which istiod closes the
/// connection (istio `pkg/keepalive/options.go`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct AgeLimit {
    pub(crate) age: Duration,
    pub(crate) grace: Duration,
}

/// The state that the services of istiod share. This state survives a crash of istiod, like the state of a Kubernetes
/// cluster.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) authority: Arc<Authority>,
    pub(crate) tokens: TokenIssuer,
    pub(crate) events: Events,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) connections: Mutex<HashMap<u64, AdsConnection>>,
    pub(crate) ttl: TtlPolicy,
    pub(crate) age: Option<AgeLimit>,
    /// An additional delay of every response, as a fault for tests.
    pub(crate) delay: Mutex<Duration>,
    /// The DNS names in the certificate of istiod.
    pub(crate) names: Vec<String>,
}

/// The istiod process. It can be stopped, can crash, and can run again on the same port.
#[derive(Debug)]
pub(crate) struct Istiod {
    runtime: Handle,
    shared: Arc<Shared>,
    address: SocketAddr,
    process: Arc<Process>,
}

impl Drop for Istiod {
    fn drop(&mut self) {
        self.process.crash();
    }
}

/// The tasks of the running istiod. The value is `None` while istiod does not run.
#[derive(Debug, Default)]
pub(crate) struct Process(Mutex<Option<Arc<TaskGroup>>>);

impl Process {
    /// Ends istiod as a crash does: all connections break, and the port refuses connections.
    pub(crate) fn crash(&self) {
        if let Some(tasks) = self.0.lock().take() {
            tasks.abort();
        }
    }
}

impl Shared {
    /// Waits for the delay that a test has set.
    pub(crate) async fn wait_for_delay(&self) {
        let delay = *self.delay.lock();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
}

impl Istiod {
    pub(crate) fn start(runtime: &Handle, shared: Arc<Shared>, at: SocketAddr) -> Result<Self> {
        let mut istiod = Self { runtime: runtime.clone(), shared, address: at, process: Arc::default() };
        istiod.address = istiod.run()?;
        Ok(istiod)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Starts istiod after a stop or a crash. Does nothing while istiod runs.
    pub(crate) fn run(&self) -> Result<SocketAddr> {
        let mut process = self.process.0.lock();
        if process.is_some() {
            return Ok(self.address);
        }
        let listener = listen::tcp("istiod", self.address)?;
        let address = listen::address(&listener)?;
        let server = server::Server::new(self.shared.clone(), self.process.clone())?;
        let tasks = Arc::new(TaskGroup::new(&self.runtime));
        tasks.spawn(server.serve(listener, TaskGroup::new(&self.runtime)));
        *process = Some(tasks);
        Ok(address)
    }

    /// Stops istiod abruptly, as when its pod is deleted.
    pub(crate) async fn stop(&self) {
        let tasks = self.process.0.lock().take();
        if let Some(tasks) = tasks {
            tasks.close().await;
        }
    }
}
