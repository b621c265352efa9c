//! The connections of one identity, kept for as long as their clusters say.

use std::{collections::HashMap, error::Error as StdError, time::Duration};

use http::Request;
use http_body::Body;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use nds_client::ConnectionLife;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::{connection::ConnectionInfo, connector::MeshConnector, target::Protocol};

/// How long a connection without a request is kept, where its cluster does not say.
const IDLE: Duration = Duration::from_secs(90);

pub(super) struct Pool<B> {
    connector: MeshConnector,
    max_idle_per_host: usize,
    epoch: Option<u64>,
    /// By how long they keep a connection without a request; `None`: for ever. Nearly always there is one.
    clients: Mutex<HashMap<Option<Duration>, Client<MeshConnector, B>>>,
    /// Connections that have to end at some time, whatever they are used for.
    limited: Mutex<Vec<Limited>>,
}

struct Limited {
    until: Instant,
    connection: CaptureConnection,
}

/// What a request needs to know of its connection in the end.
pub(super) struct Use {
    life: ConnectionLife,
    connection: CaptureConnection,
}

impl<B> Pool<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    pub(super) fn new(connector: MeshConnector, max_idle_per_host: usize) -> Self {
        let epoch = connector.identity_epoch();
        Self { connector, max_idle_per_host, epoch, clients: Mutex::default(), limited: Mutex::default() }
    }

    /// Whether the identity is still the one of these connections.
    pub(super) fn is_current(&self) -> bool {
        self.epoch == self.connector.identity_epoch()
    }

    /// The client whose connections are kept so long.
    pub(super) fn client(&self, life: ConnectionLife) -> Client<MeshConnector, B> {
        let idle = match life.idle_timeout {
            Some(Duration::ZERO) => None,
            said => Some(said.unwrap_or(IDLE)),
        };
        let idle = idle.into_iter().chain(life.max_duration).min();
        let fresh = || {
            Client::builder(TokioExecutor::new())
                .http2_only(self.connector.protocol() == Protocol::Http2)
                .pool_max_idle_per_host(self.max_idle_per_host)
                .pool_idle_timeout(idle)
                .pool_timer(TokioTimer::new())
                .build(self.connector.clone())
        };
        lock(&self.clients).entry(idle).or_insert_with(fresh).clone()
    }

    /// Before a request: connections whose time is over serve no other. `None` where nothing limits its connection.
    pub(super) fn begin(&self, life: ConnectionLife, request: &mut Request<B>) -> Option<Use> {
        if life.max_duration.is_none() && life.max_requests.is_none() {
            return None;
        }
        let now = Instant::now();
        lock(&self.limited).retain(|limited| {
            let over = limited.until <= now;
            if over {
                serve_no_other(&limited.connection);
            }
            !over
        });
        Some(Use { life, connection: capture_connection(request) })
    }

    /// After its response: the last request that its connection may carry was the last.
    pub(super) fn end(&self, used: Use, connection: &ConnectionInfo) {
        let requests = connection.count_request();
        if used.life.max_requests.is_some_and(|most| requests >= most) {
            serve_no_other(&used.connection);
        } else if requests == 1
            && let Some(until) = used.life.max_duration.and_then(|time| connection.since().checked_add(time))
        {
            lock(&self.limited).push(Limited { until, connection: used.connection });
        }
    }
}

/// Takes a connection out of its pool; it ends with the requests on it.
fn serve_no_other(connection: &CaptureConnection) {
    if let Some(connected) = &*connection.connection_metadata() {
        connected.poison();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
