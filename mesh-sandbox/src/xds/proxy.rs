//! Who is asking: the node of the first request, read as strictly as istiod reads it (facts C.2).

use std::collections::HashMap;
use std::net::IpAddr;

use xds_proto::envoy::config::core::v3::Node;
use xds_proto::google::protobuf::value::Kind;
use xds_proto::google::protobuf::{Struct, Value};

use super::structs;

/// A proxy, as far as it decides what it is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxy {
    /// The whole node id.
    pub(crate) node_id: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) namespace: String,
    pub(crate) service_account: String,
    pub(crate) cluster: String,
    pub(crate) network: String,
    /// `REQUESTED_NETWORK_VIEW`: the only networks whose endpoints it wants. Empty: all.
    pub(crate) network_view: Vec<String>,
    pub(crate) dns_capture: bool,
    pub(crate) is_router: bool,
}

impl Proxy {
    /// Reads a node; the error is the text of istiod's `InvalidArgument`.
    pub(crate) fn read(node: &Node) -> Result<Self, String> {
        let empty = HashMap::new();
        let metadata = Metadata(node.metadata.as_ref().map_or(&empty, |metadata: &Struct| &metadata.fields));
        metadata.labels("LABELS")?;
        metadata.labels("ANNOTATIONS")?;
        let instance_ips = metadata.list("INSTANCE_IPS")?;
        let dns_capture = metadata.boolean("DNS_CAPTURE")?;
        for key in BOOLEANS {
            metadata.boolean(key)?;
        }
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
        Ok(Self {
            node_id: node.id.clone(),
            addresses,
            namespace: namespace(&metadata.string("NAMESPACE")?, domain),
            service_account: metadata.string("SERVICE_ACCOUNT")?,
            cluster: metadata.string("CLUSTER_ID")?,
            network: metadata.string("NETWORK")?,
            network_view: metadata.list("REQUESTED_NETWORK_VIEW")?,
            dns_capture,
            is_router: *kind == "router",
        })
    }

    /// Same network, or unknown on either side (istio `Proxy.InNetwork`).
    pub(crate) fn is_in_network(&self, network: &str) -> bool {
        network.is_empty() || self.network.is_empty() || network == self.network
    }

    /// Same cluster, or unknown on either side.
    pub(crate) fn is_in_cluster(&self, cluster: &str) -> bool {
        cluster.is_empty() || self.cluster.is_empty() || cluster == self.cluster
    }

    /// Whether it wants to see endpoints of a network. No network is in every view.
    pub(crate) fn views(&self, network: &str) -> bool {
        network.is_empty() || self.network_view.is_empty() || self.network_view.iter().any(|it| it == network)
    }

    /// Whether it has an address of the same family as `address`.
    pub(crate) fn speaks(&self, address: &str) -> bool {
        address
            .parse()
            .is_ok_and(|address: IpAddr| self.addresses.iter().any(|own| own.is_ipv4() == address.is_ipv4()))
    }

    /// Both families.
    pub(crate) fn is_dual(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv4) && self.addresses.iter().any(IpAddr::is_ipv6)
    }
}

/// The node types that istiod knows.
const KINDS: [&str; 5] = ["sidecar", "router", "waypoint", "ztunnel", "agentgateway"];
/// Keys of the type StringBool that decide nothing here, but break parsing all the same.
const BOOLEANS: [&str; 5] =
    ["DNS_AUTO_ALLOCATE", "ENABLE_HBONE", "DISABLE_HBONE_SEND", "HTTP10", "UNPRIVILEGED_POD"];

struct Metadata<'a>(&'a HashMap<String, Value>);

impl Metadata<'_> {
    fn string(&self, key: &str) -> Result<String, String> {
        match self.kind(key) {
            None | Some(Kind::NullValue(_)) => Ok(String::new()),
            Some(Kind::StringValue(text)) => Ok(text.clone()),
            Some(other) => Err(self.mismatch(key, other, "string")),
        }
    }

    fn list(&self, key: &str) -> Result<Vec<String>, String> {
        let text = self.string(key)?;
        Ok(text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    /// A JSON object of strings.
    fn labels(&self, key: &str) -> Result<(), String> {
        match self.kind(key) {
            None | Some(Kind::NullValue(_)) => Ok(()),
            Some(Kind::StructValue(labels)) => {
                let wrong = labels.fields.values().filter_map(|value| value.kind.as_ref());
                let wrong = wrong.filter(|kind| !matches!(kind, Kind::StringValue(_) | Kind::NullValue(_)));
                wrong.map(|kind| Err(self.mismatch(key, kind, "string"))).next().unwrap_or(Ok(()))
            }
            Some(other) => Err(self.mismatch(key, other, "map[string]string")),
        }
    }

    /// `StringBool`: a string that Go's `strconv.ParseBool` takes; a JSON boolean is a parse error (facts C.2, J.1).
    fn boolean(&self, key: &str) -> Result<bool, String> {
        match self.kind(key) {
            None => Ok(false),
            Some(Kind::StringValue(text)) => match text.as_str() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
                _ => Err(self.unparsable(&format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))),
            },
            Some(_) => Err(self.unparsable("invalid syntax")),
        }
    }

    fn kind(&self, key: &str) -> Option<&Kind> {
        self.0.get(key).and_then(|value| value.kind.as_ref())
    }

    fn mismatch(&self, key: &str, found: &Kind, wanted: &str) -> String {
        let found = match found {
            Kind::BoolValue(_) => "bool",
            Kind::ListValue(_) => "array",
            Kind::NumberValue(_) => "number",
            Kind::StringValue(_) => "string",
            Kind::NullValue(_) | Kind::StructValue(_) => "object",
        };
        self.unparsable(&format!(
            "json: cannot unmarshal {found} into Go struct field BootstrapNodeMetadata2.NodeMetadata.{key} of \
             type {wanted}"
        ))
    }

    /// The text of Go's error, with all of the metadata in it.
    fn unparsable(&self, problem: &str) -> String {
        let all = Struct { fields: self.0.clone() };
        format!("failed to unmarshal node metadata ({}): {problem}", structs::json(&all))
    }
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
    fn a_node_id_has_four_parts_a_known_type_and_an_address() {
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
    fn a_json_boolean_breaks_the_metadata_and_a_string_does_not() {
        let mut node = node("sidecar~10.0.0.1~a.b~c.d");
        node.metadata = Some(fields([("DNS_CAPTURE", boolean(true))]));
        assert!(Proxy::read(&node).unwrap_err().contains("failed to unmarshal node metadata"));
        node.metadata = Some(fields([("DNS_CAPTURE", string("yes"))]));
        assert!(Proxy::read(&node).is_err());
        node.metadata = Some(fields([("DNS_CAPTURE", string("1"))]));
        assert!(Proxy::read(&node).unwrap().dns_capture);
    }
}
