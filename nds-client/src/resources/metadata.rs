//! Metadata of Envoy resources.

use std::collections::BTreeMap;

use xds_proto::google::protobuf::{Struct, Value, value::Kind};

/// The fields of a structure as texts, by which an endpoint selects among the transport sockets of its cluster.
pub(super) fn texts(wire: &Struct) -> BTreeMap<String, String> {
    let text = |value: &Value| match &value.kind {
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::NumberValue(value)) => value.to_string(),
        // A criterion that no endpoint of Istio's can satisfy.
        _ => "\0".to_owned(),
    };
    wire.fields.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}
