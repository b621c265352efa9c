//! The time before istiod's first table: a name may be a mesh name, and nobody can say yet.

use std::pin::pin;

use futures_util::future::{Either, select};
use nds_client::health::SyncState;
use tokio::time::timeout;

use super::NameSource;
use crate::error::{Error, ErrorKind};

/// What comes first of the first table and upstream's answer.
#[derive(Debug)]
pub(crate) enum First<T, E> {
    /// Upstream DNS answers. The table does not matter.
    Upstream(T),
    /// The table. Upstream DNS has not answered yet, or has not been asked.
    Table,
    /// Upstream DNS has no answer, and then the table came.
    TableAfter(E),
}

impl NameSource {
    /// Waits for the first table, bounded, or for upstream's answer to a name that need not be the mesh's.
    ///
    /// A name in a domain of the mesh waits for the table, and `upstream` is not polled. For any other name an answer from
    /// upstream ends the wait; a denial does not.
    ///
    /// # Errors
    ///
    /// `NotReady`: istiod has not sent a table in time, and upstream DNS has no answer.
    pub(crate) async fn first<T, E>(
        &self,
        host: &str,
        upstream: impl Future<Output = Result<T, E>> + Unpin,
    ) -> Result<First<T, E>, Error> {
        let mut table = pin!(self.first_table(host));
        if self.scope.claims(host) {
            return table.await.map(|()| First::Table);
        }
        match select(upstream, table.as_mut()).await {
            Either::Left((Ok(answer), _)) => Ok(First::Upstream(answer)),
            Either::Left((Err(denied), table)) => table.await.map(|()| First::TableAfter(denied)),
            Either::Right((Ok(()), _)) => Ok(First::Table),
            Either::Right((Err(not_ready), upstream)) => {
                upstream.await.map(First::Upstream).map_err(|_| not_ready)
            }
        }
    }

    async fn first_table(&self, host: &str) -> Result<(), Error> {
        let (mut health, limit) = (self.sync.health().clone(), self.first_table_timeout);
        let synced = health.wait_for(|health| health.sync != SyncState::Connecting);
        match timeout(limit, synced).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(self.not_ready(host, "the client was shut down before istiod sent a name table")),
            Err(_) => Err(self.not_ready(
                host,
                &format!(
                    "istiod has not sent a name table within {limit:?}: check that it can be reached and accepts \
                     this workload"
                ),
            )),
        }
    }

    fn not_ready(&self, host: &str, message: &str) -> Error {
        let error = Error::new(ErrorKind::NotReady, host, message);
        let health = self.sync.health().load();
        match health.stream.as_ref().or(health.identity.as_ref()) {
            Some(cause) => error.because_of(cause.clone()),
            None => error,
        }
    }
}
