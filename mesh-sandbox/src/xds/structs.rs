//! `google.protobuf.Struct`, without the ceremony.

use xds_proto::google::protobuf::value::Kind;
use xds_proto::google::protobuf::{ListValue, Struct, Value};

pub(crate) fn string(text: impl Into<String>) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

pub(crate) fn boolean(value: bool) -> Value {
    Value { kind: Some(Kind::BoolValue(value)) }
}

pub(crate) fn list(values: Vec<Value>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values })) }
}

pub(crate) fn nested(value: Struct) -> Value {
    Value { kind: Some(Kind::StructValue(value)) }
}

pub(crate) fn fields<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
}
