//! Requests that get a response, and requests that do not (istio `pilot/pkg/xds/delta.go`).

use mesh_tests::ads::{NodeBuilder, request, subscription};
use xds_proto::{envoy::service::discovery::v3::DeltaDiscoveryRequest, type_url};

use super::Transcript;
use crate::side::{Side, describe, describe_all};

const FORECAST: &str = "outbound|3002||forecast.weather.svc.cluster.local";
const ARCHIVE: &str = "outbound|3003||archive.weather.svc.cluster.local";
const ALL: [&str; 3] = [type_url::NAME_TABLE, type_url::CLUSTER, type_url::ENDPOINT];

/// Returns the responses to a first request.
async fn first(side: &Side, request: DeltaDiscoveryRequest) -> Vec<String> {
    let mut stream = side.stream().await;
    stream.send(DeltaDiscoveryRequest { node: Some(NodeBuilder::default().build()), ..request }).await;
    describe_all(&stream.before_probe().await)
}

pub(crate) async fn an_empty_subscription_and_a_star_are_the_same(side: &mut Side) -> Transcript {
    let mut lines = Vec::new();
    for kind in [type_url::NAME_TABLE, type_url::CLUSTER] {
        let empty = first(side, request(kind)).await;
        let star = first(side, subscription(kind, &["*"])).await;
        assert_eq!(empty, star);
        lines.extend(star);
    }
    lines.push("endpoints:".into());
    lines.extend(first(side, request(type_url::ENDPOINT)).await);
    lines.push("endpoints by star:".into());
    lines.extend(first(side, subscription(type_url::ENDPOINT, &["*"])).await);
    lines
}

pub(crate) async fn requested_names_are_listed_as_removed(side: &mut Side) -> Transcript {
    let host = "forecast.weather.svc.cluster.local";
    let mut lines = first(side, subscription(type_url::NAME_TABLE, &[host, "no.such.host"])).await;
    lines.push("later:".into());
    let mut stream = side.subscribed(&[type_url::NAME_TABLE], &[]).await;
    stream.subscribe(type_url::NAME_TABLE, &[host]).await;
    lines.extend(describe_all(&stream.before_probe().await));
    stream.subscribe(type_url::NAME_TABLE, &[host]).await;
    lines.push("again:".into());
    lines.extend(describe_all(&stream.before_probe().await));
    lines
}

pub(crate) async fn a_request_for_single_clusters_gets_all_clusters(side: &mut Side) -> Transcript {
    let mut lines = first(side, subscription(type_url::CLUSTER, &[FORECAST, "no|such|cluster"])).await;
    lines.push("later:".into());
    let mut stream = side.subscribed(&[type_url::CLUSTER], &[]).await;
    stream.subscribe(type_url::CLUSTER, &[FORECAST]).await;
    lines.extend(describe_all(&stream.before_probe().await));
    stream.subscribe(type_url::CLUSTER, &["no|such|cluster"]).await;
    lines.push("unknown:".into());
    lines.extend(describe_all(&stream.before_probe().await));
    lines
}

pub(crate) async fn an_acknowledgement_is_not_answered(side: &mut Side) -> Transcript {
    let mut stream = side.subscribed(&ALL, &[FORECAST]).await;
    describe_all(&stream.before_probe().await)
}

pub(crate) async fn a_nack_is_not_answered(side: &mut Side) -> Transcript {
    let mut lines = Vec::new();
    for kind in ALL {
        let mut stream = side.subscribed(&ALL, &[FORECAST]).await;
        stream.nack(kind, "", "no nonce").await;
        stream.nack(kind, "from an earlier stream", "a stale nonce").await;
        lines.extend(describe_all(&stream.before_probe().await));
    }
    let mut stream = side.stream().await;
    stream.introduce(&NodeBuilder::default().build(), type_url::NAME_TABLE).await;
    let response = stream.next().await;
    stream.nack(type_url::NAME_TABLE, &response.nonce, "the nonce of the table").await;
    lines.extend(describe_all(&stream.before_probe().await));
    lines
}

pub(crate) async fn a_repeated_request_is_not_answered(side: &mut Side) -> Transcript {
    let mut stream = side.subscribed(&ALL, &[FORECAST]).await;
    stream.subscribe(type_url::NAME_TABLE, &[]).await;
    stream.subscribe(type_url::NAME_TABLE, &["*"]).await;
    stream.subscribe(type_url::CLUSTER, &[]).await;
    stream.subscribe(type_url::CLUSTER, &["*"]).await;
    stream.subscribe(type_url::ENDPOINT, &[FORECAST]).await;
    stream.subscribe(type_url::ENDPOINT, &[]).await;
    stream.subscribe(type_url::ENDPOINT, &["*"]).await;
    describe_all(&stream.before_probe().await)
}

pub(crate) async fn a_subscription_on_a_stale_nonce_is_lost(side: &mut Side) -> Transcript {
    let mut stream = side.subscribed(&ALL, &[FORECAST]).await;
    let late = DeltaDiscoveryRequest {
        response_nonce: "stale".into(),
        ..subscription(type_url::ENDPOINT, &[ARCHIVE])
    };
    stream.send(late).await;
    let mut lines = describe_all(&stream.before_probe().await);
    lines.push("without a nonce:".into());
    stream.subscribe(type_url::ENDPOINT, &[ARCHIVE]).await;
    lines.extend(describe_all(&stream.before_probe().await));
    lines
}

pub(crate) async fn a_subscription_in_an_acknowledgement_is_answered(side: &mut Side) -> Transcript {
    let mut stream = side.stream().await;
    stream.introduce(&NodeBuilder::default().build(), type_url::CLUSTER).await;
    stream.next().await;
    stream.subscribe(type_url::ENDPOINT, &[FORECAST]).await;
    let response = stream.next_of(type_url::ENDPOINT).await;
    let both = DeltaDiscoveryRequest {
        response_nonce: response.nonce,
        ..subscription(type_url::ENDPOINT, &[ARCHIVE])
    };
    stream.send(both).await;
    describe_all(&stream.before_probe().await)
}

pub(crate) async fn subscribing_to_more_names_is_answered_with_only_those(side: &mut Side) -> Transcript {
    let mut stream = side.subscribed(&ALL, &[FORECAST]).await;
    stream.subscribe(type_url::ENDPOINT, &[FORECAST, ARCHIVE]).await;
    describe_all(&stream.before_probe().await)
}

pub(crate) async fn unsubscribing_is_not_answered(side: &mut Side) -> Transcript {
    let mut lines = Vec::new();
    let mut stream = side.subscribed(&ALL, &[FORECAST, ARCHIVE]).await;
    let unsubscribe = |kind: &str, names: &[&str]| DeltaDiscoveryRequest {
        resource_names_unsubscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        ..request(kind)
    };
    for (kind, names) in [
        (type_url::ENDPOINT, &[FORECAST][..]),
        (type_url::ENDPOINT, &["never|subscribed"]),
        (type_url::CLUSTER, &[FORECAST]),
        (type_url::CLUSTER, &["*"]),
        (type_url::NAME_TABLE, &["*"]),
    ] {
        stream.send(unsubscribe(kind, names)).await;
        lines.push(format!("{kind} without {names:?}"));
        lines.extend(describe_all(&stream.before_probe().await));
    }
    stream.subscribe(type_url::ENDPOINT, &[FORECAST]).await;
    lines.push("and subscribed again:".into());
    lines.extend(describe_all(&stream.before_probe().await));
    let swap = DeltaDiscoveryRequest {
        resource_names_unsubscribe: vec![FORECAST.to_owned()],
        ..subscription(type_url::ENDPOINT, &["outbound|80||local.weather.svc.cluster.local"])
    };
    stream.send(swap).await;
    lines.push("one replaced by another:".into());
    lines.extend(describe_all(&stream.before_probe().await));
    let both = DeltaDiscoveryRequest {
        resource_names_unsubscribe: vec![FORECAST.to_owned()],
        ..subscription(type_url::ENDPOINT, &[FORECAST])
    };
    stream.send(both).await;
    lines.push("the same in both lists:".into());
    lines.extend(describe_all(&stream.before_probe().await));
    lines
}

pub(crate) async fn an_unknown_name_gets_an_empty_assignment(side: &mut Side) -> Transcript {
    let mut lines = Vec::new();
    let mut stream = side.subscribed(&[type_url::NAME_TABLE], &[]).await;
    for name in [
        "outbound|9999||forecast.weather.svc.cluster.local",
        "outbound|3002||nobody.weather.svc.cluster.local",
        "outbound|3002|v1|forecast.weather.svc.cluster.local",
        "outbound_.3002_._.forecast.weather.svc.cluster.local",
        "inbound|8080||",
        "BlackHoleCluster",
        "nonsense",
        "outbound|x||forecast.weather.svc.cluster.local",
        "",
    ] {
        stream.subscribe(type_url::ENDPOINT, &[name]).await;
        for response in stream.before_probe().await {
            lines.push(describe(&response));
            for resource in &response.resources {
                let any = resource.resource.as_ref().expect("a resource");
                let assignment: xds_proto::envoy::config::endpoint::v3::ClusterLoadAssignment =
                    xds_proto::any::unpack(any).expect("an assignment");
                let endpoints = assignment.endpoints.iter().map(|it| it.lb_endpoints.len()).sum::<usize>();
                let localities = assignment.endpoints.len();
                lines.push(format!(
                    "{:?}: {localities} localities, {endpoints} endpoints",
                    assignment.cluster_name
                ));
            }
        }
    }
    lines
}

pub(crate) async fn names_from_an_earlier_stream_that_no_longer_exist_are_removed(
    side: &mut Side,
) -> Transcript {
    let mut lines = Vec::new();
    for kind in ALL {
        let known = [FORECAST, "outbound|1||gone.weather.svc.cluster.local", "gone.weather"];
        let known = known.map(|name| (name.to_owned(), "7".to_owned()));
        for names in [&[][..], &["*"], &[FORECAST]] {
            let before = DeltaDiscoveryRequest {
                initial_resource_versions: known.clone().into(),
                ..subscription(kind, names)
            };
            lines.push(format!("{kind} {names:?}"));
            lines.extend(first(side, before).await);
        }
    }
    lines
}

pub(crate) async fn a_first_request_is_answered_with_any_nonce(side: &mut Side) -> Transcript {
    let mut lines = Vec::new();
    for kind in [type_url::NAME_TABLE, type_url::CLUSTER] {
        let nonce = "from an earlier stream".to_owned();
        lines.extend(first(side, DeltaDiscoveryRequest { response_nonce: nonce, ..request(kind) }).await);
    }
    let nonce = "from an earlier stream".to_owned();
    let endpoints =
        DeltaDiscoveryRequest { response_nonce: nonce, ..subscription(type_url::ENDPOINT, &[FORECAST]) };
    lines.extend(first(side, endpoints).await);
    lines
}

pub(crate) async fn a_response_with_clusters_is_followed_by_the_subscribed_endpoints(
    side: &mut Side,
) -> Transcript {
    let mut stream = side.subscribed(&[type_url::NAME_TABLE, type_url::ENDPOINT], &[FORECAST, ARCHIVE]).await;
    stream.subscribe(type_url::CLUSTER, &[]).await;
    describe_all(&stream.before_probe().await)
}

pub(crate) async fn a_type_without_content_is_not_answered(side: &mut Side) -> Transcript {
    let mut stream = side.subscribed(&[type_url::NAME_TABLE], &[]).await;
    for kind in [
        "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig",
        "type.googleapis.com/istio.workload.Address",
        "type.googleapis.com/istio.workload.Workload",
        "type.googleapis.com/istio.security.Authorization",
    ] {
        stream.subscribe(kind, &[]).await;
    }
    describe_all(&stream.before_probe().await)
}

pub(crate) async fn a_health_report_is_not_answered(side: &mut Side) -> Transcript {
    const HEALTH: &str = "type.googleapis.com/istio.v1.HealthInformation";
    let mut stream = side.stream().await;
    stream.subscribe(HEALTH, &[]).await;
    stream.introduce(&NodeBuilder::default().build(), type_url::NAME_TABLE).await;
    let mut lines = vec![describe(&stream.next().await)];
    stream.subscribe(HEALTH, &[]).await;
    lines.extend(describe_all(&stream.before_probe().await));
    lines
}
