//! Decides whether the name table answers a name: by Istio's lookup rules, then by the answer policy of the resolver.

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

pub(crate) use self::{first_table::FirstAnswer, sync::SyncWatch};
use crate::{
    host,
    lookup::{self, Answer, exact, lookup_other_matches},
    policy::{AnswerPolicy, Asker, NoLocalAddress},
    search_scope::SearchScope,
};

/// The reason why the name table does not answer a name. Each lookup determines this reason once, from the table that
/// is current when the lookup begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum NotMesh {
    /// The name is an address literal.
    Literal(IpAddr),
    /// istiod has not sent a table yet, so the name may be a mesh name.
    NotReady,
    /// The lookup fails: the name is a mesh name that has no loopback address for the origin of the lookup.
    NoLocalAddress(NoLocalAddress),
    /// Upstream DNS must answer: the name is unknown to the mesh, or the answer policy sends it upstream.
    Unknown,
}

/// The current name table of a client, and the settings that determine the answers.
pub(crate) struct NameSource {
    pub(crate) names: Watch<NameTable>,
    pub(crate) sync: SyncWatch,
    pub(crate) scope: SearchScope,
    pub(crate) policy: AnswerPolicy,
    pub(crate) first_table_timeout: Duration,
    /// The host names of istiod. Lookups of these names do not wait until istiod has sent the first name table.
    pub(crate) istiod: Box<[String]>,
    /// Whether names with one or two labels are sent upstream before the first table.
    pub(crate) short_names_upstream: bool,
}

/// One loaded name table. Holding it for long delays the release of its memory.
pub(crate) struct NameTableRef<'s> {
    table: Ref<'s, NameTable>,
    source: &'s NameSource,
}

impl NameSource {
    /// Loads the current table. The method is wait-free and does not allocate.
    pub(crate) fn load(&self) -> NameTableRef<'_> {
        NameTableRef { table: self.names.load(), source: self }
    }

    /// Returns the address of a name in the most frequent case: the name equals a key of the table and has only one
    /// address, an IPv4 address that the policy does not change. In all other cases, returns the loaded table as `Err`.
    // Always inlined, like `lookup::exact`. Code for other cases is in separate functions.
    #[inline(always)]
    pub(crate) fn lookup_single(&self, name: &str) -> Result<Ipv4Addr, NameTableRef<'_>> {
        let table = self.names.load();
        match single_address(&table, &self.policy, name) {
            Some(address) => Ok(address),
            None => Err(NameTableRef { table, source: self }),
        }
    }

    /// Returns the synchronisation state of the table.
    #[inline]
    pub(crate) fn sync_state(&self) -> SyncState {
        self.sync.state()
    }
}

#[inline(always)]
fn single_address(table: &NameTable, policy: &AnswerPolicy, name: &str) -> Option<Ipv4Addr> {
    let entry = exact(table, name)?;
    match (entry.ipv4(), entry.ipv6()) {
        ([only], []) if policy.leaves_unchanged(entry) => Some(*only),
        _ => None,
    }
}

impl NameTableRef<'_> {
    /// Returns the answer of the table to a lookup of this process, or the reason why the table does not answer it.
    /// Allocates only for a name that is not ASCII.
    pub(crate) fn classify(&self, name: &str) -> Result<Answer<'_>, NotMesh> {
        self.classify_for(name, Asker::ThisProcess)
    }

    /// Classifies a name as [`classify`](Self::classify) does, for a lookup whose origin is `asker`.
    pub(crate) fn classify_for(&self, name: &str, asker: Asker) -> Result<Answer<'_>, NotMesh> {
        let entry = exact(&self.table, name);
        if entry.is_none()
            && let Some(address) = host::address(name)
        {
            return Err(NotMesh::Literal(address));
        }
        let name = host::ascii(name);
        let answer = match entry {
            Some(entry) => Some(Answer::exact(entry, &name)),
            None => lookup_other_matches(&self.table, &self.source.scope, &name),
        };
        let applied = match answer {
            Some(answer) => {
                self.source.policy.apply(answer, &name, asker).map_err(NotMesh::NoLocalAddress)?
            }
            None => None,
        };
        match applied {
            Some(answer) => Ok(answer),
            None if self.is_sent() => Err(NotMesh::Unknown),
            None => Err(NotMesh::NotReady),
        }
    }

    /// Whether istiod sent this table. Before the first push, the client has an empty table. An empty table is from
    /// istiod only if the state is not `Connecting` and the current table is also empty. The second condition is needed
    /// because the client publishes a new table before it changes the state.
    fn is_sent(&self) -> bool {
        let is_empty = || self.source.names.load().is_empty();
        !self.table.is_empty() || self.source.sync_state() != SyncState::Connecting && is_empty()
    }

    /// Returns istiod's answer without applying the answer policy.
    pub(crate) fn lookup(&self, name: &str) -> Option<Answer<'_>> {
        lookup::lookup(&self.table, &self.source.scope, name)
    }

    /// Returns the name of the ServiceEntry that a Kubernetes service with this short name hides.
    pub(crate) fn shadowed(&self, name: &str) -> Option<&str> {
        lookup::shadowed(&self.table, &self.source.scope, name).map(|entry| entry.name())
    }

    /// Whether the name is in this table, or was in an earlier one.
    pub(crate) fn was_listed(&self, name: &str) -> bool {
        self.lookup(name).is_some() || lookup::was_listed(&self.table, &self.source.scope, name)
    }
}

#[cfg(test)]
mod tests;
