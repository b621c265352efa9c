//! Random Istio objects for the generated services. They are in the config cluster.

use serde_json::{Value, json};

use super::{
    ALL_NAMESPACES, APPS, NAMESPACES,
    destination_rule::destination_rule,
    draw::Draw,
    object::object,
    service_entry::{service_entry, workload},
};

/// Generates all objects.
pub(super) fn objects(draw: &mut Draw) -> Vec<Value> {
    let mut objects = Vec::new();
    let mut hosts = Vec::new();
    for index in 0..draw.number(0..=4) {
        let entry = service_entry(draw, index);
        // A host that occurs twice in a namespace is a mistake, and istiod uses the first one.
        let own = |host: &Value| (entry["metadata"]["namespace"].clone(), host.clone());
        let own: Vec<_> = entry["spec"]["hosts"].as_array().into_iter().flatten().map(own).collect();
        if own.iter().all(|host| !hosts.contains(host)) {
            hosts.extend(own);
            objects.push(entry);
        }
    }
    for index in 0..draw.number(0..=3) {
        let namespace = draw.one_of(&NAMESPACES);
        let spec = workload(draw, format!("10.30.0.{}", index + 1), true);
        objects.push(object(draw, "WorkloadEntry", namespace, &format!("workload-{index}"), spec));
    }
    for index in 0..draw.number(0..=3) {
        objects.push(peer_authentication(draw, index));
    }
    for index in 0..draw.number(0..=4) {
        objects.push(destination_rule(draw, index));
    }
    for index in 0..draw.one_of(&[0, 0, 1, 2]) {
        objects.push(sidecar(draw, index));
    }
    objects
}

fn peer_authentication(draw: &mut Draw, index: u32) -> Value {
    let mode = |draw: &mut Draw| json!({"mode": draw.one_of(&["STRICT", "PERMISSIVE", "DISABLE", "UNSET"])});
    let namespace = draw.one_of(&ALL_NAMESPACES);
    let mut spec = json!({});
    if draw.percent(90) {
        spec["mtls"] = mode(draw);
    }
    if namespace != "istio-system" && draw.percent(50) {
        spec["selector"] = json!({"matchLabels": {"app": draw.one_of(&APPS)}});
        if draw.percent(60) {
            let port = draw.one_of(&["8080", "8081", "80"]);
            spec["portLevelMtls"] = json!({port: mode(draw)});
        }
    }
    object(draw, "PeerAuthentication", namespace, &format!("policy-{index}"), spec)
}

fn sidecar(draw: &mut Draw, index: u32) -> Value {
    let namespace = if index == 0 { draw.one_of(&["legacy", "weather", "istio-system"]) } else { "legacy" };
    let hosts = [
        "./*",
        "weather/*",
        "*/*",
        "istio-system/*",
        "*/a.weather.svc.cluster.local",
        "payments/b.payments.svc.cluster.local",
        "*/*.example",
        "~/*",
    ];
    let mut egress = Vec::new();
    for _ in 0..draw.number(1..=2) {
        let mut chosen = draw.some_of(&hosts, 35);
        if chosen.contains(&"~/*") && chosen.len() > 1 {
            chosen.retain(|host| *host != "~/*");
        }
        if chosen.is_empty() {
            chosen.push("./*");
        }
        egress.push(json!({"hosts": chosen}));
    }
    if egress.len() > 1 {
        let number = draw.one_of(&[80, 443]);
        let protocol = draw.one_of(&["HTTP", "TCP"]);
        egress[0]["port"] = json!({"number": number, "name": "x", "protocol": protocol});
    }
    let mut spec = json!({"egress": egress});
    if index > 0 && namespace != "istio-system" {
        spec["workloadSelector"] = json!({"labels": {"app": "labelled"}});
    }
    object(draw, "Sidecar", namespace, &format!("sidecar-{index}"), spec)
}
