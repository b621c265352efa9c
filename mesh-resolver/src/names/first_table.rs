//! Lookups before istiod's first name table, when a name may or may not be a mesh name.
//!
//! A name that is likely to be a mesh name waits for the table. An upstream server that answers first, or that an
//! attacker imitates, could otherwise send the traffic of a service elsewhere. istiod's own name must not wait, because
//! the client needs it to receive the table.

use std::pin::pin;

use futures_util::future::{Either, select};
use nds_client::health::SyncState;
use tokio::time::timeout;

use super::NameSource;
use crate::{
    error::{ErrorKind, LookupError},
    search_scope::strip_suffix,
};

/// The event that ends the wait before the first name table: the table or the upstream answer.
#[derive(Debug)]
pub(crate) enum FirstAnswer<T, E> {
    /// Upstream DNS answered, so the table is not needed.
    Upstream(T),
    /// The table arrived. Upstream DNS has not answered yet, or was not queried.
    Table,
    /// Upstream DNS has no answer. The table has arrived, unless the name is that of istiod.
    NoUpstreamAnswer(E),
}

/// The order in which the sources of a name are used before the first table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    /// Only upstream DNS.
    Upstream,
    /// Upstream DNS immediately. Without an answer, the table.
    UpstreamThenTable,
    /// The table, and upstream DNS only after it.
    Table,
}

impl NameSource {
    /// Waits, with a timeout, for the first table or for an upstream answer.
    ///
    /// A name in a mesh domain, or with at most two labels, waits for the table, and `upstream` is not polled. For
    /// istiod's name, only `upstream` is polled. For any other name, a positive upstream answer ends the wait; a
    /// negative one does not.
    ///
    /// # Errors
    ///
    /// `NotReady`: istiod did not send a table in time, and upstream DNS has no answer.
    pub(crate) async fn wait_for_first_table<T, E>(
        &self,
        host: &str,
        upstream: impl Future<Output = Result<T, E>> + Unpin,
    ) -> Result<FirstAnswer<T, E>, LookupError> {
        let mut table = pin!(self.first_table());
        match self.order(host) {
            Order::Upstream => {
                return Ok(upstream.await.map_or_else(FirstAnswer::NoUpstreamAnswer, FirstAnswer::Upstream));
            }
            Order::Table => return table.await.map(|()| FirstAnswer::Table),
            Order::UpstreamThenTable => {}
        }
        match select(upstream, table.as_mut()).await {
            Either::Left((Ok(answer), _)) => Ok(FirstAnswer::Upstream(answer)),
            Either::Left((Err(denied), table)) => table.await.map(|()| FirstAnswer::NoUpstreamAnswer(denied)),
            Either::Right((Ok(()), _)) => Ok(FirstAnswer::Table),
            Either::Right((Err(not_ready), upstream)) => {
                upstream.await.map(FirstAnswer::Upstream).map_err(|_| not_ready)
            }
        }
    }

    fn order(&self, host: &str) -> Order {
        let host = host.strip_suffix('.').unwrap_or(host);
        // A DNS client may have appended the search domain.
        let names = [Some(host), strip_suffix(host, self.scope.search_domain())].into_iter().flatten();
        let is_istiod = |name: &str| self.istiod.iter().any(|istiod| istiod.eq_ignore_ascii_case(name));
        let is_short = |name: &str| !self.short_names_upstream && name.split('.').count() <= 2;
        if names.clone().any(is_istiod) {
            Order::Upstream
        } else if names.clone().any(|name| self.scope.claims(name) || is_short(name)) {
            Order::Table
        } else {
            Order::UpstreamThenTable
        }
    }

    async fn first_table(&self) -> Result<(), LookupError> {
        let (mut health, limit) = (self.sync.health().clone(), self.first_table_timeout);
        let synced = health.wait_for(|health| health.sync != SyncState::Connecting);
        match timeout(limit, synced).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(self
                .not_ready("the client was shut down before istiod sent a name table: create a new client")),
            Err(_) => Err(self.not_ready(&format!(
                "istiod has not sent a name table within {limit:?}: check that it is reachable and accepts this \
                 workload. Without a table, names in mesh domains and names with one or two labels are not resolved; \
                 Upstream::with_short_names_before_first_table(true) sends the latter to upstream DNS"
            ))),
        }
    }

    fn not_ready(&self, message: &str) -> LookupError {
        let error = LookupError::new(ErrorKind::NotReady, message);
        let health = self.sync.health().load();
        match health.stream.as_ref().or(health.identity.as_ref()) {
            Some(cause) => error.with_source(cause.clone()),
            None => error,
        }
    }
}
