//! The node description that this client sends to istiod.

use std::collections::BTreeMap;

use xds_proto::{
    envoy::config::core::v3::Node,
    google::protobuf::{ListValue, Struct, Value, value::Kind},
};

use crate::{config::Config, resources::locality::Locality};

/// The version of Istio that this client was tested with.
const ISTIO_VERSION: &str = "1.30.0";

/// Returns the node for the first message of a stream (istio `pkg/model/proxy.go`, `pilot/pkg/model/context.go`).
///
/// The type is `sidecar`: for a `router` istiod generates a different, sometimes empty, name table. Booleans are
/// strings: istiod ends the stream on a JSON boolean.
///
/// `DISABLE_HBONE_SEND` is never set: with it, istiod sends an ambient pod as a plain address without any mark, and a
/// client would send plaintext to it (istio `pilot/pkg/xds/endpoints/endpoint_builder.go`).
pub(super) fn node(config: &Config) -> Node {
    let addresses: Vec<_> = config.addresses.iter().map(ToString::to_string).collect();
    let main = addresses.first().cloned().unwrap_or_default();
    let mut metadata: BTreeMap<String, Value> =
        config.metadata.iter().map(|(key, value)| (key.clone(), json(value))).collect();
    let labels = config.labels.iter().map(|(key, value)| (key.clone(), text(value)));
    // istiod logs a warning for a proxy without a version, and treats it as the newest.
    metadata.entry("ISTIO_VERSION".to_owned()).or_insert_with(|| text(ISTIO_VERSION));
    let own = [
        ("NAME", text(&config.name)),
        ("NAMESPACE", text(&config.namespace)),
        ("SERVICE_ACCOUNT", text(&config.service_account)),
        ("CLUSTER_ID", text(&config.cluster_id)),
        ("NETWORK", text(&config.network)),
        // All addresses: istiod omits names and gateways of address families that the node does not have.
        ("INSTANCE_IPS", text(&addresses.join(","))),
        // Without these keys istiod omits ServiceEntries without an address.
        ("DNS_CAPTURE", text("true")),
        ("DNS_AUTO_ALLOCATE", text("true")),
        ("LABELS", structure(labels.collect())),
    ];
    metadata.extend(own.map(|(key, value)| (key.to_owned(), value)));
    metadata.remove("DISABLE_HBONE_SEND");
    let Config { name, namespace, dns_domain, .. } = config;
    Node {
        id: format!("sidecar~{main}~{name}.{namespace}~{dns_domain}"),
        cluster: format!("{name}.{namespace}"),
        metadata: Some(Struct { fields: metadata.into_iter().collect() }),
        locality: config.locality.clone().map(Locality::into_wire),
        user_agent_name: "sidestep".to_owned(),
    }
}

fn text(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.to_owned())) }
}

fn structure(fields: BTreeMap<String, Value>) -> Value {
    Value { kind: Some(Kind::StructValue(Struct { fields: fields.into_iter().collect() })) }
}

fn json(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::StringValue(value.to_string()),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(values) => Kind::ListValue(ListValue { values: values.iter().map(json).collect() }),
        Json::Object(fields) => {
            return structure(fields.iter().map(|(key, value)| (key.clone(), json(value))).collect());
        }
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_has_a_four_part_id_all_addresses_and_booleans_as_strings() {
        let config = Config {
            namespace: "vms".into(),
            service_account: "edge-app".into(),
            network: "vm-network".into(),
            addresses: vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            name: "vm-1".into(),
            dns_domain: "vms.svc.cluster.local".into(),
            metadata: [("MESH_ID".to_owned(), "mesh1".into()), ("FLAG".to_owned(), true.into())].into(),
            labels: [("app".to_owned(), "edge".to_owned())].into(),
            ..Config::for_tests()
        };
        let node = node(&config);
        assert_eq!(node.id, "sidecar~10.0.0.1~vm-1.vms~vms.svc.cluster.local");
        let fields = node.metadata.unwrap().fields;
        let value = |key: &str| match &fields[key].kind {
            Some(Kind::StringValue(text)) => text.clone(),
            other => panic!("{key}: {other:?}"),
        };
        assert_eq!(value("INSTANCE_IPS"), "10.0.0.1,2001:db8::1");
        assert_eq!(
            (value("DNS_CAPTURE"), value("DNS_AUTO_ALLOCATE"), value("FLAG")),
            ("true".into(), "true".into(), "true".into())
        );
        assert_eq!((value("NETWORK"), value("MESH_ID")), ("vm-network".into(), "mesh1".into()));
        assert!(!fields.contains_key("REQUESTED_NETWORK_VIEW"));
    }

    #[test]
    fn istiod_marks_ambient_pods_even_if_the_metadata_of_the_program_asks_for_plain_addresses() {
        let metadata = [("DISABLE_HBONE_SEND".to_owned(), true.into())].into();
        let config = Config { metadata, ..Config::for_tests() };
        assert!(!node(&config).metadata.unwrap().fields.contains_key("DISABLE_HBONE_SEND"));
    }
}
