//! Random services with their pods and slices.

use serde_json::{Value, json};

use super::{APPS, NAMESPACES, Object, draw::Draw};

/// The definition of a service in every cluster that has it.
struct Shape {
    name: &'static str,
    namespace: &'static str,
    /// Name, number, target port, application protocol and transport of each port.
    ports: Vec<Value>,
    annotations: Value,
    is_headless: bool,
}

/// A cluster while it is generated.
pub(super) struct Cluster {
    pub(super) name: &'static str,
    /// The number of the cluster, 1 or 2, which is the second octet of its addresses.
    pub(super) number: u32,
    addresses: u32,
}

impl Cluster {
    pub(super) fn new(name: &'static str, number: u32) -> Self {
        Self { name, number, addresses: 9 }
    }

    fn next(&mut self) -> u32 {
        self.addresses += 1;
        self.addresses
    }

    fn object(&self, value: Value) -> Object {
        Object { cluster: self.name, value }
    }
}

pub(super) const NODES: [&str; 2] = ["node-a", "node-b"];

/// Generates the objects that services depend on: networks, nodes, gateways.
pub(super) fn ground(draw: &mut Draw, cluster: &mut Cluster) -> Vec<Object> {
    let own = format!("network{}", cluster.number);
    let network = if draw.percent(80) { own.as_str() } else { draw.one_of(&["network1", "network2", ""]) };
    let labels = if network.is_empty() { json!({}) } else { json!({"topology.istio.io/network": network}) };
    let mut objects = vec![cluster.object(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system", "labels": labels}
    }))];
    for (index, node) in NODES.into_iter().enumerate() {
        let region = format!("r{}", if draw.percent(70) { cluster.number } else { 3 });
        let mut labels = json!({"topology.kubernetes.io/region": region});
        if draw.percent(80) {
            labels["topology.kubernetes.io/zone"] = format!("z{}", index + 1).into();
        }
        if draw.percent(30) {
            labels["topology.istio.io/subzone"] = "s1".into();
        }
        objects.push(cluster.object(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}
        })));
    }
    for index in 0..draw.one_of(&[0, 1, 1, 1, 2]) {
        objects.push(gateway(draw, cluster, network, index));
    }
    objects
}

fn gateway(draw: &mut Draw, cluster: &mut Cluster, network: &str, index: u32) -> Object {
    let number = cluster.next();
    let into = if network.is_empty() || draw.percent(10) { "network2" } else { network };
    let mut labels = json!({"istio": "eastwestgateway", "topology.istio.io/network": into});
    let mut ports = vec![json!({"name": "tls", "port": 15443, "targetPort": 15443})];
    if draw.percent(15) {
        labels["networking.istio.io/gatewayPort"] = "15999".into();
        if draw.percent(70) {
            ports.push(json!({"name": "other", "port": 15999, "targetPort": 15443}));
        }
    }
    let own = cluster.number;
    let address = |at: u32| format!("172.18.{own}.{at}");
    let mut spec = json!({
        "type": draw.one_of(&["LoadBalancer", "LoadBalancer", "LoadBalancer", "ClusterIP"]),
        "clusterIP": format!("10.{own}.0.{number}"), "clusterIPs": [format!("10.{own}.0.{number}")],
        "ports": ports, "selector": {"istio": "eastwestgateway"},
    });
    if draw.percent(15) {
        spec["externalIPs"] = json!([address(200 + index)]);
    }
    let ingress = match draw.number(0..=9) {
        0 => json!([]),
        1 => json!([{"ip": address(10 + index)}, {"ip": address(20 + index)}]),
        2 => json!([{"ip": format!("fd00:172:{own}::{index}")}, {"ip": address(30 + index)}]),
        _ => json!([{"ip": address(1 + index)}]),
    };
    cluster.object(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": format!("gateway-{index}"), "namespace": "istio-system", "labels": labels},
        "spec": spec, "status": {"loadBalancer": {"ingress": ingress}},
    }))
}

/// Generates the services of all clusters, with pods and slices.
pub(super) fn services(draw: &mut Draw, clusters: &mut [Cluster]) -> Vec<Object> {
    let mut objects = Vec::new();
    for name in APPS {
        if draw.percent(20) {
            continue;
        }
        let shape = shape(draw, name);
        for cluster in clusters.iter_mut() {
            if draw.percent(75) {
                service(draw, cluster, &shape, &mut objects);
            }
        }
    }
    objects
}

const PORT_NAMES: [&str; 14] = [
    "http", "http-web", "grpc", "grpc-x", "http2", "tcp", "tcp-db", "tls", "https", "mongo", "redis",
    "mysql", "web", "udp-dns",
];
const NUMBERS: [u16; 8] = [80, 443, 3002, 3306, 5432, 8080, 9090, 27017];

fn shape(draw: &mut Draw, name: &'static str) -> Shape {
    let is_headless = draw.percent(20);
    let count = draw.one_of(&[1, 1, 2, 3]);
    let mut ports: Vec<Value> = Vec::new();
    while ports.len() < count {
        let number = draw.one_of(&NUMBERS);
        let port_name = draw.one_of(&PORT_NAMES);
        if ports.iter().any(|port| port["port"] == number || port["name"] == port_name) {
            continue;
        }
        let mut port = json!({"name": port_name, "port": number});
        if port_name == "udp-dns" {
            port["protocol"] = "UDP".into();
        }
        if is_headless {
            // A headless service usually has the same port and target port.
            port["targetPort"] = if draw.percent(70) { number.into() } else { 8080.into() };
        } else {
            // Kubernetes sets a missing target port; this istiod has no Kubernetes that would.
            port["targetPort"] = match draw.number(0..=3) {
                0 => "app".into(),
                1 => 8081.into(),
                2 => 8080.into(),
                _ => number.into(),
            };
        }
        if draw.percent(15) {
            let protocols = [
                "http",
                "tcp",
                "grpc",
                "kubernetes.io/h2c",
                "https",
                "tls",
                "mongo",
                "kubernetes.io/ws",
                "x",
            ];
            port["appProtocol"] = draw.one_of(&protocols).into();
        }
        ports.push(port);
    }
    if count == 1 && draw.percent(15) {
        ports[0].as_object_mut().expect("a port").remove("name");
    }
    let mut annotations = json!({});
    if draw.percent(20) {
        let to = [".", "*", "~", "payments", "weather,legacy", ".,payments"];
        annotations["networking.istio.io/exportTo"] = draw.one_of(&to).into();
    }
    if draw.percent(8) {
        annotations["alpha.istio.io/canonical-serviceaccounts"] =
            "spiffe://cluster.local/ns/x/sa/canonical".into();
    }
    if draw.percent(8) {
        annotations["alpha.istio.io/kubernetes-serviceaccounts"] = "extra".into();
    }
    Shape { name, namespace: draw.one_of(&NAMESPACES), ports, annotations, is_headless }
}

fn service(draw: &mut Draw, cluster: &mut Cluster, shape: &Shape, objects: &mut Vec<Object>) {
    let (own, number) = (cluster.number, cluster.next());
    let mut ports = shape.ports.clone();
    if draw.percent(10) {
        ports.push(json!({"name": "http-extra", "port": 7000 + own, "targetPort": 8080}));
    }
    let mut spec = json!({"ports": ports, "selector": {"app": shape.name}});
    let v4 = format!("10.{own}.0.{number}");
    match draw.number(0..=19) {
        _ if shape.is_headless => {
            spec["clusterIP"] = "None".into();
            spec["clusterIPs"] = json!(["None"]);
            if draw.percent(20) {
                spec["publishNotReadyAddresses"] = true.into();
            }
        }
        0 => {
            spec = json!({"type": "ExternalName", "externalName": "elsewhere.example", "ports": ports});
        }
        1..=3 => {
            let v6 = format!("fd00:{own}::{number}");
            spec["clusterIP"] = v4.clone().into();
            spec["clusterIPs"] = json!([v4, v6]);
            spec["ipFamilies"] = json!(["IPv4", "IPv6"]);
        }
        4 => {
            let v6 = format!("fd00:{own}::{number}");
            spec["clusterIP"] = v6.clone().into();
            spec["clusterIPs"] = json!([v6]);
            spec["ipFamilies"] = json!(["IPv6"]);
        }
        _ => {
            spec["clusterIP"] = v4.clone().into();
            spec["clusterIPs"] = json!([v4]);
        }
    }
    let mut metadata =
        json!({"name": shape.name, "namespace": shape.namespace, "annotations": shape.annotations});
    metadata["creationTimestamp"] = created(draw).into();
    objects.push(
        cluster.object(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})),
    );
    workloads(draw, cluster, shape, &ports, objects);
}

/// Returns a time on one day, so that the order of objects varies.
pub(super) fn created(draw: &mut Draw) -> String {
    format!("2026-01-01T{:02}:{:02}:{:02}Z", draw.number(0..=23), draw.number(0..=59), draw.number(0..=59))
}

/// The properties of a pod that its slice needs.
struct Member {
    name: String,
    address: String,
    is_ready: bool,
}

fn workloads(
    draw: &mut Draw,
    cluster: &mut Cluster,
    shape: &Shape,
    ports: &[Value],
    objects: &mut Vec<Object>,
) {
    let mut members = Vec::new();
    for index in 0..draw.one_of(&[0, 1, 2, 2, 3]) {
        let number = cluster.next();
        let member = Member {
            // The name is unique over clusters: for a workloadSelector, istiod identifies pods by namespace and name
            // only.
            name: format!("{}-{}-{index}", shape.name, cluster.number),
            address: format!("10.10.{}.{number}", cluster.number),
            is_ready: draw.percent(85),
        };
        let pod = pod(draw, shape, &member);
        objects.push(cluster.object(pod));
        members.push(member);
    }
    // Some slices are split in two. None is missing, because Kubernetes and the sandbox ensure that.
    let cut = if members.len() > 1 && draw.percent(15) { 1 } else { members.len() };
    for (index, part) in [&members[..cut], &members[cut..]].into_iter().enumerate() {
        if index == 0 || !part.is_empty() {
            objects.push(cluster.object(slice(draw, shape, ports, part, index)));
        }
    }
}

fn pod(draw: &mut Draw, shape: &Shape, member: &Member) -> Value {
    let mut labels = json!({"app": shape.name, "version": draw.one_of(&["v1", "v2"])});
    if draw.percent(75) {
        labels["security.istio.io/tlsMode"] = "istio".into();
    }
    if draw.percent(10) {
        labels["topology.istio.io/network"] = draw.one_of(&["network1", "network2", "network3"]).into();
    }
    if draw.percent(10) {
        labels["istio-locality"] = "r9.z9.s9".into();
    }
    if draw.percent(10) {
        labels["service.istio.io/canonical-name"] = "canonical".into();
    }
    let mut spec = json!({
        "serviceAccountName": if draw.percent(80) { shape.name } else { "other" },
        "containers": [{"name": "app", "image": "app", "ports": [{"name": "app", "containerPort": 8080}]}],
    });
    if draw.percent(70) {
        spec["nodeName"] = draw.one_of(&NODES).into();
    }
    if shape.is_headless && draw.percent(50) {
        spec["hostname"] = member.name.clone().into();
        spec["subdomain"] = shape.name.into();
    }
    let phase = if draw.percent(95) { "Running" } else { draw.one_of(&["Pending", "Succeeded", "Failed"]) };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": member.name, "namespace": shape.namespace, "labels": labels},
        "spec": spec,
        "status": {
            "phase": phase, "podIP": member.address, "podIPs": [{"ip": member.address}],
            "conditions": [{"type": "Ready", "status": if member.is_ready { "True" } else { "False" }}],
        },
    })
}

fn slice(draw: &mut Draw, shape: &Shape, ports: &[Value], members: &[Member], index: usize) -> Value {
    let target = |port: &Value| match &port["targetPort"] {
        Value::Number(number) => json!(number),
        Value::String(_) => json!(8080),
        _ => port["port"].clone(),
    };
    let ports = ports.iter().map(|port| {
        let mut of_slice =
            json!({"port": target(port), "protocol": port.get("protocol").unwrap_or(&json!("TCP"))});
        of_slice["name"] = port.get("name").cloned().unwrap_or_else(|| "".into());
        of_slice
    });
    let ports: Vec<_> = ports.collect();
    let endpoints = members.iter().map(|member| {
        // No endpoint is terminating: whether istiod keeps it depends on whether it reads the slice or the service
        // first.
        let conditions = match (member.is_ready, draw.number(0..=9)) {
            (true, 1) => json!({}),
            (ready, _) => json!({"ready": ready, "serving": ready, "terminating": false}),
        };
        let mut endpoint = json!({"addresses": [member.address], "conditions": conditions});
        if draw.percent(8) {
            // The address of no pod. Whether istiod finds a pod without `targetRef` depends on timing.
            endpoint["addresses"] = json!([member.address.replacen("10.10.", "10.20.", 1)]);
        } else {
            endpoint["targetRef"] = json!({"kind": "Pod", "name": member.name, "namespace": shape.namespace});
        }
        endpoint
    });
    let endpoints: Vec<_> = endpoints.collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-{index}", shape.name), "namespace": shape.namespace,
            "labels": {"kubernetes.io/service-name": shape.name},
        },
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    })
}
