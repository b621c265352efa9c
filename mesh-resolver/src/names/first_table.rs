//! Lookups before istiod's first name table, when a name may or may not be a mesh name.

use std::pin::pin;

use futures_util::future::{Either, select};
use nds_client::health::SyncState;
use tokio::time::timeout;

use super::NameSource;
use crate::error::{ErrorKind, LookupError};

/// The event that ends the wait: the first table or the upstream answer.
#[derive(Debug)]
pub(crate) enum FirstAnswer<T, E> {
    /// Upstream DNS answered, so the table is not needed.
    Upstream(T),
    /// The table arrived. Upstream DNS has not answered yet, or was not queried.
    Table,
    /// The table arrived after a negative upstream answer.
    TableAfterUpstream(E),
}

impl NameSource {
    /// Waits, with a timeout, for the first table or for an upstream answer.
    ///
    /// A name in a mesh domain waits for the table, and `upstream` is not polled. For any other name, a positive
    /// upstream answer ends the wait; a negative one does not.
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
        if self.scope.claims(host) {
            return table.await.map(|()| FirstAnswer::Table);
        }
        match select(upstream, table.as_mut()).await {
            Either::Left((Ok(answer), _)) => Ok(FirstAnswer::Upstream(answer)),
            Either::Left((Err(denied), table)) => {
                table.await.map(|()| FirstAnswer::TableAfterUpstream(denied))
            }
            Either::Right((Ok(()), _)) => Ok(FirstAnswer::Table),
            Either::Right((Err(not_ready), upstream)) => {
                upstream.await.map(FirstAnswer::Upstream).map_err(|_| not_ready)
            }
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
                "istiod has not sent a name table within {limit:?}: check that it is reachable and accepts \
                     this workload"
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
