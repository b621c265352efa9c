//! Steps 6 and 7: changes while the process runs.

use std::{fs, time::Instant};

use mesh_connector::nds_client::health::SyncState;
use mesh_resolver::Source;

use super::{Outcome, Stage, calls, check, explain, observe};
use crate::show::duration;

/// A service that the mesh does not have yet.
const GREETER: &str = include_str!("greeter.yaml");

pub(crate) async fn new_service(stage: &Stage) -> Outcome {
    let name = "greeter.weather.svc.cluster.local";
    explain("A new service is deployed in cluster2. istiod pushes it, and no restart is needed.");
    let mut names = stage.mesh.client().names().clone();
    check(names.load().get(name).is_none(), format!("{name} already exists"))?;
    let started = Instant::now();
    fs::write(stage.yaml.path().join("cluster2/greeter.yaml"), GREETER)?;
    names.wait_for(|names| names.get(name).is_some()).await.ok_or("the client has stopped")?;
    let seen = duration(started.elapsed());
    observe(format_args!("{name} is in the name table after {seen}"));
    // The name table may arrive before the clusters.
    let mut clusters = stage.mesh.client().clusters().clone();
    let known = clusters.wait_for(|all| all.as_ref().is_some_and(|all| all.has_host(name)));
    known.await.ok_or("the client has stopped")?;
    let url = "http://greeter.weather:80/";
    let (answer, _) = calls::get(&stage.mesh, url).await?;
    observe(format_args!("{url} answered: {}", calls::text(&answer, "pod")));
    Ok(((), format!("known after {seen}, and called")))
}

pub(crate) async fn without_istiod(stage: &Stage) -> Outcome {
    explain(
        "istiod is stopped. Names and new connections still work with its last data, which is marked as stale.",
    );
    let mut health = stage.mesh.health().membership().clone();
    stage.sandbox.stop_istiod().await;
    health
        .wait_for(|health| matches!(health.sync, SyncState::Stale { .. }))
        .await
        .ok_or("the client has stopped")?;
    let lookup = stage.mesh.raw_resolver().lookup_ip("forecast.weather").await?;
    match lookup.source() {
        Source::Mesh { state: SyncState::Stale { .. }, .. } => {
            observe(format_args!("forecast.weather is {}, stale", crate::show::addresses(&lookup)));
        }
        other => return Err(format!("unexpected source of forecast.weather: {other:?}").into()),
    }
    let (_, connection) = calls::get(&stage.mesh, "http://forecast.weather:3002/").await?;
    observe(format_args!("a new connection: {}", crate::show::decision(&connection)));
    stage.sandbox.restore_istiod()?;
    health.wait_for(|health| health.sync == SyncState::Synced).await.ok_or("the client has stopped")?;
    observe("istiod runs again, and the client is synchronised");
    Ok(((), "names and calls worked, then synchronised again".to_owned()))
}
