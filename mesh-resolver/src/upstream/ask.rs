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
use tokio::{
    task::JoinSet,
    time::{self, sleep},
};

use super::{
    cache::{Cache, Found},
    exchange::{Exchange, Transport},
    failure::NoAnswer,
    observe,
};
use crate::dns::{
    header::{is_failure, is_truncated},
    question::{self, Question},
};

/// Queries the servers and caches their answers.
pub(crate) struct Asker {
    shared: Arc<Parts>,
    /// Queries that refresh the cache and that no caller waits for. They are aborted with the client.
    refreshing: Mutex<JoinSet<()>>,
}

struct Parts {
    exchange: Exchange,
    cache: Cache,
    flights: Mutex<HashMap<Flight, WeakShared<Asked>>>,
}

/// The key of a pending query. Equal queries share one answer. The maximum UDP size is part of the key.
type Flight = (Question, Transport, usize);

type Asked = BoxFuture<'static, Result<Arc<[u8]>, NoAnswer>>;

/// An answer from upstream DNS.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) message: Vec<u8>,
    /// The time since the TTL expired, for a stale answer.
    pub(crate) stale: Option<Duration>,
}

/// The time after which a stale answer is returned (RFC 8767 §5, client response timer).
const PATIENCE: Duration = Duration::from_millis(1800);

/// The maximum number of simultaneous refreshes.
const REFRESHING: usize = 256;

impl Asker {
    pub(super) fn new(exchange: Exchange, stale: Duration) -> Self {
        let parts = Parts { exchange, cache: Cache::new(stale), flights: Mutex::default() };
        Self { shared: Arc::new(parts), refreshing: Mutex::default() }
    }

    /// Returns the answer to a message with one question, with the message's ID. A failure response such as SERVFAIL
    /// is returned only if no server has a better answer and the cache has none.
    pub(crate) async fn ask(&self, message: &[u8], transport: Transport) -> Result<Response, NoAnswer> {
        let Some(question) = Question::of(message) else {
            let message = self.shared.exchange.ask(message, transport).await?;
            return Ok(Response { message, stale: None });
        };
        let addressed = |mut answer: Vec<u8>, stale| {
            question::address_to(&mut answer, message);
            Ok(Response { message: answer, stale })
        };
        match self.shared.cache.get(&question, now()) {
            Found::Fresh(answer) => {
                observe::cached("fresh");
                addressed(answer, None)
            }
            Found::Stale { answer, age, ask } => {
                if ask {
                    let asked = self.refreshed(self.flight(question, message, transport)).await;
                    if let Some(answer) = asked {
                        return addressed(answer.to_vec(), None);
                    }
                }
                observe::cached("stale");
                addressed(answer, Some(age))
            }
            Found::Nothing => {
                let answer = self.flight(question, message, transport).await?;
                addressed(answer.to_vec(), None)
            }
        }
    }

    /// Queries over UDP and, if the answer is truncated, over TCP.
    pub(crate) async fn ask_fully(&self, message: &[u8]) -> Result<Response, NoAnswer> {
        let answer = self.ask(message, Transport::Udp).await?;
        match is_truncated(&answer.message) {
            true => self.ask(message, Transport::Tcp).await,
            false => Ok(answer),
        }
    }

    /// Returns the pending query for an equal question, or starts one.
    fn flight(&self, question: Question, message: &[u8], transport: Transport) -> Shared<Asked> {
        let flight = (question, transport, question::udp_size(message));
        let mut flights = self.shared.flights.lock();
        if let Some(shared) = flights.get(&flight).and_then(WeakShared::upgrade) {
            return shared;
        }
        let asked = Parts::ask(self.shared.clone(), flight.clone(), message.to_vec()).boxed().shared();
        flights.extend(asked.downgrade().map(|weak| (flight, weak)));
        asked
    }

    /// Returns a successful answer that arrives in time. When a later answer arrives, it updates the cache.
    async fn refreshed(&self, asked: Shared<Asked>) -> Option<Arc<[u8]>> {
        self.go_on_with(asked.clone());
        match select(asked, pin!(sleep(PATIENCE))).await {
            Either::Left((answer, _)) => answer.ok().filter(|answer| !is_failure(answer)),
            Either::Right(_) => None,
        }
    }

    fn go_on_with(&self, asked: Shared<Asked>) {
        let mut refreshing = self.refreshing.lock();
        while refreshing.try_join_next().is_some() {}
        if refreshing.len() < REFRESHING {
            refreshing.spawn(asked.map(drop));
        }
    }
}

impl Parts {
    async fn ask(parts: Arc<Self>, flight: Flight, message: Vec<u8>) -> Result<Arc<[u8]>, NoAnswer> {
        // The guard removes the pending query when it ends or is dropped, so that the next caller starts a new one.
        let _landed = Landed { parts: &parts, flight: &flight };
        let (question, transport, _) = &flight;
        let answer = parts.exchange.ask(&message, *transport).await;
        let now = now();
        match &answer {
            // The caller repeats a truncated query over TCP. The cached answer stays until then.
            Ok(answer) if is_truncated(answer) => {}
            Ok(answer) if !is_failure(answer) => parts.cache.put(question.clone(), answer, now),
            _ => parts.cache.failed(question, now),
        }
        answer.map(Into::into)
    }
}

/// The time of the runtime's clock, which tests can pause.
fn now() -> Instant {
    time::Instant::now().into_std()
}

struct Landed<'p> {
    parts: &'p Parts,
    flight: &'p Flight,
}

impl Drop for Landed<'_> {
    fn drop(&mut self) {
        self.parts.flights.lock().remove(self.flight);
    }
}
