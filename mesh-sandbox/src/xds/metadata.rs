//! The metadata of a node. Every known key has a type, and a value of a different type invalidates the whole node
//! (istio `pkg/model/proxy.go`).

use std::collections::HashMap;

use xds_proto::google::protobuf::value::Kind;
use xds_proto::google::protobuf::{Struct, Value};

use super::structs;
use crate::yaml::kubernetes::Labels;

/// Metadata keys of type `StringBool`: the value is a JSON string, not a JSON boolean.
const BOOLEANS: [&str; 10] = [
    "DISABLE_HBONE_SEND",
    "DNS_AUTO_ALLOCATE",
    "DNS_CAPTURE",
    "ENABLE_HBONE",
    "ENABLE_SELF_DISCOVERY",
    "ENVOY_SKIP_DEPRECATED_LOGS",
    "EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
    "INBOUND_LISTENER_EXACT_BALANCE",
    "METADATA_DISCOVERY",
    "OUTBOUND_LISTENER_EXACT_BALANCE",
];
/// Metadata keys of type string or `StringList`.
const STRINGS: [&str; 21] = [
    "AUTO_REGISTER_GROUP",
    "BASE",
    "CLUSTER_ID",
    "DNS_PROXY_ADDR",
    "GENERATOR",
    "HTTP10",
    "HTTP_PROXY_PORT",
    "IDLE_TIMEOUT",
    "INSTANCE_IPS",
    "INTERCEPTION_MODE",
    "ISTIO_REVISION",
    "ISTIO_VERSION",
    "MESH_ID",
    "NAMESPACE",
    "NETWORK",
    "NODE_NAME",
    "REQUESTED_NETWORK_VIEW",
    "SERVICE_ACCOUNT",
    "UNPRIVILEGED_POD",
    "WORKLOAD_ENTRY",
    "WORKLOAD_NAME",
];
const NUMBERS: [&str; 4] = [
    "ENVOY_PROMETHEUS_PORT",
    "ENVOY_SECURE_MERGED_METRICS_PORT",
    "ENVOY_SECURE_METRICS_PORT",
    "ENVOY_STATUS_PORT",
];
const MAPS: [&str; 4] = ["ANNOTATIONS", "LABELS", "PLATFORM_METADATA", "STATIC_LABELS"];

/// Node metadata in which every value has the type that its key requires.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metadata<'a>(&'a HashMap<String, Value>);

impl<'a> Metadata<'a> {
    /// Checks the types of all values. The error has the format of Go's JSON decoder and contains all metadata.
    pub(super) fn read(fields: &'a HashMap<String, Value>) -> Result<Self, String> {
        let metadata = Self(fields);
        STRINGS.iter().try_for_each(|key| metadata.string(key).map(|_| ()))?;
        BOOLEANS.iter().try_for_each(|key| metadata.boolean(key).map(|_| ()))?;
        MAPS.iter().try_for_each(|key| metadata.labels(key).map(|_| ()))?;
        for key in NUMBERS {
            match metadata.kind(key) {
                None | Some(Kind::NullValue(_) | Kind::NumberValue(_)) => {}
                Some(other) => return Err(metadata.mismatch(key, other, "int")),
            }
        }
        match metadata.kind("PROXY_CONFIG") {
            None | Some(Kind::NullValue(_) | Kind::StructValue(_)) => Ok(metadata),
            Some(other) => Err(metadata.mismatch("PROXY_CONFIG", other, "map[string]json.RawMessage")),
        }
    }

    pub(super) fn string(&self, key: &str) -> Result<String, String> {
        let wanted = match key {
            "CLUSTER_ID" => "cluster.ID",
            "INTERCEPTION_MODE" => "model.TrafficInterceptionMode",
            "NETWORK" => "network.ID",
            _ => "string",
        };
        match self.kind(key) {
            None | Some(Kind::NullValue(_)) => Ok(String::new()),
            Some(Kind::StringValue(text)) => Ok(text.clone()),
            Some(other) => Err(self.mismatch(key, other, wanted)),
        }
    }

    pub(super) fn list(&self, key: &str) -> Result<Vec<String>, String> {
        let text = self.string(key)?;
        Ok(text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    /// Returns the JSON object of strings with this key. The object is empty if the key is missing.
    pub(super) fn labels(&self, key: &str) -> Result<Labels, String> {
        let labels = match self.kind(key) {
            None | Some(Kind::NullValue(_)) => return Ok(Labels::new()),
            Some(Kind::StructValue(labels)) => labels,
            Some(other) => return Err(self.mismatch(key, other, "map[string]string")),
        };
        let each = labels.fields.iter().map(|(name, value)| match &value.kind {
            Some(Kind::StringValue(text)) => Ok((name.clone(), text.clone())),
            None | Some(Kind::NullValue(_)) => Ok((name.clone(), String::new())),
            Some(other) => Err(self.mismatch(key, other, "string")),
        });
        each.collect()
    }

    /// Returns a `StringBool`: a string that Go's `strconv.ParseBool` accepts. A JSON boolean is an error (istio
    /// `pkg/model/proxy.go`).
    pub(super) fn boolean(&self, key: &str) -> Result<bool, String> {
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

    fn unparsable(&self, problem: &str) -> String {
        let all = Struct { fields: self.0.clone() };
        format!("failed to unmarshal node metadata ({}): {problem}", structs::json(&all))
    }
}
