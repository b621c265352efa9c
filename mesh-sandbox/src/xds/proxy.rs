//! The proxy of a stream: the node of the first request, parsed as strictly as istiod does (istio
//! `pilot/pkg/model/context.go`).

use std::collections::HashMap;
use std::net::IpAddr;

use xds_proto::envoy::config::core::v3::Node;

use super::metadata::Metadata;
use crate::model::topology;
use crate::yaml::kubernetes::Labels;

/// The properties of a proxy that affect its resources.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxy {
    /// The complete id of the xDS node.
    pub(crate) node_id: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) namespace: String,
    pub(crate) service_account: String,
    pub(crate) cluster: String,
    pub(crate) network: String,
    /// The metadata `REQUESTED_NETWORK_VIEW`: if it is not empty, the proxy gets only endpoints of these networks.
    pub(crate) network_view: Vec<String>,
    pub(crate) dns_capture: bool,
    /// The metadata `DISABLE_HBONE_SEND`: if it is true, the proxy gets ambient workloads as plain addresses.
    pub(crate) disables_hbone: bool,
    pub(crate) is_router: bool,
    /// The metadata `LABELS`, with the topology labels.
    pub(crate) labels: Labels,
    /// The locality, as `region/zone/subzone`.
    pub(crate) locality: String,
}

impl Proxy {
    /// Parses a node. The error is the text of istiod's `InvalidArgument`.
    pub(crate) fn read(node: &Node) -> Result<Self, String> {
        let empty = HashMap::new();
        let metadata = Metadata::read(node.metadata.as_ref().map_or(&empty, |metadata| &metadata.fields))?;
        let labels = metadata.labels("LABELS")?;
        let instance_ips = metadata.list("INSTANCE_IPS")?;
        let dns_capture = metadata.boolean("DNS_CAPTURE")?;
        let parts: Vec<&str> = node.id.split('~').collect();
        let [kind, address, id, domain] = parts.as_slice() else {
            return Err(format!("missing parts in the service node \"{}\"", node.id));
        };
        if !KINDS.contains(kind) {
            return Err(format!(
                "invalid node type (valid types: [sidecar router waypoint ztunnel]) in the service node \"{}\"",
                node.id
            ));
        }
        let own: Option<Vec<IpAddr>> = instance_ips.iter().map(|address| address.parse().ok()).collect();
        let addresses = own.filter(|own| !own.is_empty()).or_else(|| Some(vec![address.parse().ok()?]));
        let addresses =
            addresses.ok_or_else(|| "no valid IP address in the service node id or metadata".to_owned())?;
        let _ = id;
        let (cluster, network) = (metadata.string("CLUSTER_ID")?, metadata.string("NETWORK")?);
        // The locality in the labels is used instead of the locality in the node (istio `xds/ads.go:316`).
        let locality = topology::of_proxy(&labels).unwrap_or_else(|| own_locality(node));
        let host = metadata.string("NODE_NAME")?;
        Ok(Self {
            node_id: node.id.clone(),
            addresses,
            namespace: namespace(&metadata.string("NAMESPACE")?, domain),
            service_account: metadata.string("SERVICE_ACCOUNT")?,
            labels: topology::augmented(&labels, &cluster, &locality, &host, &network),
            locality,
            cluster,
            network,
            network_view: metadata.list("REQUESTED_NETWORK_VIEW")?,
            dns_capture,
            disables_hbone: metadata.boolean("DISABLE_HBONE_SEND")?,
            is_router: *kind == "router",
        })
    }

    /// Returns whether the proxy is in this network. Returns `true` if either network is unknown (istio
    /// `Proxy.InNetwork`).
    pub(crate) fn is_in_network(&self, network: &str) -> bool {
        network.is_empty() || self.network.is_empty() || network == self.network
    }

    /// Returns whether the proxy is in this Kubernetes cluster. Returns `true` if either cluster is unknown.
    pub(crate) fn is_in_cluster(&self, cluster: &str) -> bool {
        cluster.is_empty() || self.cluster.is_empty() || cluster == self.cluster
    }

    /// Returns whether the requested network view contains a network. An empty view contains all networks, and every
    /// view contains the empty network.
    pub(crate) fn views(&self, network: &str) -> bool {
        network.is_empty() || self.network_view.is_empty() || self.network_view.iter().any(|it| it == network)
    }

    /// Returns whether the proxy has an address of the same family as `address`.
    pub(crate) fn speaks(&self, address: &str) -> bool {
        address
            .parse()
            .is_ok_and(|address: IpAddr| self.addresses.iter().any(|own| own.is_ipv4() == address.is_ipv4()))
    }

    /// Returns whether the proxy has IPv4 and IPv6 addresses.
    pub(crate) fn is_dual(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv4) && self.addresses.iter().any(IpAddr::is_ipv6)
    }
}

/// The types of xDS nodes that istiod knows.
const KINDS: [&str; 5] = ["sidecar", "router", "waypoint", "ztunnel", "agentgateway"];
fn own_locality(node: &Node) -> String {
    let Some(locality) = &node.locality else { return String::new() };
    format!("{}/{}/{}", locality.region, locality.zone, locality.sub_zone)
}

fn namespace(metadata: &str, domain: &str) -> String {
    match domain.split_once('.') {
        _ if !metadata.is_empty() => metadata.to_owned(),
        Some((namespace, _)) => namespace.to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use xds_proto::envoy::config::core::v3::Node;

    use super::Proxy;
    use crate::xds::structs::{boolean, fields, string};

    fn node(id: &str) -> Node {
        Node { id: id.to_owned(), ..Node::default() }
    }

    #[test]
    fn a_node_id_needs_four_parts_a_known_type_and_an_address() {
        assert!(Proxy::read(&node("sidecar~10.0.0.1~a.b~b.svc.cluster.local")).is_ok());
        assert!(Proxy::read(&node("sidecar~10.0.0.1~a.b")).unwrap_err().contains("missing parts"));
        assert!(Proxy::read(&node("car~10.0.0.1~a.b~c")).unwrap_err().contains("invalid node type"));
        assert!(Proxy::read(&node("sidecar~host~a.b~c")).unwrap_err().contains("no valid IP"));
    }

    #[test]
    fn the_namespace_falls_back_to_the_domain() {
        let proxy = Proxy::read(&node("sidecar~10.0.0.1~a.b~b.svc.cluster.local")).unwrap();
        assert_eq!(proxy.namespace, "b");
    }

    #[test]
    fn a_json_boolean_invalidates_the_metadata_and_a_string_does_not() {
        let mut node = node("sidecar~10.0.0.1~a.b~c.d");
        node.metadata = Some(fields([("DNS_CAPTURE", boolean(true))]));
        assert!(Proxy::read(&node).unwrap_err().contains("failed to unmarshal node metadata"));
        node.metadata = Some(fields([("DNS_CAPTURE", string("yes"))]));
        assert!(Proxy::read(&node).is_err());
        node.metadata = Some(fields([("DNS_CAPTURE", string("1"))]));
        assert!(Proxy::read(&node).unwrap().dns_capture);
    }
}
