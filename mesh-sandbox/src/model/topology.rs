//! Labels for cluster, locality, node and network (istio `pilot/pkg/serviceregistry/util/label/label.go`).

use super::networks::NETWORK_LABEL;
use super::pods::labelled_locality;
use crate::yaml::kubernetes::Labels;

pub(crate) const REGION: &str = "topology.kubernetes.io/region";
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";
pub(crate) const SUBZONE: &str = "topology.istio.io/subzone";
const CLUSTER: &str = "topology.istio.io/cluster";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Returns `labels` with the topology labels that istiod adds to every proxy and endpoint.
pub(crate) fn augmented(labels: &Labels, cluster: &str, locality: &str, node: &str, network: &str) -> Labels {
    let mut all = labels.clone();
    let mut parts = locality.split('/');
    let mut part = || parts.next().unwrap_or_default();
    let added = [(REGION, part()), (ZONE, part()), (SUBZONE, part()), (CLUSTER, cluster), (HOSTNAME, node)];
    for (key, value) in added.into_iter().filter(|(_, value)| !value.is_empty()) {
        all.insert(key.to_owned(), value.to_owned());
    }
    if !network.is_empty() && all.get(NETWORK_LABEL).is_none_or(String::is_empty) {
        all.insert(NETWORK_LABEL.to_owned(), network.to_owned());
    }
    all
}

/// Returns `region/zone/subzone` from the labels of a proxy, or `None` without such labels (istio `xds/ads.go:342`).
pub(crate) fn of_proxy(labels: &Labels) -> Option<String> {
    let parts = [REGION, ZONE, SUBZONE].map(|key| labels.get(key).map(String::as_str));
    if parts.iter().all(Option::is_none) {
        return labelled_locality(labels);
    }
    let [region, zone, subzone] = parts.map(Option::unwrap_or_default);
    Some(format!("{region}/{zone}/{subzone}"))
}

#[cfg(test)]
mod tests {
    use super::{augmented, of_proxy};
    use crate::yaml::kubernetes::Labels;

    #[test]
    fn known_labels_are_added_and_a_network_label_is_not_replaced() {
        let own = Labels::from([("topology.istio.io/network".to_owned(), "own".to_owned())]);
        let all = augmented(&own, "c1", "r1/z1", "", "n1");
        let keys: Vec<_> = all.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let expected = [
            "topology.istio.io/cluster=c1",
            "topology.istio.io/network=own",
            "topology.kubernetes.io/region=r1",
            "topology.kubernetes.io/zone=z1",
        ];
        assert_eq!(keys, expected);
        assert_eq!(of_proxy(&all).as_deref(), Some("r1/z1/"));
        assert_eq!(of_proxy(&Labels::new()), None);
    }
}
