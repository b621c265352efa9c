//! What callers want beside names, and when they last did.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::session::{Change, Wanted};

/// When endpoints were last asked for, in seconds since the client began. Shared between whoever asks and whoever drops
/// what nobody asks for.
#[derive(Clone, Debug)]
pub(crate) struct Used(Arc<AtomicU64>);

impl Used {
    fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    pub(crate) fn touch(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What callers want, and what of it the stream does not know yet.
#[derive(Debug, Default)]
pub(crate) struct WantedNow {
    clusters: bool,
    endpoints: BTreeMap<Arc<str>, Used>,
    changed: BTreeSet<Arc<str>>,
}

impl WantedNow {
    /// Whether that is new.
    pub(crate) fn want_clusters(&mut self) -> bool {
        !std::mem::replace(&mut self.clusters, true)
    }

    /// Whether that is new.
    pub(crate) fn want_endpoints(&mut self, name: &str, now: u64) -> bool {
        if let Some(used) = self.endpoints.get(name) {
            used.touch(now);
            return false;
        }
        let name: Arc<str> = name.into();
        self.changed.insert(name.clone());
        self.endpoints.insert(name, Used::at(now)).is_none()
    }

    pub(crate) fn used(&self, name: &str) -> Option<Used> {
        self.endpoints.get(name).cloned()
    }

    /// Forgets the endpoints that nobody has asked for in the last `idle` seconds.
    pub(crate) fn drop_idle(&mut self, now: u64, idle: u64) -> Vec<Arc<str>> {
        let is_idle = |used: &Used| used.last().saturating_add(idle) <= now;
        let dropped: Vec<_> =
            self.endpoints.iter().filter(|(_, used)| is_idle(used)).map(|(name, _)| name.clone()).collect();
        for name in &dropped {
            self.endpoints.remove(name);
            self.changed.insert(name.clone());
        }
        dropped
    }

    /// Everything, for a new stream.
    pub(crate) fn all(&mut self) -> Wanted {
        self.changed.clear();
        Wanted { clusters: self.clusters, endpoints: self.endpoints.keys().cloned().collect() }
    }

    /// What is new since the last look.
    pub(crate) fn change(&mut self) -> Change {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let (subscribe, unsubscribe) = changed.partition(|name| self.endpoints.contains_key(name));
        Change { clusters: self.clusters, subscribe, unsubscribe }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_nobody_asks_for_are_dropped_and_others_stay() {
        let mut wanted = WantedNow::default();
        assert!(wanted.want_endpoints("a", 0) && wanted.want_endpoints("b", 0));
        assert_eq!(wanted.all().endpoints.len(), 2);
        assert!(!wanted.want_endpoints("b", 50));
        assert_eq!(wanted.drop_idle(60, 60), ["a".into()]);
        assert_eq!(wanted.change().unsubscribe, ["a".into()]);
        assert!(wanted.want_endpoints("a", 61), "it may be wanted again");
        assert_eq!(wanted.change().subscribe, ["a".into()]);
        assert_eq!(wanted.change(), Change::default());
    }
}
