//! A DNS client with a cache: answers a query from the cache, joins an equal pending query, or queries the servers.

use std::{
    collections::HashMap,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Either, Shared, WeakShared, select},
};
use parking_lot::Mutex;
use sidestep_util::suspension::Suspension;
use tokio::{
    task::JoinSet,
    time::{self, sleep},
};

use super::{
    cache::{Cache, CacheLookup},
    exchange::{Exchange, Transport},
    failure::NoAnswer,
    observe,
};
use crate::dns::{
    header::{is_failure, is_truncated},
    question::{self, Question},
};

/// Queries the servers and caches their answers.
pub(crate) struct UpstreamClient {
    inner: Arc<ClientInner>,
    /// Queries that refresh the cache and that no caller waits for. They are aborted with the client.
    refreshing: Mutex<JoinSet<()>>,
}

struct ClientInner {
    exchange: Exchange,
    cache: Cache,
    in_flight: Mutex<HashMap<QueryKey, WeakShared<PendingAnswer>>>,
    suspension: Suspension,
}

/// The key of a pending query. Equal queries share one answer. The maximum UDP size is part of the key.
type QueryKey = (Question, Transport, usize);

type PendingAnswer = BoxFuture<'static, Result<Arc<[u8]>, NoAnswer>>;

/// An answer from upstream DNS.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) message: Vec<u8>,
    /// The time since the TTL of a stale answer expired; `None` for an answer that is not stale.
    pub(crate) stale: Option<Duration>,
}

/// The time after which a stale answer is returned (RFC 8767 §5, client response timer).
const CLIENT_RESPONSE_TIMER: Duration = Duration::from_millis(1800);

/// The maximum number of simultaneous refreshes.
const MAX_REFRESHES: usize = 256;

impl UpstreamClient {
    pub(super) fn new(exchange: Exchange, stale: Duration) -> Self {
        let inner = ClientInner {
            exchange,
            cache: Cache::new(stale),
            in_flight: Mutex::default(),
            suspension: Suspension::start(),
        };
        Self { inner: Arc::new(inner), refreshing: Mutex::default() }
    }

    /// Returns the answer to a message with one question, with the message's ID. A failure response such as SERVFAIL
    /// is returned only if no server has a better answer and the cache has none.
    pub(crate) async fn query(&self, message: &[u8], transport: Transport) -> Result<Response, NoAnswer> {
        let Some(question) = Question::from_message(message) else {
            let message = self.inner.exchange.query(message, transport).await?;
            return Ok(Response { message, stale: None });
        };
        let respond = |mut answer: Vec<u8>, stale| {
            question::copy_question(&mut answer, message);
            Ok(Response { message: answer, stale })
        };
        match self.inner.cache.get(&question, self.inner.now()) {
            CacheLookup::Fresh(answer) => {
                observe::cached("fresh");
                respond(answer, None)
            }
            CacheLookup::Stale { answer, age, refresh } => {
                if refresh {
                    let pending = self.refresh(self.join_or_start(question, message, transport)).await;
                    if let Some(answer) = pending {
                        return respond(answer.to_vec(), None);
                    }
                }
                observe::cached("stale");
                respond(answer, Some(age))
            }
            CacheLookup::Miss => {
                let answer = self.join_or_start(question, message, transport).await?;
                respond(answer.to_vec(), None)
            }
        }
    }

    /// Queries over UDP and, if the answer is truncated, over TCP.
    pub(crate) async fn query_with_tcp_fallback(&self, message: &[u8]) -> Result<Response, NoAnswer> {
        let answer = self.query(message, Transport::Udp).await?;
        match is_truncated(&answer.message) {
            true => self.query(message, Transport::Tcp).await,
            false => Ok(answer),
        }
    }

    /// Returns the pending query for an equal question, or starts one.
    fn join_or_start(
        &self,
        question: Question,
        message: &[u8],
        transport: Transport,
    ) -> Shared<PendingAnswer> {
        let key = (question, transport, question::udp_size(message));
        let mut in_flight = self.inner.in_flight.lock();
        if let Some(shared) = in_flight.get(&key).and_then(WeakShared::upgrade) {
            return shared;
        }
        let pending = ClientInner::query(self.inner.clone(), key.clone(), message.to_vec()).boxed().shared();
        in_flight.extend(pending.downgrade().map(|weak| (key, weak)));
        pending
    }

    /// Returns the answer of the pending query if it succeeds in time. A later answer only updates the cache.
    async fn refresh(&self, pending: Shared<PendingAnswer>) -> Option<Arc<[u8]>> {
        self.spawn_refresh(pending.clone());
        match select(pending, pin!(sleep(CLIENT_RESPONSE_TIMER))).await {
            Either::Left((answer, _)) => answer.ok().filter(|answer| !is_failure(answer)),
            Either::Right(_) => None,
        }
    }

    fn spawn_refresh(&self, pending: Shared<PendingAnswer>) {
        let mut refreshing = self.refreshing.lock();
        while refreshing.try_join_next().is_some() {}
        if refreshing.len() < MAX_REFRESHES {
            refreshing.spawn(pending.map(drop));
        }
    }
}

impl ClientInner {
    async fn query(inner: Arc<Self>, key: QueryKey, message: Vec<u8>) -> Result<Arc<[u8]>, NoAnswer> {
        // The guard removes the pending query when it ends or is dropped, so that the next caller starts a new one.
        let _guard = InFlightGuard { inner: &inner, key: &key };
        let (question, transport, _) = &key;
        let answer = inner.exchange.query(&message, *transport).await;
        let now = inner.now();
        match &answer {
            // The caller repeats a truncated query over TCP. The cached answer stays until then.
            Ok(answer) if is_truncated(answer) => {}
            Ok(answer) if !is_failure(answer) => inner.cache.insert(question.clone(), answer, now),
            // The servers were not queried, so the next query need not wait.
            Err(error) if error.is_local() => {}
            _ => inner.cache.record_failure(question, now),
        }
        answer.map(Into::into)
    }
}

impl ClientInner {
    /// Returns the time of the runtime's clock, which tests can pause. It includes the time for which the host was
    /// suspended, because TTLs expire meanwhile.
    fn now(&self) -> Instant {
        let awake = time::Instant::now().into_std();
        awake.checked_add(self.suspension.elapsed()).unwrap_or(awake)
    }
}

struct InFlightGuard<'p> {
    inner: &'p ClientInner,
    key: &'p QueryKey,
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.inner.in_flight.lock().remove(self.key);
    }
}
