//! One question, asked once: from what is kept, with those who ask the same, or of the servers.

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

/// Asks the servers, and keeps their answers.
pub(crate) struct Asker {
    shared: Arc<Parts>,
    /// Questions that are asked although nobody waits for them any more. They end with the asker.
    refreshing: Mutex<JoinSet<()>>,
}

struct Parts {
    exchange: Exchange,
    cache: Cache,
    flights: Mutex<HashMap<Flight, WeakShared<Asked>>>,
}

/// Equal questions that can share an answer. How long an answer may be over UDP is part of it.
type Flight = (Question, Transport, usize);

type Asked = BoxFuture<'static, Result<Arc<[u8]>, NoAnswer>>;

/// An answer of upstream DNS.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) message: Vec<u8>,
    /// For how long the answer has been out of date, where it is.
    pub(crate) stale: Option<Duration>,
}

/// RFC 8767 §5, client response timer: an answer that is out of date is given when the servers take longer.
const PATIENCE: Duration = Duration::from_millis(1800);

/// So many questions are asked for nobody at once.
const REFRESHING: usize = 256;

impl Asker {
    pub(super) fn new(exchange: Exchange, stale: Duration) -> Self {
        let parts = Parts { exchange, cache: Cache::new(stale), flights: Mutex::default() };
        Self { shared: Arc::new(parts), refreshing: Mutex::default() }
    }

    /// The answer to a message with one question, with its id. SERVFAIL and its like only where no server has anything
    /// better, and nothing is kept.
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

    /// An answer over whatever transport it takes.
    pub(crate) async fn ask_fully(&self, message: &[u8]) -> Result<Response, NoAnswer> {
        let answer = self.ask(message, Transport::Udp).await?;
        match is_truncated(&answer.message) {
            true => self.ask(message, Transport::Tcp).await,
            false => Ok(answer),
        }
    }

    /// The question on its way, alone or with equal ones.
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

    /// A good answer that comes soon. One that comes later is kept for the next who asks.
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
        // However it ends, and where it is dropped: whoever asks next asks anew.
        let _landed = Landed { parts: &parts, flight: &flight };
        let (question, transport, _) = &flight;
        let answer = parts.exchange.ask(&message, *transport).await;
        let now = now();
        match &answer {
            // Whoever cannot take it over UDP asks again; what is kept stays until then.
            Ok(answer) if is_truncated(answer) => {}
            Ok(answer) if !is_failure(answer) => parts.cache.put(question.clone(), answer, now),
            _ => parts.cache.failed(question, now),
        }
        answer.map(Into::into)
    }
}

/// By the runtime's clock, which tests can move.
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
