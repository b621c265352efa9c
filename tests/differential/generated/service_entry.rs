//! Random service entries and workloads.

use serde_json::{Map, Value, json};

use super::{APPS, NAMESPACES, SHARED_HOST, draw::Draw, object::object};

const HOSTS: [&str; 5] = ["api.example", "db.example", "a.wild.example", SHARED_HOST, "shop.local"];

pub(super) fn service_entry(draw: &mut Draw, index: u32) -> Value {
    let resolution = draw.one_of(&["STATIC", "STATIC", "DNS", "DNS_ROUND_ROBIN", "NONE"]);
    let is_named = resolution.starts_with("DNS");
    let hosts = hosts(draw, is_named);
    let ports = ports(draw, hosts.len() > 1 && resolution != "NONE");
    let mut spec = json!({
        "hosts": hosts, "ports": ports, "resolution": resolution,
        "location": draw.one_of(&["MESH_INTERNAL", "MESH_INTERNAL", "MESH_EXTERNAL"]),
    });
    if draw.percent(40) {
        spec["addresses"] = json!(addresses(draw, is_named));
    }
    if resolution == "STATIC" && draw.percent(30) {
        spec["workloadSelector"] = json!({"labels": {"app": draw.one_of(&APPS)}});
    } else if resolution != "NONE" {
        let most = if resolution == "DNS_ROUND_ROBIN" { 1 } else { 3 };
        let count = draw.number(u32::from(resolution == "STATIC")..=most);
        let endpoints: Vec<_> = (0..count).map(|at| endpoint(draw, is_named, &ports, [index, at])).collect();
        spec["endpoints"] = json!(endpoints);
    }
    if draw.percent(20) {
        spec["exportTo"] = json!(draw.one_of(&[&["."][..], &["*"], &["payments"], &["legacy", "weather"]]));
    }
    if draw.percent(20) {
        spec["subjectAltNames"] = json!(["spiffe://cluster.local/ns/x/sa/named"]);
    }
    let namespace = draw.one_of(&NAMESPACES);
    object(draw, "ServiceEntry", namespace, &format!("entry-{index}"), spec)
}

fn hosts(draw: &mut Draw, is_named: bool) -> Vec<&'static str> {
    let count = draw.one_of(&[1, 1, 1, 2]);
    let mut hosts: Vec<&str> = Vec::new();
    while hosts.len() < count {
        let host = if draw.percent(20) && !is_named { "*.wild.example" } else { draw.one_of(&HOSTS) };
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// Several hosts on one port need a protocol that distinguishes them.
fn ports(draw: &mut Draw, must_tell: bool) -> Vec<Value> {
    let protocols: &[&str] = if must_tell {
        &["HTTP", "HTTPS", "GRPC", "TLS", "HTTP2"]
    } else {
        &["HTTP", "HTTPS", "GRPC", "TLS", "TCP", "MONGO", "HTTP2", "REDIS", "MYSQL"]
    };
    let mut ports: Vec<Value> = Vec::new();
    for number in draw.some_of(&[80, 443, 5432, 27017], 50) {
        let protocol = draw.one_of(protocols);
        let name = format!("{}-{number}", protocol.to_lowercase());
        let mut port = json!({"number": number, "name": name, "protocol": protocol});
        if draw.percent(25) {
            port["targetPort"] = (number + 1000).into();
        }
        ports.push(port);
    }
    if ports.is_empty() {
        ports.push(json!({"number": 8080, "name": "http", "protocol": "HTTP"}));
    }
    ports
}

fn addresses(draw: &mut Draw, is_named: bool) -> Vec<&'static str> {
    let whole = ["2.2.2.2", "2.2.2.3", if is_named { "2.2.2.4" } else { "3.3.3.3/32" }, "fd00:9::1"];
    let mut addresses = draw.some_of(&whole, 40);
    if !is_named && draw.percent(30) {
        addresses.push("10.99.0.0/16");
    }
    addresses
}

fn endpoint(draw: &mut Draw, is_named: bool, ports: &[Value], [entry, at]: [u32; 2]) -> Value {
    let address = match is_named && draw.percent(70) {
        true => format!("host{at}.example"),
        false => format!("10.40.{entry}.{}", at + 1),
    };
    let mut endpoint = workload(draw, address, false);
    if is_named {
        // istiod may not know the gateways of another network for a DNS cluster: it misses their last change
        // (`NetworkManager.reload`).
        endpoint.as_object_mut().expect("an endpoint").remove("network");
    }
    if draw.percent(25) {
        let names: Vec<_> = ports.iter().filter_map(|port| port["name"].as_str()).collect();
        let own = draw.some_of(&names, 70).into_iter().map(|name| (name.to_owned(), json!(9000 + at)));
        endpoint["ports"] = Value::Object(own.collect::<Map<_, _>>());
    }
    endpoint
}

/// Generates the spec of a `WorkloadEntry`, or an endpoint.
pub(super) fn workload(draw: &mut Draw, address: String, is_object: bool) -> Value {
    let mut workload = json!({"address": address});
    let mut labels = json!({});
    if is_object || draw.percent(20) {
        labels["app"] = draw.one_of(&APPS).into();
    }
    if draw.percent(30) {
        labels["version"] = draw.one_of(&["v1", "v2"]).into();
    }
    if draw.percent(20) {
        labels["security.istio.io/tlsMode"] = draw.one_of(&["istio", "disabled"]).into();
    }
    if labels != json!({}) {
        workload["labels"] = labels;
    }
    if draw.percent(40) {
        workload["network"] = draw.one_of(&["network1", "network2", "network3"]).into();
    }
    if draw.percent(30) {
        workload["locality"] = draw.one_of(&["r1/z1", "r2/z2/s2", "r3"]).into();
    }
    if draw.percent(30) {
        workload["weight"] = draw.number(1..=5).into();
    }
    if draw.percent(50) {
        workload["serviceAccount"] = draw.one_of(&["vm", "other"]).into();
    }
    if is_object && draw.percent(30) {
        workload["ports"] = json!({draw.one_of(&["http", "tcp", "grpc"]): 8888});
    }
    workload
}
