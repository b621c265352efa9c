//! Lookups that the name table cannot answer: the `hosts` file, upstream DNS with the search list, `getaddrinfo`, and
//! the wait for the first table.

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
    /// Looks up a name that is not a mesh name. The future is boxed, so that it does not enlarge the future of a
    /// lookup of a mesh name.
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

    /// Looks up a name before the first table.
    async fn before_first_table(&self, host: &str) -> Result<Lookup, Error> {
        // The `hosts` file may contain mesh names: istioctl writes the name of istiod into it.
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

    /// Looks up a completed name in the name table.
    fn local(&self, host: &str) -> Result<Lookup, NotMesh> {
        self.mesh.load().local(host).map(|answer| self.given_of(&answer))
    }

    /// Looks up a name and its completions in the name table and returns the first match.
    fn in_table(&self, host: &str) -> Option<Lookup> {
        let (names, completed) = (self.mesh.load(), self.upstream.state().candidates(host));
        let mut all = iter::once(host).chain(completed.iter().map(String::as_str));
        all.find_map(|name| names.local(name).ok()).map(|answer| self.given_of(&answer))
    }

    /// Looks up a name in all sources but the name table. `getaddrinfo` comes last.
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

    /// Searches like glibc's `res_nsearch`: the first name with an address wins, and unreachable servers end the
    /// search.
    async fn search(&self, host: &str) -> Result<Lookup, Failure> {
        let upstream = self.upstream.state();
        if let Some(found) = upstream.hosts_answer(host) {
            return Ok(found);
        }
        let mut failure = Failure::Unknown;
        for name in upstream.candidates(host) {
            // A completed name may be a mesh name. The name itself is already classified.
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
