//! What happens to a name that the table does not have as it stands: who else is asked, in which order, and the time before
//! the first table.

use std::{
    net::IpAddr,
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use nds_client::SyncState;
use tokio::time::timeout;

use crate::{
    Error, ErrorKind, MeshResolver,
    answer::{Lookup, Source},
    host, observe,
    upstream::Failure,
};

impl MeshResolver {
    /// Whoever knows the name.
    pub(crate) async fn look_up(&self, name: &str) -> Result<Lookup, Error> {
        if let Some(address) = host::address(name) {
            return Ok(literal(name, address));
        }
        let ascii = host::ascii(name);
        if let Some(found) = self.mesh_answer(&ascii) {
            return Ok(found);
        }
        self.ask_others(&ascii).await.map_err(|error| error.asked_for(name))
    }

    async fn ask_others(&self, name: &str) -> Result<Lookup, Error> {
        host::check_name(name)?;
        if !self.is_ready() {
            return self.without_table(name).await;
        }
        // Once more, for a first table that came after the first look.
        match self.mesh_answer(name) {
            Some(found) => Ok(found),
            None => self.ask_upstream(name).await,
        }
    }

    /// The name, completed by the search list, in the table and upstream; last, where nobody has an address, the
    /// system's own lookup.
    async fn ask_upstream(&self, host: &str) -> Result<Lookup, Error> {
        let found = match self.search(host).await {
            Err(failure) => match self.inner().upstream.ask_the_system(host).await {
                Some(found) => found,
                None => return Err(failure.about(host)),
            },
            Ok(found) => found,
        };
        match found.source() {
            Source::Mesh { .. } => Ok(found),
            _ => Ok(self.foreign(found)),
        }
    }

    /// As glibc's `res_nsearch`: the first name with an address wins; servers that cannot be reached end the search.
    async fn search(&self, host: &str) -> Result<Lookup, Failure> {
        let upstream = self.inner().upstream.state();
        if let Some(found) = upstream.hosts_answer(host) {
            return Ok(found);
        }
        let mut failure = Failure::Unknown;
        for name in upstream.candidates(host) {
            if let Some(found) = self.mesh_answer(&name) {
                return Ok(found);
            }
            let asked = Instant::now();
            let outcome = upstream.query(&name).await;
            observe::asked_upstream(&name, asked.elapsed(), &outcome);
            match outcome {
                Ok(found) => return Ok(found),
                Err(fatal @ (Failure::Unreachable(_) | Failure::Unusable(_))) => return Err(fatal),
                Err(next) => failure = failure.or(next),
            }
        }
        Err(failure)
    }

    /// The same, before the first table.
    async fn without_table(&self, host: &str) -> Result<Lookup, Error> {
        let upstream = self.inner().upstream.state();
        // The `hosts` file may even know names of the mesh: istioctl writes istiod's into it.
        if let Some(found) = upstream.hosts_answer(host) {
            return Ok(self.foreign(found));
        }
        let look = || self.mesh_answer(host);
        let look_further =
            || look().or_else(|| upstream.candidates(host).iter().find_map(|name| self.mesh_answer(name)));
        Ok(self.before_first_table(host, self.ask_upstream(host), look, look_further).await?)
    }

    /// What comes first: an answer from `upstream`, or a table that has the name (`look`). Where upstream has no
    /// answer, the table is waited for (`look_further`).
    pub(crate) async fn before_first_table<T, E>(
        &self,
        host: &str,
        upstream: impl Future<Output = Result<T, E>>,
        look: impl Fn() -> Option<T>,
        look_further: impl Fn() -> Option<T>,
    ) -> Result<T, Missing<E>> {
        let (mut table, mut upstream) = (pin!(self.first_table(host)), pin!(upstream));
        if !self.scope().claims(host) {
            match select(upstream.as_mut(), table.as_mut()).await {
                Either::Left((Ok(found), _)) => return Ok(found),
                Either::Left((Err(unknown), _)) => {
                    table.await.map_err(Missing::NotReady)?;
                    return look_further().ok_or(Missing::Upstream(unknown));
                }
                Either::Right((Ok(()), _)) => {}
                Either::Right((Err(not_ready), _)) => {
                    return upstream.await.map_err(|_| Missing::NotReady(not_ready));
                }
            }
        } else {
            table.await.map_err(Missing::NotReady)?;
        }
        if let Some(found) = look() {
            return Ok(found);
        }
        upstream.await.or_else(|unknown| look_further().ok_or(Missing::Upstream(unknown)))
    }

    /// Waits for the first table, bounded.
    async fn first_table(&self, host: &str) -> Result<(), Error> {
        let mut health = self.inner().currency.health().clone();
        let limit = self.inner().first_table_timeout;
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
        let health = self.inner().currency.health().load();
        match health.stream.as_ref().or(health.identity.as_ref()) {
            Some(cause) => error.because_of(cause.clone()),
            None => error,
        }
    }

    fn foreign(&self, found: Lookup) -> Lookup {
        self.inner().recent.forget(found.addresses());
        found
    }
}

/// Why a name has no answer before the first table.
pub(crate) enum Missing<E> {
    /// The table did not come, and nobody else knows the name.
    NotReady(Error),
    /// The table came, without the name; upstream has no answer either.
    Upstream(E),
}

impl From<Missing<Self>> for Error {
    fn from(missing: Missing<Self>) -> Self {
        match missing {
            Missing::NotReady(error) | Missing::Upstream(error) => error,
        }
    }
}

fn literal(text: &str, address: IpAddr) -> Lookup {
    Lookup::new([address].into_iter().collect(), text, Source::Literal, Duration::MAX)
}
