//! The memory of a process that has joined a real mesh and made a call, compared with Istio's agent and Envoy.

use std::{thread, time::Duration};

use http::Uri;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use mesh_connector::{Config, Mesh};
use serde_json::json;

use crate::{
    Failure, child,
    peers::{self, HOST, PORT},
    process::{forget_peak, peak, private_dirty, resident, tree_memory},
    report::{Budget, Report},
    samples::Samples,
    unit::Unit,
};

const ROUNDS: usize = 3;
/// The time after which memory use is stable.
const SETTLED: Duration = Duration::from_secs(2);

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    measure(report, 4, 6e6, Budget::Ratio(0.06))?;
    measure(report, 10_000, 14e6, Budget::Ratio(0.02))
}

fn measure(report: &mut Report, services: usize, most: f64, budget: Budget) -> Result<(), Failure> {
    let runtime = peers::one_thread()?;
    // The mesh of the tour has four services.
    let yaml = if services > 4 { many(services) } else { String::new() };
    let Some(stage) = peers::stage(&runtime, report, &yaml) else { return Ok(()) };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let files = stage.real.vm_files(&mesh_tests::vm_files::Vm::default());
        let found = child::ask("memory", &format!("mesh:{}", files.display()))?;
        let of = |key: &str| found[key].as_f64().unwrap_or(f64::NAN);
        ours.push((of("private_dirty"), of("resident"), of("peak")));
        let sidecar = runtime.block_on(stage.real.client_sidecar());
        thread::sleep(SETTLED);
        theirs.push(tree_memory(&sidecar)?);
        runtime.block_on(sidecar.end());
    }
    let of = |figures: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64| -> Samples {
        figures.iter().map(pick).collect()
    };
    let ours_of = |pick: fn(&(f64, f64, f64)) -> f64| -> Samples { ours.iter().map(pick).collect() };
    let what = |what: &str| format!("{services} services, {what}");
    report.row(&what("settled"), Unit::Bytes, ours_of(|one| one.0)).within(Budget::Ours(most));
    report.row(&what("peak while joining"), Unit::Bytes, ours_of(|one| one.2));
    report
        .row(&what("private dirty"), Unit::Bytes, ours_of(|one| one.0))
        .beside("agent and Envoy", &of(&theirs, |one| one.0))
        .within(budget);
    report
        .row(&what("RSS"), Unit::Bytes, ours_of(|one| one.1))
        .beside("agent and Envoy", &of(&theirs, |one| one.1));
    Ok(())
}

/// Returns YAML for this number of services, `s0.weather` and so on.
pub(in crate::commands) fn many(services: usize) -> String {
    let service = |at: usize| {
        let ip = format!("10.{}.{}.{}", 100 + at / 62_500, at / 250 % 250, at % 250 + 1);
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{at}, namespace: weather}}\nspec:\n  clusterIP: {ip}\n  \
             clusterIPs: [{ip}]\n  ports: [{{name: http, port: {PORT}}}]\n"
        )
    };
    (0..services).map(service).collect::<Vec<_>>().join("---\n")
}

/// Joins the mesh of these VM files and makes a call.
pub(super) fn child(files: &str) -> Result<String, Failure> {
    let (before, resident_before) = (private_dirty()?, resident()?);
    forget_peak()?;
    let runtime = peers::one_thread()?;
    let (private, all, most) = runtime.block_on(async {
        let mesh = Mesh::join(Config::from_vm_files(files)?).await?;
        let client = mesh.http_client::<Empty<Bytes>>();
        let url: Uri = format!("http://{HOST}:{PORT}/bytes/1024").parse()?;
        let body = client.get(url).await?.into_body().collect().await?.to_bytes();
        if body.len() != 1024 {
            return Err("no answer".into());
        }
        tokio::time::sleep(SETTLED).await;
        Ok::<_, Failure>((
            private_dirty()? - before,
            resident()? - resident_before,
            peak()? - resident_before,
        ))
    })?;
    Ok(json!({"private_dirty": private, "resident": all, "peak": most}).to_string())
}
