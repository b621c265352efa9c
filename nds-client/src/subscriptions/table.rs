//! The subscriptions as a value. Callers add subscriptions; the xDS stream takes the changes and sends them to istiod.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    resources::endpoint::Endpoints,
    watched::{Watch, WatchSender},
};

/// The subscriptions of a new stream, except the name table.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct SubscriptionSet {
    /// Whether the stream subscribes to clusters.
    pub(crate) clusters: bool,
    /// The EDS names to subscribe to.
    pub(crate) endpoints: BTreeSet<Arc<str>>,
}

/// A change of the subscriptions of an open stream. A name that was dropped and is used again is in both lists.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct SubscriptionDelta {
    pub(crate) clusters: bool,
    pub(crate) subscribe: Vec<Arc<str>>,
    pub(crate) unsubscribe: Vec<Arc<str>>,
}

/// All subscriptions, and the changes that the stream has not sent yet.
#[derive(Debug, Default)]
pub(super) struct Table {
    clusters: bool,
    endpoints: BTreeMap<Arc<str>, Entry>,
    /// The number of EDS names with a subscription.
    subscribed: usize,
    subscribe: BTreeSet<Arc<str>>,
    unsubscribe: BTreeSet<Arc<str>>,
}

/// One EDS name. The entry exists as long as the subscription or a handle exists.
#[derive(Debug)]
struct Entry {
    sender: WatchSender<Option<Arc<Endpoints>>>,
    usage: Arc<Usage>,
}

/// The use of the endpoints of one EDS name. The table and the handles share it.
#[derive(Debug, Default)]
pub(super) struct Usage {
    subscribed: AtomicBool,
    /// The time of the last use, in seconds since the client started.
    last: AtomicU64,
}

impl Usage {
    pub(super) fn touch(&self, now: u64) {
        self.last.store(now, Relaxed);
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed.load(Relaxed)
    }
}

/// The parts of a handle to the endpoints of one EDS name: the name, the watch of the endpoints, and their use.
pub(super) type Subscribed = (Arc<str>, Watch<Option<Arc<Endpoints>>>, Arc<Usage>);

impl Table {
    /// Subscribes to clusters. Returns whether the subscription is new.
    pub(super) fn subscribe_clusters(&mut self) -> bool {
        !std::mem::replace(&mut self.clusters, true)
    }

    /// Subscribes to the endpoints of a name. Returns whether the subscription is new, and the handle.
    pub(super) fn subscribe(&mut self, name: &str, now: u64) -> (bool, Subscribed) {
        let known = self.endpoints.get_key_value(name).map(|(name, _)| name.clone());
        let name = known.unwrap_or_else(|| name.into());
        let entry = self.endpoints.entry(name.clone()).or_insert_with(Entry::new);
        entry.usage.touch(now);
        let is_new = !entry.usage.subscribed.swap(true, Relaxed);
        if is_new {
            self.subscribed += 1;
            self.subscribe.insert(name.clone());
        }
        (is_new, (name, entry.sender.subscribe(), entry.usage.clone()))
    }

    fn subscribed(&self) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.endpoints.iter().filter(|(_, entry)| entry.usage.is_subscribed())
    }

    /// Returns the number of EDS subscriptions.
    pub(super) fn len(&self) -> usize {
        self.subscribed
    }

    /// Returns the received endpoints of all subscribed names.
    pub(super) fn endpoints(&self) -> Vec<(Arc<str>, Arc<Endpoints>)> {
        let published = |(name, entry): (&Arc<str>, &Entry)| Some((name.clone(), entry.sender.current()?));
        self.subscribed().filter_map(published).collect()
    }

    /// Publishes endpoints. Returns `None` if they are unchanged or not subscribed to.
    pub(super) fn publish(&self, name: &str, endpoints: Endpoints) -> Option<()> {
        let entry = self.endpoints.get(name).filter(|entry| entry.usage.is_subscribed())?;
        let changed = entry.sender.current().as_deref() != Some(&endpoints);
        changed.then(|| entry.sender.send(Some(Arc::new(endpoints))))
    }

    pub(super) fn drop_idle(&mut self, now: u64, idle: u64) -> usize {
        let mut dropped = 0;
        self.endpoints.retain(|name, entry| {
            let Usage { subscribed, last } = &*entry.usage;
            if subscribed.load(Relaxed) && last.load(Relaxed).saturating_add(idle) <= now {
                dropped += 1;
                subscribed.store(false, Relaxed);
                entry.sender.send(None);
                if !self.subscribe.remove(name) {
                    self.unsubscribe.insert(name.clone());
                }
            }
            subscribed.load(Relaxed) || entry.sender.has_subscribers()
        });
        self.subscribed -= dropped;
        dropped
    }

    pub(super) fn all(&mut self) -> SubscriptionSet {
        self.subscribe.clear();
        self.unsubscribe.clear();
        let endpoints = self.subscribed().map(|(name, _)| name.clone()).collect();
        SubscriptionSet { clusters: self.clusters, endpoints }
    }

    pub(super) fn change(&mut self) -> SubscriptionDelta {
        SubscriptionDelta {
            clusters: self.clusters,
            subscribe: std::mem::take(&mut self.subscribe).into_iter().collect(),
            unsubscribe: std::mem::take(&mut self.unsubscribe).into_iter().collect(),
        }
    }
}

impl Entry {
    fn new() -> Self {
        Self { sender: WatchSender::with_first(None), usage: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(table: &mut Table, name: &str, now: u64) -> bool {
        table.subscribe(name, now).0
    }

    #[test]
    fn only_unused_endpoints_are_dropped() {
        let mut table = Table::default();
        assert!(subscribe(&mut table, "a", 0) && subscribe(&mut table, "b", 0));
        assert_eq!(table.all().endpoints.len(), 2);
        assert!(!subscribe(&mut table, "b", 50));
        assert_eq!(table.drop_idle(60, 60), 1);
        assert_eq!(table.change().unsubscribe, ["a".into()]);
        assert!(subscribe(&mut table, "a", 61), "a dropped name can be subscribed to again");
        assert_eq!(table.change().subscribe, ["a".into()]);
        assert_eq!(table.change(), SubscriptionDelta::default());
    }

    #[test]
    fn a_name_used_again_before_its_drop_is_sent_is_unsubscribed_and_subscribed() {
        let mut table = Table::default();
        subscribe(&mut table, "a", 0);
        table.all();
        table.drop_idle(60, 60);
        subscribe(&mut table, "a", 61);
        let change = table.change();
        assert_eq!((change.subscribe, change.unsubscribe), (vec!["a".into()], vec!["a".into()]));
        subscribe(&mut table, "b", 61);
        table.drop_idle(200, 60);
        assert_eq!(table.change().unsubscribe, ["a".into()], "the subscription to b was never sent");
    }

    #[test]
    fn a_push_changes_only_its_name_and_only_if_the_endpoints_differ() {
        let mut table = Table::default();
        let (_, (_, one, _)) = table.subscribe("one", 0);
        let (_, (_, other, _)) = table.subscribe("other", 0);
        let untouched = other.get();
        assert!(table.publish("one", Endpoints::default()).is_some());
        let published = one.get();
        assert!(table.publish("one", Endpoints::default()).is_none());
        assert!(table.publish("unknown", Endpoints::default()).is_none());
        assert!(Arc::ptr_eq(&one.get(), &published) && Arc::ptr_eq(&other.get(), &untouched));
        assert!(one.current().is_some() && other.current().is_none());
    }

    #[test]
    fn a_dropped_name_is_removed_with_its_last_handle() {
        let mut table = Table::default();
        let (_, (_, watch, _)) = table.subscribe("a", 0);
        table.publish("a", Endpoints::default());
        table.drop_idle(60, 60);
        assert!(watch.current().is_none());
        assert_eq!(table.endpoints.len(), 1, "the handle can subscribe again");
        drop(watch);
        table.drop_idle(60, 60);
        assert!(table.endpoints.is_empty());
    }
}
