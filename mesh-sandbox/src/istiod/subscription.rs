//! The subscription of one stream to one type (istio `WatchedResource` and `deltaWatchedResources` in
//! `pilot/pkg/xds/delta.go`).

use std::collections::BTreeSet;

use xds_proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;

/// The state of one stream's subscription to one resource type.
#[derive(Debug, Default)]
pub(crate) struct Subscription {
    /// The names as istiod records them: the requested names or, for wildcard types, the sent names.
    pub(crate) names: BTreeSet<String>,
    pub(crate) nonce_sent: String,
}

/// The effect of a request on the set of names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) changed: bool,
    /// The names to include in the response: new subscriptions, and names of resources that the client received before
    /// a reconnect.
    pub(crate) subscribed: BTreeSet<String>,
    /// Whether the request contains no name, or only `*`. The response then contains all resources.
    pub(crate) names_nothing: bool,
}

impl Subscription {
    /// Adds the subscribed names of a request, and removes its unsubscribed names.
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

    use super::Subscription;

    #[test]
    fn known_names_are_subscriptions_and_their_versions_are_ignored() {
        let mut subscription = Subscription::default();
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: vec!["*".to_owned()],
            initial_resource_versions: [("a".to_owned(), "7".to_owned())].into(),
            ..DeltaDiscoveryRequest::default()
        };
        assert!(subscription.apply(&request).changed);
        assert_eq!(subscription.names.iter().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn repeating_names_changes_nothing() {
        let mut subscription = Subscription::default();
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: vec!["a".to_owned()],
            ..DeltaDiscoveryRequest::default()
        };
        assert!(subscription.apply(&request).changed);
        assert!(!subscription.apply(&request).changed);
    }
}
