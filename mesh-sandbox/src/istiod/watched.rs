//! What one stream watches of one type (istio `WatchedResource` and `deltaWatchedResources`; facts C.6).

use std::collections::BTreeSet;

use xds_proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;

/// The state of a subscription.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// The names, as istiod counts them: what was asked for, or for wildcard types what was sent.
    pub(crate) names: BTreeSet<String>,
    pub(crate) nonce_sent: String,
}

/// What a request does to a set of names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) changed: bool,
    /// What the answer is about: names subscribed to or known from before a reconnect.
    pub(crate) subscribed: BTreeSet<String>,
    /// Nothing was named, or `*` alone: the answer is about everything.
    pub(crate) names_nothing: bool,
}

impl Watched {
    /// Takes the names of a request in.
    pub(crate) fn apply(&mut self, request: &DeltaDiscoveryRequest) -> Change {
        let mut change = Change::default();
        let added = request.resource_names_subscribe.iter().chain(request.initial_resource_versions.keys());
        for name in added {
            change.changed |= self.names.insert(name.clone());
            change.subscribed.insert(name.clone());
        }
        for name in &request.resource_names_unsubscribe {
            change.changed |= self.names.remove(name);
            change.subscribed.remove(name);
        }
        self.names.remove("*");
        change.subscribed.remove("*");
        change.names_nothing =
            change.subscribed.is_empty() && request.resource_names_unsubscribe.iter().all(|name| name == "*");
        change
    }
}

#[cfg(test)]
mod tests {
    use xds_proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;

    use super::Watched;

    #[test]
    fn known_names_count_and_their_versions_do_not() {
        let mut watched = Watched::default();
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: vec!["*".to_owned()],
            initial_resource_versions: [("a".to_owned(), "7".to_owned())].into(),
            ..DeltaDiscoveryRequest::default()
        };
        assert!(watched.apply(&request).changed);
        assert_eq!(watched.names.iter().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn the_same_names_again_are_no_change() {
        let mut watched = Watched::default();
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: vec!["a".to_owned()],
            ..DeltaDiscoveryRequest::default()
        };
        assert!(watched.apply(&request).changed);
        assert!(!watched.apply(&request).changed);
    }
}
