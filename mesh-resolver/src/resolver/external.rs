//! Lookups that the name table cannot answer: the `hosts` file, upstream DNS with the search list, `getaddrinfo`, and
//! the wait for the first table.

use std::{iter, pin::pin, time::Instant};

use futures_util::future::BoxFuture;

use super::Inner;
use crate::{
    answer::{Lookup, Source},
    error::{self, Error, LookupError},
    host,
    names::{FirstAnswer, NotMesh},
    observe,
    upstream::{self, Failure},
};

impl Inner {
    /// Looks up a name that is not a mesh name. The future is boxed, so that it does not enlarge the future of a
    /// lookup of a mesh name.
    ///
    /// # Errors
    ///
    /// The errors of [`MeshResolver::lookup_ip`](super::MeshResolver::lookup_ip).
    #[inline(never)]
    pub(super) fn lookup_outside_table<'a>(
        &'a self,
        name: &'a str,
        class: NotMesh,
    ) -> BoxFuture<'a, Result<Lookup, Error>> {
        Box::pin(async move {
            let start = Instant::now();
            let outcome =
                self.lookup_by_class(name, class).await.map_err(|error| Error::of_lookup(name, error));
            observe::looked_up(name, start.elapsed(), &outcome);
            outcome
        })
    }

    async fn lookup_by_class(&self, name: &str, class: NotMesh) -> Result<Lookup, LookupError> {
        if let NotMesh::Literal(address) = class {
            return Ok(Lookup::literal(name, address));
        }
        let host = host::ascii(name);
        host::check_name(&host)?;
        match class {
            NotMesh::NotReady => self.before_first_table(&host).await,
            NotMesh::NoLocalAddress(reason) => Err(error::no_local_address(reason)),
            NotMesh::Literal(_) | NotMesh::Unknown => self.lookup_other_sources(&host).await,
        }
    }

    /// Looks up a name before the first table.
    async fn before_first_table(&self, host: &str) -> Result<Lookup, LookupError> {
        // The `hosts` file may contain mesh names: istioctl writes the name of istiod into it.
        if let Some(found) = self.upstream.hosts_answer(host).await {
            return Ok(self.forget_addresses(found));
        }
        match self.mesh.wait_for_first_table(host, pin!(self.lookup_other_sources(host))).await? {
            FirstAnswer::Upstream(found) => Ok(found),
            FirstAnswer::Table => match self.lookup_table(host) {
                Ok(found) => Ok(found),
                Err(NotMesh::NoLocalAddress(reason)) => Err(error::no_local_address(reason)),
                Err(_) => self.lookup_other_sources(host).await,
            },
            FirstAnswer::NoUpstreamAnswer(denied) => {
                self.lookup_table_completions(host).unwrap_or(Err(denied))
            }
        }
    }

    /// Looks up exactly this name in the name table, without the search list.
    fn lookup_table(&self, host: &str) -> Result<Lookup, NotMesh> {
        self.mesh.load().classify(host).map(|answer| self.answer_from_table(&answer))
    }

    /// Looks up a name and its completions in the name table and returns the first match. `None` if none is a mesh name.
    fn lookup_table_completions(&self, host: &str) -> Option<Result<Lookup, LookupError>> {
        let (names, completed) = (self.mesh.load(), self.upstream.state().candidates(host));
        let mut all = iter::once(host).chain(completed.iter().map(String::as_str));
        all.find_map(|name| match names.classify(name) {
            Ok(answer) => Some(Ok(self.answer_from_table(&answer))),
            Err(NotMesh::NoLocalAddress(reason)) => Some(Err(error::no_local_address(reason))),
            Err(_) => None,
        })
    }

    /// Looks up a name in all sources but the name table. `getaddrinfo` comes last.
    async fn lookup_other_sources(&self, host: &str) -> Result<Lookup, LookupError> {
        let found = match self.search(host).await {
            Err(failure @ Failure::NoLocalAddress(_)) => return Err(failure.into_error()),
            Err(failure) => match self.upstream.query_getaddrinfo(host).await {
                Some(found) => found,
                None => return Err(failure.into_error()),
            },
            Ok(found) => found,
        };
        match found.source() {
            Source::Mesh { .. } => Ok(found),
            _ => Ok(self.forget_addresses(found)),
        }
    }

    /// Searches like glibc's `res_nsearch`: the first name with an address wins, and unreachable servers end the
    /// search.
    async fn search(&self, host: &str) -> Result<Lookup, Failure> {
        if let Some(found) = self.upstream.hosts_answer(host).await {
            return Ok(found);
        }
        let upstream = self.upstream.state();
        let mut failure = Failure::Unknown;
        for name in upstream.candidates(host) {
            // A completed name may be a mesh name. The name itself is already classified.
            if name != host {
                match self.lookup_table(&name) {
                    Ok(found) => return Ok(found),
                    Err(NotMesh::NoLocalAddress(reason)) => return Err(Failure::NoLocalAddress(reason)),
                    Err(_) => {}
                }
            }
            let start = Instant::now();
            let outcome = upstream.query(&name).await;
            upstream::name_queried(&name, start.elapsed(), &outcome);
            match outcome {
                Ok(found) => return Ok(found),
                Err(fatal @ (Failure::Unreachable(_) | Failure::Unusable(_))) => return Err(fatal),
                Err(next) => failure = failure.or(next),
            }
        }
        Err(failure)
    }

    fn forget_addresses(&self, found: Lookup) -> Lookup {
        self.reverse_index.forget(found.addresses());
        found
    }
}
