//! Metadata of Envoy resources.

use std::collections::BTreeMap;

use xds_proto::google::protobuf::{Struct, Value, value::Kind};

/// Returns the fields of a metadata structure as strings. Endpoints select a transport socket by these strings.
pub(super) fn texts(wire: &Struct) -> BTreeMap<String, String> {
    let text = |value: &Value| match &value.kind {
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::BoolValue(value)) => value.to_string(),
        Some(Kind::NumberValue(value)) => value.to_string(),
        // A value of another type, which istiod never sends, becomes a text that matches nothing.
        _ => "\0".to_owned(),
    };
    wire.fields.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}
