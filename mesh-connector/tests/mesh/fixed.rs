//! Fixed gateways: what a control plane without CDS and EDS leaves.

use mesh_connector::{ErrorKind, Probe, Target, nds_client::config::ServerAddress};

use super::*;

impl World {
    /// A membership that knows one gateway and asks istiod for names alone.
    async fn join_by_gateway(&self, network: &str) -> Mesh {
        let gateways = self.sandbox.gateways();
        let address = gateways.iter().find(|gateway| gateway.network == network).unwrap().address;
        let gateway: ServerAddress = address.to_string().parse().unwrap();
        self.builder().with_fixed_gateways([gateway]).join().await.unwrap()
    }

    /// Whether istiod was asked for this kind of resource.
    fn was_asked_for(&self, kind: &str) -> bool {
        let sent =
            |event: &Event| matches!(event, Event::AdsSent { type_url, .. } if type_url.ends_with(kind));
        self.sandbox.events().all().iter().any(sent)
    }
}

#[tokio::test]
async fn services_are_reached_by_names_and_gateways_alone() {
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
async fn the_peer_has_to_be_of_the_services_namespace() {
    let world = World::start().await;
    world.sandbox.impersonate("weather", "forecast", "other").unwrap();
    let mesh = world.join_by_gateway("network2").await;
    // Another service account of the same namespace is all that a name can promise.
    mesh.connect("forecast.weather", 3002).await.unwrap();
    let target = Target::new("forecast.weather", 3002).unwrap();
    let explanation = mesh.explain_to(&target, Probe::Handshake).await.to_string();
    assert!(explanation.contains("spiffe://cluster.local/ns/weather/sa/*"), "{explanation}");
}

#[tokio::test]
async fn an_address_leads_to_its_service_and_an_unknown_name_outside() {
    let world = World::start().await;
    let mesh = world.join_by_gateway("network2").await;
    let found = mesh.resolver().lookup_ip("forecast.weather").await.unwrap().addresses()[0];
    let stream = mesh.connect(&found.to_string(), 3002).await.unwrap();
    assert_eq!(stream.connection().service(), Some("forecast.weather.svc.cluster.local"));
    let error = mesh.requiring_mtls().connect("intranet.example.com", 80).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRefused, "{}", error.report());
    let error = mesh.connect("forecast.weather", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "the gateway knows no such port: {}", error.report());
    assert!(error.attempts()[0].error.candidates().len() > 1);
}
