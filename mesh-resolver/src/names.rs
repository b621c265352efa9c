//! What this process knows of a name by itself: one loaded table, read by Istio's rules and by the answer mode.

mod first_table;

use std::{net::IpAddr, time::Duration};

use nds_client::{Health, NameEntry, NameTable, Ref, SyncState, Watch};

pub(crate) use self::first_table::First;
use crate::{
    host,
    lookup::{Answer, exact, lookup, lookup_further},
    mode::Mode,
    scope::Scope,
};

/// The classification of a name. Each lookup makes one, against one table, and everything else follows from it.
pub(crate) enum Local<A> {
    /// The name is an address.
    Literal(IpAddr),
    /// The mesh answers.
    Mesh(A),
    /// istiod has not sent a table yet: the name may be a mesh name.
    NotReady,
    /// Upstream DNS answers: the mesh does not know the name, or the answer mode leaves it to upstream.
    Unknown,
}

/// The name table of a client as it changes, and how it is read.
pub(crate) struct NameSource {
    pub(crate) names: Watch<NameTable>,
    pub(crate) health: Watch<Health>,
    pub(crate) scope: Scope,
    pub(crate) mode: Mode,
    pub(crate) first_table_timeout: Duration,
}

/// One name table. For a look that ends soon.
pub(crate) struct Names<'s> {
    table: Ref<'s, NameTable>,
    /// Whether istiod had sent a table before this one was loaded: a name that it does not have is no mesh name.
    ready: bool,
    source: &'s NameSource,
}

impl NameSource {
    /// Loads the current table. Wait-free, without allocation.
    #[inline(always)]
    pub(crate) fn load(&self) -> Names<'_> {
        let table = self.names.load();
        if table.is_empty() {
            return self.load_without_names();
        }
        Names { table, ready: true, source: self }
    }

    /// The table is empty: it is that of a mesh without names, or istiod has not sent one yet.
    #[cold]
    fn load_without_names(&self) -> Names<'_> {
        self.load_after(&self.sync_state())
    }

    /// Loads the table after the state has been read, because the client publishes them the other way round: a table that
    /// comes meanwhile is not missed.
    fn load_after(&self, state: &SyncState) -> Names<'_> {
        let table = self.names.load();
        Names { ready: *state != SyncState::Connecting || !table.is_empty(), table, source: self }
    }

    /// How current the table is.
    pub(crate) fn sync_state(&self) -> SyncState {
        self.health.load().sync.clone()
    }
}

impl Names<'_> {
    /// Classifies a name. Pure, without allocation for an ASCII name.
    // In the caller's code, always, as `lookup::exact`: it is nearly every lookup.
    #[inline(always)]
    pub(crate) fn local(&self, name: &str) -> Local<Answer<'_>> {
        match exact(&self.table, name) {
            Some(entry) if self.source.mode.keeps(entry) => Local::Mesh(Answer::exact(entry, name)),
            entry => self.local_further(name, entry),
        }
    }

    /// The same where the table does not have the name as it stands, or where something else may be given out for its
    /// entry.
    #[inline(never)]
    fn local_further<'a>(&'a self, name: &str, entry: Option<NameEntry<'a>>) -> Local<Answer<'a>> {
        if let Some(address) = host::address(name) {
            return Local::Literal(address);
        }
        let name = host::ascii(name);
        let answer = match entry {
            Some(entry) => Some(Answer::exact(entry, &name)),
            None => lookup_further(&self.table, &self.source.scope, &name),
        };
        match answer.and_then(|answer| self.source.mode.give(answer, &name)) {
            Some(answer) => Local::Mesh(answer),
            None if self.ready => Local::Unknown,
            None => Local::NotReady,
        }
    }

    /// istiod's answer, whatever the answer mode makes of it.
    pub(crate) fn lookup(&self, name: &str) -> Option<Answer<'_>> {
        lookup(&self.table, &self.source.scope, name)
    }
}

impl<A> Local<A> {
    /// The mesh's answer, if it has one.
    #[inline]
    pub(crate) fn mesh(self) -> Option<A> {
        match self {
            Self::Mesh(answer) => Some(answer),
            _ => None,
        }
    }

    /// The same with another form of the mesh's answer.
    #[inline]
    pub(crate) fn map<B>(self, change: impl FnOnce(A) -> B) -> Local<B> {
        match self {
            Self::Literal(address) => Local::Literal(address),
            Self::Mesh(answer) => Local::Mesh(change(answer)),
            Self::NotReady => Local::NotReady,
            Self::Unknown => Local::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
