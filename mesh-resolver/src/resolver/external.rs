//! A name that this process does not know by itself: the `hosts` file, upstream DNS by the host's search list, the system's
//! own lookup; and before the first table the wait for it.

use std::{iter, pin::pin, time::Instant};

use futures_util::future::BoxFuture;

use super::Inner;
use crate::{
    answer::{Lookup, Source},
    error::Error,
    host,
    names::{First, NotMesh},
    observe,
    upstream::{self, Failure},
};

impl Inner {
    /// The lookup of a name to which the mesh has no answer. On the heap, and put there apart: a lookup of a mesh name has no
    /// room for it on its stack.
    ///
    /// # Errors
    ///
    /// Those of [`MeshResolver::lookup_ip`](super::MeshResolver::lookup_ip).
    #[inline(never)]
    pub(super) fn elsewhere<'a>(
        &'a self,
        name: &'a str,
        class: NotMesh,
    ) -> BoxFuture<'a, Result<Lookup, Error>> {
        Box::pin(async move {
            let start = Instant::now();
            let outcome = self.outcome(name, class).await.map_err(|error| error.asked_for(name));
            observe::looked_up(name, start.elapsed(), &outcome);
            outcome
        })
    }

    async fn outcome(&self, name: &str, class: NotMesh) -> Result<Lookup, Error> {
        if let NotMesh::Literal(address) = class {
            return Ok(Lookup::literal(name, address));
        }
        let host = host::ascii(name);
        host::check_name(&host)?;
        match class {
            NotMesh::NotReady => self.before_first_table(&host).await,
            _ => self.ask(&host).await,
        }
    }

    /// Asks others for a name that may be the mesh's, and waits for the first table.
    async fn before_first_table(&self, host: &str) -> Result<Lookup, Error> {
        // The `hosts` file may even know names of the mesh: istioctl writes istiod's into it.
        if let Some(found) = self.upstream.state().hosts_answer(host) {
            return Ok(self.foreign(found));
        }
        match self.mesh.first(host, pin!(self.ask(host))).await? {
            First::Upstream(found) => Ok(found),
            First::Table => match self.local(host) {
                Ok(found) => Ok(found),
                Err(_) => self.ask(host).await,
            },
            First::TableAfter(denied) => self.in_table(host).ok_or(denied),
        }
    }

    /// The mesh's answer to a name that this lookup has come to.
    fn local(&self, host: &str) -> Result<Lookup, NotMesh> {
        self.mesh.load().local(host).map(|answer| self.given_of(&answer))
    }

    /// The mesh's answer to a name or to the first of its completions that has one.
    fn in_table(&self, host: &str) -> Option<Lookup> {
        let (names, completed) = (self.mesh.load(), self.upstream.state().candidates(host));
        let mut all = iter::once(host).chain(completed.iter().map(String::as_str));
        all.find_map(|name| names.local(name).ok()).map(|answer| self.given_of(&answer))
    }

    /// Everybody but the table, about a name that it does not have; last, where nobody has an address, the system's own
    /// lookup.
    async fn ask(&self, host: &str) -> Result<Lookup, Error> {
        let found = match self.search(host).await {
            Err(failure) => match self.upstream.ask_the_system(host).await {
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
        let upstream = self.upstream.state();
        if let Some(found) = upstream.hosts_answer(host) {
            return Ok(found);
        }
        let mut failure = Failure::Unknown;
        for name in upstream.candidates(host) {
            // A completed name may be the mesh's. The name itself has been classified already.
            if name != host
                && let Ok(found) = self.local(&name)
            {
                return Ok(found);
            }
            let asked = Instant::now();
            let outcome = upstream.query(&name).await;
            upstream::asked(&name, asked.elapsed(), &outcome);
            match outcome {
                Ok(found) => return Ok(found),
                Err(fatal @ (Failure::Unreachable(_) | Failure::Unusable(_))) => return Err(fatal),
                Err(next) => failure = failure.or(next),
            }
        }
        Err(failure)
    }

    fn foreign(&self, found: Lookup) -> Lookup {
        self.recent.forget(found.addresses());
        found
    }
}
