//! An Istio object.

use serde_json::{Value, json};

use super::{draw::Draw, kubernetes::created};

pub(super) fn object(draw: &mut Draw, kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    let group = if kind == "PeerAuthentication" { "security" } else { "networking" };
    json!({
        "apiVersion": format!("{group}.istio.io/v1"), "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created(draw)},
        "spec": spec,
    })
}
