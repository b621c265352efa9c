//! Steps 6 and 7: what changes while we run.

use std::{fs, time::Instant};

use mesh_connector::nds_client::health::SyncState;
use mesh_resolver::Source;

use super::{Outcome, Stage, calls, check, saw, say};
use crate::show::duration;

/// A service that the mesh does not have yet.
const GREETER: &str = include_str!("greeter.yaml");

pub(crate) async fn new_service(stage: &Stage) -> Outcome {
    let name = "greeter.weather.svc.cluster.local";
    say("Somebody deploys a service in cluster2. istiod pushes it; nothing here is restarted.");
    let mut names = stage.mesh.client().names().clone();
    check(names.load().get(name).is_none(), format!("{name} is there already"))?;
    let started = Instant::now();
    fs::write(stage.yaml.path().join("cluster2/greeter.yaml"), GREETER)?;
    names.wait_for(|names| names.get(name).is_some()).await.ok_or("the names will not change any more")?;
    let seen = duration(started.elapsed());
    saw(format_args!("{name} is known after {seen}"));
    // Names may be a push ahead of clusters.
    let mut clusters = stage.mesh.client().clusters().clone();
    let known = clusters.wait_for(|all| all.as_ref().is_some_and(|all| all.has_host(name)));
    known.await.ok_or("the clusters will not change any more")?;
    let url = "http://greeter.weather:80/";
    let (answer, _) = calls::get(&stage.mesh, url).await?;
    saw(format_args!("{url} answered: {}", calls::text(&answer, "pod")));
    Ok(((), format!("known after {seen}, and called")))
}

pub(crate) async fn without_istiod(stage: &Stage) -> Outcome {
    say(
        "istiod is stopped. What it said last still holds: names and new connections go on, labelled as stale.",
    );
    let mut health = stage.mesh.health().clone();
    stage.sandbox.stop_istiod().await;
    health.wait_for(|health| matches!(health.sync, SyncState::Stale { .. })).await.ok_or("left the mesh")?;
    let lookup = stage.mesh.resolver().lookup_ip("forecast.weather").await?;
    match lookup.source() {
        Source::Mesh { state: SyncState::Stale { .. }, .. } => {
            saw(format_args!("forecast.weather is {}, stale", crate::show::addresses(&lookup)));
        }
        other => return Err(format!("forecast.weather came from {other:?}").into()),
    }
    let (_, connection) = calls::get(&stage.mesh, "http://forecast.weather:3002/").await?;
    saw(format_args!("a new connection: {}", crate::show::decision(&connection)));
    stage.sandbox.start_istiod().await?;
    health.wait_for(|health| health.sync == SyncState::Synced).await.ok_or("left the mesh")?;
    saw("istiod is back, and so are we");
    Ok(((), "names and calls went on, then caught up".to_owned()))
}
