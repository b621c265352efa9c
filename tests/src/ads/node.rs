//! The node with which a client identifies itself.

use std::net::IpAddr;

use xds_proto::{
    envoy::config::core::v3::{Locality, Node},
    google::protobuf::{Struct, Value, value::Kind},
};

/// A builder for a node as Istio's agent creates it for a VM. The default is a VM of `legacy/vm` in a separate network.
#[derive(Clone, Debug)]
pub struct NodeBuilder {
    namespace: String,
    service_account: String,
    addresses: Vec<String>,
    metadata: Vec<(String, Kind)>,
    locality: Option<Locality>,
}

impl Default for NodeBuilder {
    fn default() -> Self {
        let text = |text: &str| Kind::StringValue(text.to_owned());
        Self {
            namespace: "legacy".to_owned(),
            service_account: "vm".to_owned(),
            addresses: vec!["192.168.7.7".to_owned()],
            metadata: vec![
                ("CLUSTER_ID".to_owned(), text("cluster1")),
                ("NETWORK".to_owned(), text("vm-network")),
                ("DNS_CAPTURE".to_owned(), text("true")),
            ],
            locality: None,
        }
    }
}

impl NodeBuilder {
    /// Sets namespace and service account.
    #[must_use]
    pub fn account(mut self, namespace: &str, service_account: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        service_account.clone_into(&mut self.service_account);
        self
    }

    /// Sets `INSTANCE_IPS`.
    #[must_use]
    pub fn addresses(mut self, addresses: &[&str]) -> Self {
        self.addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        self
    }

    /// Sets `NETWORK`; empty removes it.
    #[must_use]
    pub fn network(self, network: &str) -> Self {
        if network.is_empty() { self.without("NETWORK") } else { self.text("NETWORK", network) }
    }

    /// Sets `CLUSTER_ID`.
    #[must_use]
    pub fn cluster(self, cluster: &str) -> Self {
        self.text("CLUSTER_ID", cluster)
    }

    /// Sets a metadata key to a string.
    #[must_use]
    pub fn text(self, key: &str, value: &str) -> Self {
        self.value(key, Kind::StringValue(value.to_owned()))
    }

    /// Sets a metadata key to any value.
    #[must_use]
    pub fn value(mut self, key: &str, value: Kind) -> Self {
        self = self.without(key);
        self.metadata.push((key.to_owned(), value));
        self
    }

    /// Removes a metadata key.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|(known, _)| known != key);
        self
    }

    /// Sets `LABELS`.
    #[must_use]
    pub fn labels(self, labels: &[(&str, &str)]) -> Self {
        let string = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let fields = labels.iter().map(|(key, value)| ((*key).to_owned(), string(value))).collect();
        self.value("LABELS", Kind::StructValue(Struct { fields }))
    }

    /// Sets `region/zone/subzone` in the node message.
    #[must_use]
    pub fn locality(mut self, locality: &str) -> Self {
        let mut parts = locality.split('/').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        self.locality = Some(Locality { region: part(), zone: part(), sub_zone: part() });
        self
    }

    /// Returns the `CLUSTER_ID`, or an empty string if it is not set.
    pub fn cluster_id(&self) -> &str {
        let found = self.metadata.iter().find(|(key, _)| key == "CLUSTER_ID");
        match found {
            Some((_, Kind::StringValue(cluster))) => cluster,
            _ => "",
        }
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the service account.
    pub fn service_account(&self) -> &str {
        &self.service_account
    }

    /// Returns the node message.
    pub fn build(&self) -> Node {
        let Self { namespace, service_account, addresses, metadata, locality } = self;
        let text = |text: &str| Kind::StringValue(text.to_owned());
        let own = [
            ("NAMESPACE".to_owned(), text(namespace)),
            ("SERVICE_ACCOUNT".to_owned(), text(service_account)),
            ("INSTANCE_IPS".to_owned(), text(&addresses.join(","))),
        ];
        let fields = own.into_iter().chain(metadata.clone());
        let fields = fields.map(|(key, kind)| (key, Value { kind: Some(kind) })).collect();
        let first = addresses.iter().find(|address| address.parse::<IpAddr>().is_ok());
        let first = first.map_or("192.168.7.7", String::as_str);
        Node {
            id: format!("sidecar~{first}~{service_account}.{namespace}~{namespace}.svc.cluster.local"),
            metadata: Some(Struct { fields }),
            locality: locality.clone(),
            ..Node::default()
        }
    }
}
