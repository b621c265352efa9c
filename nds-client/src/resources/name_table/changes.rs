//! What is different between a table and the one before it.

use super::NameTable;

/// The names that changed.
#[derive(Clone, Debug, Default)]
pub(super) enum Changes {
    /// There was none before.
    #[default]
    All,
    /// Some.
    Some {
        /// New names and those that say something else, by record.
        changed: Box<[u32]>,
        /// Names that are gone.
        removed: Box<[Box<str>]>,
    },
}

impl Changes {
    /// istiod sends names in order: those of both tables are walked along together, and only where they part ways a name
    /// is looked up.
    pub(super) fn between(previous: &NameTable, next: &NameTable) -> Self {
        let (mut changed, mut expected, mut known) = (Vec::new(), 0, 0);
        for (at, entry) in (0u32..).zip(next.iter()) {
            let same = |at| previous.records.get(at).is_some_and(|_| previous.entry(at).is_same(&entry));
            if !same(expected) {
                let Some(found) = previous.position(entry.name()) else {
                    changed.push(at);
                    continue;
                };
                expected = found;
                if !same(found) {
                    changed.push(at);
                }
            }
            expected += 1;
            known += 1;
        }
        let all_known = known == previous.len();
        let gone = previous.iter().filter(|entry| !all_known && next.get(entry.name()).is_none());
        Self::Some { changed: changed.into(), removed: gone.map(|entry| entry.name().into()).collect() }
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::Some { changed, removed } if changed.is_empty() && removed.is_empty())
    }

    pub(super) fn names<'a>(&'a self, table: &'a NameTable) -> impl Iterator<Item = &'a str> {
        let (all, changed, removed): (_, &[u32], &[Box<str>]) = match self {
            Self::All => (Some(table.iter()), &[], &[]),
            Self::Some { changed, removed } => (None, changed, removed),
        };
        let changed = changed.iter().map(|at| table.entry(*at as usize));
        let there = all.into_iter().flatten().chain(changed).map(|entry| entry.name());
        there.chain(removed.iter().map(|name| &**name))
    }
}
