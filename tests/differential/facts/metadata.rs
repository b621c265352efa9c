//! `google.protobuf.Struct` as fields.

use xds_proto::{
    envoy::config::core::v3::Metadata,
    google::protobuf::{Struct, Value, value::Kind},
};

use super::Fields;

/// Adds all values of the metadata with their paths.
pub(crate) fn fields(metadata: Option<&Metadata>, into: &mut Fields) {
    for (filter, content) in metadata.iter().flat_map(|metadata| &metadata.filter_metadata) {
        of_struct(filter, content, into);
    }
}

/// Adds the fields of a struct below `path`.
pub(crate) fn of_struct(path: &str, content: &Struct, into: &mut Fields) {
    for (key, value) in &content.fields {
        of_value(&format!("{path}.{key}"), value, into);
    }
}

fn of_value(path: &str, value: &Value, into: &mut Fields) {
    match &value.kind {
        Some(Kind::StructValue(content)) => of_struct(path, content, into),
        Some(Kind::ListValue(list)) => {
            for (index, value) in list.values.iter().enumerate() {
                of_value(&format!("{path}[{index}]"), value, into);
            }
        }
        Some(Kind::StringValue(text)) => into.set(path, text),
        Some(other) => into.set(path, format!("{other:?}")),
        None => into.set(path, "null"),
    }
}
