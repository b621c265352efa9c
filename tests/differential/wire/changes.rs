//! The pushes after changes of the mesh.

use std::{collections::BTreeSet, time::Duration};

use mesh_tests::ads::Stream;
use xds_proto::type_url;

use super::Transcript;
use crate::side::{Named, Side, describe};

const FORECAST: &str = "outbound|3002||forecast.weather.svc.cluster.local";
const ARCHIVE: &str = "outbound|3003||archive.weather.svc.cluster.local";
const LATER: &str = "outbound|80||later.example";
const ALL: [&str; 3] = [type_url::NAME_TABLE, type_url::CLUSTER, type_url::ENDPOINT];

/// A time without messages after which none are expected: longer than the debounce of 100 ms and a push.
const QUIET: Duration = Duration::from_millis(450);

/// Returns everything that is pushed until no more messages arrive. The result is one set, because the grouping into
/// messages may differ.
async fn pushed(stream: &mut Stream, what: &str) -> String {
    let mut seen = BTreeSet::new();
    while let Some(response) = stream.within(QUIET).await {
        stream.ack(&response).await;
        seen.insert(describe(&response));
    }
    format!("{what}: {}", seen.into_iter().collect::<Vec<_>>().join(" | "))
}

fn entry(more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: later, namespace: payments}}\nspec:\n  \
         hosts: [later.example]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports: [{{number: 80, name: http, \
         protocol: HTTP}}]\n  {more}\n"
    )
}

fn slice(pods: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: forecast-1\n  namespace: weather\n  \
         labels: {{kubernetes.io/service-name: forecast}}\naddressType: IPv4\nports:\n  - {{name: http, port: 8080, \
         protocol: TCP}}\n  - {{name: grpc-status, port: 9090, protocol: TCP}}\nendpoints:\n{pods}"
    )
}

fn member(pod: &str, address: &str, conditions: &str) -> String {
    format!(
        "  - addresses: [{address}]\n    conditions: {{{conditions}}}\n    targetRef: {{kind: Pod, name: {pod}, \
         namespace: weather}}\n"
    )
}

fn pod(name: &str, address: &str, account: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: weather\n  labels: {{app: forecast, \
         security.istio.io/tlsMode: istio}}\nspec:\n  serviceAccountName: {account}\n  containers:\n    - {{name: app, \
         image: app}}\nstatus:\n  phase: Running\n  podIP: {address}\n  podIPs: [{{ip: {address}}}]\n  conditions:\n    \
         - {{type: Ready, status: \"True\"}}\n"
    )
}

const READY: &str = "ready: true, serving: true, terminating: false";
const UNREADY: &str = "ready: false, serving: false, terminating: false";

#[expect(clippy::too_many_lines, reason = "a list of changes")]
pub(crate) async fn each_change_pushes_the_affected_resources(side: &mut Side) -> Transcript {
    let mut stream = side.subscribed(&ALL, &[FORECAST, ARCHIVE, LATER]).await;
    let mut lines = vec![pushed(&mut stream, "nothing has changed").await];
    let old = "10.10.1.11";
    let steps = [
        ("a new entry", "cluster1", entry("endpoints: [{address: 2.2.2.2}]")),
        ("the entry gets a different endpoint", "cluster1", entry("endpoints: [{address: 2.2.2.3}]")),
        ("the entry is applied unchanged", "cluster1", entry("endpoints: [{address: 2.2.2.3}]")),
        ("the entry gets a service account", "cluster1", entry("endpoints: [{address: 2.2.2.3, serviceAccount: later}]")),
        (
            "a pod in the slice becomes unready",
            "cluster1",
            slice(&member("forecast-1", old, UNREADY)),
        ),
        ("a pod in the slice becomes ready", "cluster1", slice(&member("forecast-1", old, READY))),
        ("a new pod with the same account", "cluster1", pod("forecast-9", "10.10.1.19", "forecast")),
        (
            "the slice gets the pod",
            "cluster1",
            slice(&format!("{}{}", member("forecast-1", old, READY), member("forecast-9", "10.10.1.19", READY))),
        ),
        ("a new pod with another account", "cluster1", pod("forecast-8", "10.10.1.18", "another")),
        (
            "the slice gets this pod too",
            "cluster1",
            slice(&format!("{}{}", member("forecast-1", old, READY), member("forecast-8", "10.10.1.18", READY))),
        ),
        (
            "the slice becomes empty",
            "cluster1",
            slice("").replace("endpoints:\n", "endpoints: []\n"),
        ),
        (
            "a policy without mTLS",
            "cluster1",
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: \
             weather}\nspec:\n  mtls: {mode: DISABLE}\n"
                .to_owned(),
        ),
        (
            "a new service of the remote cluster",
            "cluster2",
            "apiVersion: v1\nkind: Service\nmetadata: {name: fresh, namespace: weather}\nspec:\n  clusterIP: \
             10.2.0.90\n  clusterIPs: [10.2.0.90]\n  ports:\n    - {name: http, port: 80, targetPort: 8080}\n"
                .to_owned(),
        ),
    ];
    for (what, cluster, yaml) in steps {
        side.apply(cluster, &yaml).await;
        lines.push(pushed(&mut stream, what).await);
    }
    let later = Named {
        cluster: "cluster1",
        api_version: "networking.istio.io/v1",
        kind: "ServiceEntry",
        namespace: "payments",
        name: "later",
    };
    side.delete(later).await;
    lines.push(pushed(&mut stream, "the entry is deleted").await);
    let gateway = Named {
        cluster: "cluster2",
        api_version: "v1",
        kind: "Service",
        namespace: "istio-system",
        name: "istio-eastwestgateway",
    };
    side.delete(gateway).await;
    lines.push(pushed(&mut stream, "a gateway is deleted").await);
    lines
}

fn rule(host: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: rule, namespace: \
         weather}}\nspec:\n  host: {host}\n{spec}"
    )
}

fn sidecar(namespace: &str, hosts: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: default, namespace: \
         {namespace}}}\nspec:\n  egress:\n    - hosts: [{hosts}]\n"
    )
}

pub(crate) async fn each_rule_pushes_the_affected_resources(side: &mut Side) -> Transcript {
    const SUBSET: &str = "outbound|3002|v1|forecast.weather.svc.cluster.local";
    let mut stream = side.subscribed(&ALL, &[FORECAST, ARCHIVE, SUBSET]).await;
    let mut lines = Vec::new();
    let subsets = "  subsets:\n    - {name: v1, labels: {version: v1}}\n";
    let steps = [
        ("a rule with a subset", rule("forecast", subsets)),
        ("the rule sets TLS", rule("forecast", "  trafficPolicy:\n    tls: {mode: DISABLE}\n")),
        ("the rule gets another host", rule("archive", "  trafficPolicy:\n    tls: {mode: DISABLE}\n")),
        ("the rule gets an unknown host", rule("nobody", subsets)),
        ("a sidecar of another namespace", sidecar("payments", "\"./*\"")),
        ("a sidecar of the same namespace", sidecar("legacy", "\"*/forecast.weather.svc.cluster.local\"")),
        ("the sidecar imports another host", sidecar("legacy", "\"*/archive.weather.svc.cluster.local\"")),
    ];
    for (what, yaml) in steps {
        side.apply("cluster1", &yaml).await;
        lines.push(pushed(&mut stream, what).await);
    }
    let api_version = "networking.istio.io/v1";
    for (kind, namespace, name) in [("Sidecar", "legacy", "default"), ("DestinationRule", "weather", "rule")]
    {
        side.delete(Named { cluster: "cluster1", api_version, kind, namespace, name }).await;
        lines.push(pushed(&mut stream, kind).await);
    }
    lines
}

pub(crate) async fn a_deleted_service_gets_an_empty_assignment_and_a_recreated_one_its_endpoints(
    side: &mut Side,
) -> Transcript {
    let mut stream = side.subscribed(&ALL, &[LATER]).await;
    let yaml = entry("endpoints: [{address: 2.2.2.2}]");
    let mut lines = Vec::new();
    for round in 1..=2 {
        side.apply("cluster1", &yaml).await;
        lines.push(format!("round {round}: {}", assignments(&mut stream).await));
        side.delete(Named {
            cluster: "cluster1",
            api_version: "networking.istio.io/v1",
            kind: "ServiceEntry",
            namespace: "payments",
            name: "later",
        })
        .await;
        lines.push(format!("deleted: {}", assignments(&mut stream).await));
    }
    lines
}

pub(crate) async fn a_terminating_endpoint_is_omitted(side: &mut Side) -> Transcript {
    let mut stream = side.subscribed(&ALL, &[FORECAST]).await;
    let mut lines = Vec::new();
    for conditions in [
        UNREADY,
        "ready: false, serving: true, terminating: true",
        READY,
        "ready: false",
        "ready: true, serving: true, terminating: true",
    ] {
        side.apply("cluster1", &slice(&member("forecast-1", "10.10.1.11", conditions))).await;
        lines.push(format!("{conditions}: {}", assignments(&mut stream).await));
    }
    lines
}

/// Returns the pushed assignments with the number of endpoints and their weights.
async fn assignments(stream: &mut Stream) -> String {
    let mut seen = BTreeSet::new();
    while let Some(response) = stream.within(QUIET).await {
        stream.ack(&response).await;
        seen.insert(describe(&response));
        for resource in response.resources.iter().filter(|_| response.type_url == type_url::ENDPOINT) {
            let any = resource.resource.as_ref().expect("a resource");
            let assignment: xds_proto::envoy::config::endpoint::v3::ClusterLoadAssignment =
                xds_proto::any::unpack(any).expect("an assignment");
            let weights: Vec<_> = assignment
                .endpoints
                .iter()
                .flat_map(|group| &group.lb_endpoints)
                .map(|endpoint| endpoint.load_balancing_weight.map_or(0, |weight| weight.value))
                .collect();
            seen.insert(format!("{}: weights {weights:?}", resource.name));
        }
    }
    seen.into_iter().collect::<Vec<_>>().join(" | ")
}
