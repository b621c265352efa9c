//! Static gateways, for a control plane without CDS and EDS.

use mesh_connector::{ErrorKind, Target, explain::Probe, nds_client::config::ServerAddress};

use super::*;

impl World {
    /// Joins with one gateway and requests only names from istiod.
    async fn join_by_gateway(&self, network: &str) -> Mesh {
        let gateways = self.sandbox.gateways();
        let address = gateways.iter().find(|gateway| gateway.network == network).unwrap().address;
        let gateway: ServerAddress = address.to_string().parse().unwrap();
        self.builder().with_static_gateways([gateway]).join().await.unwrap()
    }

    /// Returns whether the client requested this type of resource from istiod.
    fn was_asked_for(&self, kind: &str) -> bool {
        let sent =
            |event: &Event| matches!(event, Event::AdsSent { type_url, .. } if type_url.ends_with(kind));
        self.sandbox.events().all().iter().any(sent)
    }
}

#[tokio::test]
async fn services_are_reachable_with_only_names_and_gateways() {
    let world = World::start().await;
    let mesh = world.join_by_gateway("network2").await;
    let mut stream = mesh.connect("ledger.payments.example", 5432).await.unwrap();
    assert!(exchange(&mut stream, "hello").await.unwrap().ends_with("hello\n"));
    let stream = mesh.connect("forecast.weather", 3002).await.unwrap();
    let info = stream.connection();
    assert_eq!(info.sni(), Some("outbound_.3002_._.forecast.weather.svc.cluster.local"));
    assert_eq!(info.peer_name(), Some(FORECAST));
    assert!(info.is_through_gateway());
    assert!(!world.was_asked_for("Cluster") && !world.was_asked_for("ClusterLoadAssignment"));
}

#[tokio::test]
async fn the_peer_must_belong_to_the_namespace_of_the_service() {
    let world = World::start().await;
    world.sandbox.impersonate("weather", "forecast", "other").unwrap();
    let mesh = world.join_by_gateway("network2").await;
    // A name determines only the namespace, so another service account of the namespace is accepted.
    mesh.connect("forecast.weather", 3002).await.unwrap();
    let target = Target::new("forecast.weather", 3002).unwrap();
    let explanation = mesh.explain_to(&target, Probe::Handshake).await.to_string();
    assert!(explanation.contains("spiffe://cluster.local/ns/weather/sa/*"), "{explanation}");
}

#[tokio::test]
async fn an_address_selects_its_service_and_an_unknown_name_is_outside_the_mesh() {
    let world = World::start().await;
    let mesh = world.join_by_gateway("network2").await;
    let found = mesh.raw_resolver().lookup_ip("forecast.weather").await.unwrap().addresses()[0];
    let stream = mesh.connect(&found.to_string(), 3002).await.unwrap();
    assert_eq!(stream.connection().service(), Some("forecast.weather.svc.cluster.local"));
    let error = mesh.requiring_mtls().connect("intranet.example.com", 80).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRefused, "{}", error.report());
    let error = mesh.connect("forecast.weather", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "the gateway does not know the port: {}", error.report());
    assert!(error.attempts()[0].error.possible_causes().len() > 1);
}
