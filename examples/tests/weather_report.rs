//! Tests of an application with a mesh: the sandbox runs inside the test, which injects faults.

#![allow(clippy::unwrap_used, reason = "a failed setup fails the test")]

#[path = "../weather-report/report.rs"]
mod report;

use std::time::Duration;

use mesh_connector::{Config, Mesh, nds_client::health::SyncState};
use mesh_sandbox::{Sandbox, VmFiles};

use report::report;

/// Starts a mesh and joins it.
async fn stage() -> (Sandbox, VmFiles, Mesh) {
    let sandbox = Sandbox::builder().start().await.unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    let mesh = Mesh::join(Config::from_vm_files(vm.path()).unwrap()).await.unwrap();
    (sandbox, vm, mesh)
}

#[tokio::test]
async fn a_report_has_a_forecast_and_an_archive() {
    let (_sandbox, _vm, mesh) = stage().await;
    let report = report(&mesh).await.unwrap();
    assert!(report.forecast_by.starts_with("forecast-"), "{report:?}");
    assert!(report.archive_by.unwrap().starts_with("archive-"));
}

#[tokio::test]
async fn without_the_gateway_of_network2_there_is_a_forecast_and_no_archive() {
    let (sandbox, _vm, mesh) = stage().await;
    sandbox.stop_gateway("network2").await.unwrap();
    let report = report(&mesh).await.unwrap();
    assert_eq!((report.forecast_by.as_str(), report.archive_by), ("forecast-1a", None));
}

#[tokio::test]
async fn a_forecast_with_a_wrong_identity_fails_the_report() {
    let (sandbox, _vm, mesh) = stage().await;
    sandbox.impersonate("weather", "forecast", "mallory").unwrap();
    let error = report(&mesh).await.unwrap_err();
    assert!(error.to_string().contains("forecast.weather"), "{error}");
}

#[tokio::test]
async fn reports_work_while_istiod_is_down() {
    let (sandbox, _vm, mesh) = stage().await;
    report(&mesh).await.unwrap();
    sandbox.stop_istiod().await;
    mesh.health()
        .membership()
        .clone()
        .wait_for(|health| matches!(health.sync, SyncState::Stale { .. }))
        .await
        .unwrap();
    assert!(report(&mesh).await.unwrap().archive_by.is_some());
}

#[tokio::test]
async fn a_slow_gateway_delays_the_report() {
    let (sandbox, _vm, mesh) = stage().await;
    for network in ["network1", "network2"] {
        sandbox.slow_gateway(network, Duration::from_millis(100)).unwrap();
    }
    assert!(report(&mesh).await.unwrap().archive_by.is_some());
}

#[tokio::test]
async fn a_new_service_is_found() {
    let (sandbox, _vm, mesh) = stage().await;
    sandbox.delete("cluster2", "Service", "weather", "archive").unwrap();
    let host = "archive.weather.svc.cluster.local";
    mesh.client().names().clone().wait_for(|names| names.get(host).is_none()).await.unwrap();
    assert_eq!(report(&mesh).await.unwrap().archive_by, None);
    let yaml = "apiVersion: v1
kind: Service
metadata: {name: archive, namespace: weather}
spec:
  clusterIP: 10.2.0.30
  selector: {app: archive}
  ports: [{name: http, port: 3003, targetPort: 8080}]
";
    sandbox.apply("cluster2", yaml).unwrap();
    mesh.client().names().clone().wait_for(|names| names.get(host).is_some()).await.unwrap();
    assert!(report(&mesh).await.unwrap().archive_by.is_some());
}
