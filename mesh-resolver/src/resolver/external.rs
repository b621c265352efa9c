//! A name that this process does not know by itself: the `hosts` file, upstream DNS by the host's search list, the system's
//! own lookup; and before the first table the wait for it.

use std::{iter, pin::pin, time::Instant};

use super::Inner;
use crate::{
    answer::{Lookup, Source},
    error::Error,
    host,
    names::{First, Local},
    upstream::{self, Failure},
};

impl Inner {
    /// Asks others for a name that the mesh does not know.
    ///
    /// # Errors
    ///
    /// Those of [`MeshResolver::lookup_ip`](super::MeshResolver::lookup_ip).
    pub(super) async fn external(&self, name: &str) -> Result<Lookup, Error> {
        let host = host::ascii(name);
        host::check_name(&host).map_err(|error| error.asked_for(name))?;
        self.ask(&host).await.map_err(|error| error.asked_for(name))
    }

    /// Asks others for a name that may be the mesh's, and waits for the first table.
    ///
    /// # Errors
    ///
    /// Those of [`MeshResolver::lookup_ip`](super::MeshResolver::lookup_ip).
    pub(super) async fn before_first_table(&self, name: &str) -> Result<Lookup, Error> {
        let host = host::ascii(name);
        host::check_name(&host).map_err(|error| error.asked_for(name))?;
        self.first(&host).await.map_err(|error| error.asked_for(name))
    }

    async fn first(&self, host: &str) -> Result<Lookup, Error> {
        // The `hosts` file may even know names of the mesh: istioctl writes istiod's into it.
        if let Some(found) = self.upstream.state().hosts_answer(host) {
            return Ok(self.foreign(found));
        }
        match self.mesh.first(host, pin!(self.ask(host))).await? {
            First::Upstream(found) => Ok(found),
            First::Table => match self.local(host) {
                Local::Mesh(found) => Ok(found),
                _ => self.ask(host).await,
            },
            First::TableAfter(denied) => self.in_table(host).ok_or(denied),
        }
    }

    /// The mesh's answer to a name or to the first of its completions that has one.
    fn in_table(&self, host: &str) -> Option<Lookup> {
        let (names, completed) = (self.mesh.load(), self.upstream.state().candidates(host));
        let mut all = iter::once(host).chain(completed.iter().map(String::as_str));
        all.find_map(|name| names.local(name).mesh()).map(|answer| self.given(&answer))
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
                && let Local::Mesh(found) = self.local(&name)
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
