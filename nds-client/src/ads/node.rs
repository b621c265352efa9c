//! Who we tell istiod that we are.

use std::collections::BTreeMap;

use xds_proto::{
    envoy::config::core::v3::Node,
    google::protobuf::{ListValue, Struct, Value, value::Kind},
};

use crate::Config;

/// The node of the first message of a stream (istio `pkg/model/proxy.go`, `pilot/pkg/model/context.go`).
///
/// Type `sidecar`: istiod gives `router` another, sometimes empty, name table. Booleans are texts: a JSON boolean ends
/// the stream.
pub(super) fn node(config: &Config) -> Node {
    let addresses: Vec<_> = config.addresses.iter().map(ToString::to_string).collect();
    let main = addresses.first().cloned().unwrap_or_default();
    let mut metadata: BTreeMap<String, Value> = config
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), json(value)))
        .collect();
    let labels = config
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), text(value)));
    let ours = [
        ("NAME", text(&config.name)),
        ("NAMESPACE", text(&config.namespace)),
        ("SERVICE_ACCOUNT", text(&config.service_account)),
        ("CLUSTER_ID", text(&config.cluster_id)),
        ("NETWORK", text(&config.network)),
        // All addresses: istiod leaves out names and gateways of families that the node does not have.
        ("INSTANCE_IPS", text(&addresses.join(","))),
        // Without these two istiod leaves out ServiceEntries that have no address of their own.
        ("DNS_CAPTURE", text("true")),
        ("DNS_AUTO_ALLOCATE", text("true")),
        ("DISABLE_HBONE_SEND", text("true")),
        ("LABELS", structure(labels.collect())),
    ];
    metadata.extend(ours.map(|(key, value)| (key.to_owned(), value)));
    let Config {
        name,
        namespace,
        dns_domain,
        ..
    } = config;
    Node {
        id: format!("sidecar~{main}~{name}.{namespace}~{dns_domain}"),
        cluster: format!("{name}.{namespace}"),
        metadata: Some(Struct {
            fields: metadata.into_iter().collect(),
        }),
        locality: config.locality.clone().map(Into::into),
        user_agent_name: "sidestep".to_owned(),
    }
}

fn text(value: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(value.to_owned())),
    }
}

fn structure(fields: BTreeMap<String, Value>) -> Value {
    Value {
        kind: Some(Kind::StructValue(Struct {
            fields: fields.into_iter().collect(),
        })),
    }
}

fn json(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::StringValue(value.to_string()),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(json).collect(),
        }),
        Json::Object(fields) => {
            return structure(
                fields
                    .iter()
                    .map(|(key, value)| (key.clone(), json(value)))
                    .collect(),
            );
        }
    };
    Value { kind: Some(kind) }
}
