//! Conversions of `google.protobuf.Struct` and `Duration`.

use xds_proto::google::protobuf::value::Kind;
use xds_proto::google::protobuf::{Duration, ListValue, Struct, Value};

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

pub(crate) fn duration(time: std::time::Duration) -> Duration {
    Duration {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or_default(),
    }
}

/// Converts a `Struct` to JSON with sorted keys.
pub(crate) fn json(value: &Struct) -> serde_json::Value {
    serde_json::Value::Object(
        value.fields.iter().map(|(key, value)| (key.clone(), json_value(value))).collect(),
    )
}

fn json_value(value: &Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(truth)) => (*truth).into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(json_value).collect(),
        Some(Kind::NumberValue(number)) => json_number(*number),
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::StructValue(value)) => json(value),
    }
}

/// Converts a number. Integers have no fraction, as in Go.
fn json_number(number: f64) -> serde_json::Value {
    let whole = format!("{number:.0}").parse::<i64>().ok().filter(|_| number.fract() == 0.0);
    whole.map_or_else(|| number.into(), Into::into)
}
