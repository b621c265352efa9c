//! The outbound traffic policy, which a client without listeners and routes does not know.

use std::fs;

use mesh_tests::{
    ads::{Credentials, NodeBuilder, Server},
    peers::RealMesh,
    vm_files::Vm,
};
use xds_proto::type_url;

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";

/// If this test fails, a decision in ARCHITECTURE.md must be revised.
pub(crate) async fn the_outbound_policy_needs_all_listeners_or_the_routes_of_an_unused_port() {
    for (mode, catch_all) in [("ALLOW_ANY", "allow_any"), ("REGISTRY_ONLY", "block_all")] {
        let mut real = RealMesh::start().await;
        let sidecar = format!(
            "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: default, namespace: legacy}}
spec: {{outboundTrafficPolicy: {{mode: {mode}}}, egress: [{{hosts: [\"*/*\"]}}]}}
"
        );
        real.apply("cluster1", &sidecar).await;
        let token = fs::read_to_string(real.vm_files(&Vm::default()).join("istio-token")).unwrap();
        let server = Server { address: real.address(), root_pem: real.root_pem() };
        let mut stream = server.stream(&Credentials::token(token.trim(), "cluster1")).await;
        stream.introduce(&NodeBuilder::default().build(), type_url::NAME_TABLE).await;
        stream.subscribe(LISTENER, &["virtualOutbound"]).await;
        let listeners = stream.next_of(LISTENER).await.resources;
        assert!(listeners.len() > 1, "the requested name is ignored: {}", listeners.len());
        stream.subscribe(ROUTES, &["1"]).await;
        // istiod may process the Sidecar later, and then pushes.
        loop {
            let routes = stream.next_of(ROUTES).await;
            stream.ack(&routes).await;
            let [routes] = &routes.resources[..] else { panic!("{routes:?}") };
            let bytes = &routes.resource.as_ref().unwrap().value;
            assert!(bytes.len() < 1000, "{}", bytes.len());
            if String::from_utf8_lossy(bytes).contains(catch_all) {
                break;
            }
        }
    }
}
