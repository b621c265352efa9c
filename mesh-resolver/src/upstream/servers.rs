//! The upstream servers, asked one at a time and in order.
//!
//! hickory's own pool asks two servers at once and prefers the quickest. Told to ask one at a time, it still gives
//! up when the first server's time is over, before it comes to the second. So each server here is a pool of its own
//! (which keeps hickory's UDP, TCP on truncation, and sharing of equal questions), and this is the order.

use std::{
    future::{Ready, ready},
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use futures_util::{Stream, stream};
use hickory_resolver::{
    ConnectionProvider, NameServerPool, PoolContext, TlsConfig,
    config::{ConnectionConfig, NameServerConfig, ResolverOpts},
    net::{
        DnsError, NetError, NoRecords,
        runtime::TokioRuntimeProvider,
        xfer::{DnsHandle, FirstAnswer as _},
    },
    proto::op::{DnsRequest, DnsResponse, ResponseCode},
};

/// All servers as one. Without any, no name is known. With `turn`, each question begins with the next one.
#[derive(Clone)]
pub(crate) struct Servers {
    pools: Arc<[NameServerPool<TokioRuntimeProvider>]>,
    rounds: usize,
    turn: Option<Arc<AtomicUsize>>,
    runtime: TokioRuntimeProvider,
}

impl Servers {
    pub(super) fn new(
        servers: Vec<NameServerConfig>,
        options: &ResolverOpts,
        rotate: bool,
    ) -> Result<Self, NetError> {
        let runtime = TokioRuntimeProvider::default();
        let context = Arc::new(PoolContext::new(options.clone(), TlsConfig::new()?));
        let pool = |server| NameServerPool::from_config([server], context.clone(), runtime.clone());
        let pools = servers.into_iter().map(pool).collect();
        let turn = rotate.then(Arc::default);
        Ok(Self { pools, rounds: options.attempts.max(1), turn, runtime })
    }

    /// Asks one server after the other, all of them as often as set, until one answers.
    pub(crate) async fn ask(self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let query = request.queries.first().cloned().unwrap_or_default();
        let first = match &self.turn {
            Some(turn) => turn.fetch_add(1, Relaxed) % self.pools.len().max(1),
            None => 0,
        };
        let mut last = NoRecords::new(query, ResponseCode::NXDomain).into();
        for _ in 0..self.rounds {
            let (behind, ahead) = self.pools.split_at(first);
            for server in ahead.iter().chain(behind) {
                match server.send(request.clone()).first_answer().await {
                    Ok(response) => return Ok(response),
                    // No such name, or no such record: an answer, whichever server gave it.
                    Err(error @ NetError::Dns(DnsError::NoRecordsFound(_))) => return Err(error),
                    Err(error) => {
                        tracing::debug!(%error, "an upstream name server gave no answer");
                        last = error;
                    }
                }
            }
        }
        Err(last)
    }
}

impl DnsHandle for Servers {
    type Response = Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        Box::pin(stream::once(self.clone().ask(request)))
    }
}

/// Whatever server hickory thinks it connects to, it gets all of them.
impl ConnectionProvider for Servers {
    type Conn = Self;
    type FutureConn = Ready<Result<Self, NetError>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        _: IpAddr,
        _: &ConnectionConfig,
        _: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        Ok(ready(Ok(self.clone())))
    }

    fn runtime_provider(&self) -> &Self::RuntimeProvider {
        &self.runtime
    }
}
