//! Metadata of Envoy resources.

use std::collections::BTreeMap;

use xds_proto::google::protobuf::{Struct, Value, value::Kind};

/// Returns the fields of a structure as strings, by which an endpoint selects a transport socket.
pub(super) fn texts(wire: &Struct) -> BTreeMap<String, String> {
    let text = |value: &Value| match &value.kind {
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::NumberValue(value)) => value.to_string(),
        // No endpoint of Istio has a value of another type.
        _ => "\0".to_owned(),
    };
    wire.fields.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}
