//! The VM files, compared with those of istioctl.

use std::fs;

use mesh_sandbox::ErrorKind;

use crate::client::{Client, node};
use crate::mesh::tour;

#[tokio::test]
async fn the_five_files_have_the_content_of_istioctl() {
    let sandbox = tour().await;
    let files = sandbox.vm_files("vms/edge-app").unwrap();
    let read = |name: &str| fs::read_to_string(files.path().join(name)).unwrap();
    let env = read("cluster.env");
    for line in [
        "CANONICAL_SERVICE='edge-app'",
        "ISTIO_META_CLUSTER_ID='cluster1'",
        "ISTIO_META_DNS_CAPTURE='true'",
        "ISTIO_META_NETWORK='vm-network'",
        "ISTIO_NAMESPACE='vms'",
        "ISTIO_SERVICE='edge-app.vms'",
        "SERVICE_ACCOUNT='edge-app'",
        "TRUST_DOMAIN='cluster.local'",
    ] {
        assert!(env.lines().any(|it| it == line), "{line} is not in\n{env}");
    }
    assert!(env.lines().is_sorted());
    let port = sandbox.istiod_address().port();
    assert!(read("mesh.yaml").contains(&format!("discoveryAddress: istiod.istio-system.svc:{port}\n")));
    assert_eq!(read("hosts"), "127.0.0.1 istiod.istio-system.svc\n");
    assert_eq!(read("root-cert.pem"), sandbox.root_certificate_pem());
    Client::with_token(&sandbox, &read("istio-token")).join(&node("vm-network", "cluster1")).await;
}

#[tokio::test]
async fn the_error_of_an_unknown_group_lists_the_existing_ones() {
    let sandbox = tour().await;
    let refused = sandbox.vm_files("vms/other").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(refused.to_string().contains("vms/edge-app"), "{refused}");
    assert_eq!(sandbox.workload_groups(), ["vms/edge-app"]);
}
