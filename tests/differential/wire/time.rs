//! Behaviour that depends on time.

use std::time::Duration;

use mesh_sandbox::SandboxBuilder;
use tokio::time::{Instant, MissedTickBehavior, interval};
use xds_proto::type_url;

use super::Transcript;
use crate::side::{Side, describe};

const RECONNECTS: &str = "a_connection_ends_after_its_maximum_age_and_grace_period";

/// istiod waits for 100 ms without a change. This value is lower, because istiod and this process see changes at
/// different times.
const QUIET: Duration = Duration::from_millis(80);

/// The arguments of istiod for a script.
pub(crate) fn arguments(script: &str) -> Vec<&'static str> {
    if script == RECONNECTS { vec!["--max-connection-age=1s"] } else { Vec::new() }
}

/// The settings of the sandbox for a script.
pub(crate) fn settings(script: &str, builder: SandboxBuilder) -> SandboxBuilder {
    if script == RECONNECTS {
        builder.with_max_connection_age(Duration::from_secs(1), Duration::from_secs(10))
    } else {
        builder
    }
}

fn entry(round: u32) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: churn, namespace: payments}}\nspec:\n  \
         hosts: [churn{round}.example]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  ports: [{{number: 80, name: \
         http, protocol: HTTP}}]\n  endpoints: [{{address: 2.2.2.2}}]\n"
    )
}

/// A change every 40 ms: istiod waits for 100 ms without a change, but at most ten seconds (istio
/// `pilot/pkg/features/tuning.go`).
pub(crate) async fn constant_changes_are_not_pushed(side: &mut Side) -> Transcript {
    let mut stream = side.subscribed(&[type_url::NAME_TABLE], &[]).await;
    let start = Instant::now();
    let mut ticks = interval(Duration::from_millis(40));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut during = 0;
    let mut round = 0;
    let (mut last, mut longest) = (start, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(2) {
        tokio::select! {
            _ = ticks.tick() => {
                side.apply("cluster1", &entry(round)).await;
                round += 1;
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            response = stream.outcome() => {
                stream.ack(&response.expect("a response")).await;
                // A busy machine may delay a change, after which a push is correct.
                during += u32::from(longest < QUIET);
                longest = Duration::ZERO;
            }
        }
    }
    let mut after = 0;
    while let Some(response) = stream.within(Duration::from_millis(600)).await {
        stream.ack(&response).await;
        after += 1;
    }
    vec![format!("pushes in two seconds of changes: {during}, and some after them: {}", after > 0)]
}

/// A GOAWAY at the maximum age, and the end ten seconds later. The stream works until then (istio
/// `pkg/keepalive/options.go`).
pub(crate) async fn a_connection_ends_after_its_maximum_age_and_grace_period(side: &mut Side) -> Transcript {
    let start = Instant::now();
    let mut stream = side.subscribed(&[type_url::NAME_TABLE], &[]).await;
    let mut lines = Vec::new();
    // This is after the GOAWAY, which is invisible on the stream.
    assert!(stream.within(Duration::from_millis(2500)).await.is_none());
    side.apply("cluster1", &entry(1)).await;
    lines.push(describe(&stream.next().await));
    let end = stream.end().await;
    let seconds = start.elapsed().as_secs_f64();
    lines.push(format!("the end comes after 10 to 13 seconds: {}", (10.0..13.0).contains(&seconds)));
    lines.push(format!("with an error: {}", end.code() != tonic::Code::Ok));
    lines
}
