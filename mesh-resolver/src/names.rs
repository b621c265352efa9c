//! What this process knows of a name by itself: one loaded table, read by Istio's rules and by the answer mode.

mod first_table;
mod sync;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use nds_client::{
    health::SyncState,
    resources::name_table::NameTable,
    watch::{Ref, Watch},
};

pub(crate) use self::{first_table::First, sync::SyncWatch};
use crate::{
    host,
    lookup::{Answer, exact, lookup, lookup_further},
    mode::Mode,
    scope::Scope,
};

/// Why the mesh has no answer to a name. Together with the answer this is the classification of the name: each lookup makes
/// one, against one table, and everything else follows from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotMesh {
    /// The name is an address.
    Literal(IpAddr),
    /// istiod had not sent a table yet: the name may be a mesh name.
    NotReady,
    /// Upstream DNS answers: the mesh does not know the name, or the answer mode leaves it to upstream.
    Unknown,
}

/// The name table of a client as it changes, and how it is read.
pub(crate) struct NameSource {
    pub(crate) names: Watch<NameTable>,
    pub(crate) sync: SyncWatch,
    pub(crate) scope: Scope,
    pub(crate) mode: Mode,
    pub(crate) first_table_timeout: Duration,
}

/// One name table. For a look that ends soon.
pub(crate) struct Names<'s> {
    table: Ref<'s, NameTable>,
    source: &'s NameSource,
}

impl NameSource {
    /// Loads the current table. Wait-free, without allocation.
    pub(crate) fn load(&self) -> Names<'_> {
        Names { table: self.names.load(), source: self }
    }

    /// The first step of a classification, which is all of it for the usual name: the table has it as it stands, with one
    /// address that is given out as it is. Otherwise the loaded table, for the other steps.
    // In the caller's code, always, as `lookup::exact`. Nothing that is not usual has a part in it.
    #[inline(always)]
    pub(crate) fn usual(&self, name: &str) -> Result<Ipv4Addr, Names<'_>> {
        let table = self.names.load();
        match only(&table, &self.mode, name) {
            Some(address) => Ok(address),
            None => Err(Names { table, source: self }),
        }
    }

    /// How current the table is.
    #[inline]
    pub(crate) fn sync_state(&self) -> SyncState {
        self.sync.state()
    }
}

#[inline(always)]
fn only(table: &NameTable, mode: &Mode, name: &str) -> Option<Ipv4Addr> {
    let entry = exact(table, name)?;
    match (entry.ipv4(), entry.ipv6()) {
        ([only], []) if mode.keeps(entry) => Some(*only),
        _ => None,
    }
}

impl Names<'_> {
    /// Classifies a name. Without allocation for an ASCII name.
    pub(crate) fn local(&self, name: &str) -> Result<Answer<'_>, NotMesh> {
        let entry = exact(&self.table, name);
        if entry.is_none()
            && let Some(address) = host::address(name)
        {
            return Err(NotMesh::Literal(address));
        }
        let name = host::ascii(name);
        let answer = match entry {
            Some(entry) => Some(Answer::exact(entry, &name)),
            None => lookup_further(&self.table, &self.source.scope, &name),
        };
        match answer.and_then(|answer| self.source.mode.give(answer, &name)) {
            Some(answer) => Ok(answer),
            None if self.is_sent() => Err(NotMesh::Unknown),
            None => Err(NotMesh::NotReady),
        }
    }

    /// Whether istiod has sent this table. One without names is sent only by a mesh without names: the state says that a
    /// table has come, and it is still empty after that. The client publishes a table before the state, so one that came
    /// since this one was loaded is not taken for it.
    fn is_sent(&self) -> bool {
        let is_empty = || self.source.names.load().is_empty();
        !self.table.is_empty() || self.source.sync_state() != SyncState::Connecting && is_empty()
    }

    /// istiod's answer, whatever the answer mode makes of it.
    pub(crate) fn lookup(&self, name: &str) -> Option<Answer<'_>> {
        lookup(&self.table, &self.source.scope, name)
    }
}

#[cfg(test)]
mod tests;
