//! Loopback addresses of services.

use mesh_connector::{ErrorKind, MeshResolver, bridge::LocalPort};
#[cfg(feature = "reqwest")]
use mesh_sandbox::Event;

use super::*;

#[tokio::test]
async fn a_loopback_address_connects_to_its_service_and_does_not_change() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let target = Target::new("forecast.weather", 3002).unwrap();
    let address = bridge.listen_local(&target, LocalPort::Any).await.unwrap();
    assert_eq!(bridge.listen_local(&target, LocalPort::Any).await.unwrap(), address);
    let names = bridge.local_names();
    assert_eq!(names.listener("forecast.weather.svc.cluster.local", 3002), Some(address));
    let request = "GET /local HTTP/1.1\r\nHost: forecast.weather\r\nConnection: close\r\n\r\n";
    let answer = say(connect(address).await, request).await.unwrap();
    assert!(String::from_utf8(answer).unwrap().contains("/local"));
}

#[tokio::test]
async fn local_address_exists_for_services_of_the_mesh_only() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let target = |host, port| Target::new(host, port).unwrap();
    let address = bridge.local_address(&target("forecast.weather", 3002)).await.unwrap().unwrap();
    assert!(ask(address).await.contains("/local"));
    assert_eq!(bridge.local_address(&target("www.example.com", 80)).await.unwrap(), None);
    let unknown = bridge.local_address(&target("forecast.weather", 81)).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::UnknownPort);
}

#[tokio::test]
async fn with_local_port_real_the_port_is_the_service_port() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let address = bridge.listen_local(&ledger(), LocalPort::Real).await.unwrap();
    assert_eq!(address.port(), 5432);
    let mut client = connect(address).await;
    client.write_all(b"hello\n").await.unwrap();
    client.shutdown().await.unwrap();
    assert!(say(client, "").await.unwrap().ends_with(b"hello\n"));
}

#[tokio::test]
async fn another_process_is_rejected() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let address = bridge.listen_local(&ledger(), LocalPort::Any).await.unwrap();
    assert_eq!(another_process(address, r"hello\n").await, "");
    assert_eq!(world.through_gateways(), 0);
}

/// Sends an HTTP request and returns the response.
async fn ask(address: SocketAddr) -> String {
    let request = "GET /local HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n";
    String::from_utf8(say(connect(address).await, request).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_resolver_returns_a_loopback_address_with_the_real_ports_for_each_service() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let services = bridge.local_services().await.unwrap();
    let resolver = MeshResolver::builder_for(mesh.client()).with_local_addresses(services).build().unwrap();
    let found = resolver.lookup_ip("forecast.weather").await.unwrap().addresses().to_vec();
    let [ip] = found[..] else { panic!("{found:?}") };
    assert!(ip.is_loopback(), "{ip}");
    assert!(ask((ip, 3002).into()).await.contains("/local"));
    let again = resolver.lookup_ip("forecast.weather.svc.cluster.local").await.unwrap();
    assert_eq!(again.addresses(), [ip], "a service keeps its address");
    let other = resolver.lookup_ip("ledger.payments.example").await.unwrap().addresses().to_vec();
    assert!(other != [ip] && other[0].is_loopback(), "{other:?}");
    drop(bridge);
    let gone = resolver.lookup_ip("ledger.payments.example").await.unwrap();
    assert!(!gone.addresses()[0].is_loopback(), "without the bridge the table answers: {gone:?}");
}

#[tokio::test]
async fn a_client_that_resolves_and_dials_itself_connects_through_the_mesh() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let resolver = bridge.resolver().await.unwrap();
    let ip = resolver.lookup_ip("forecast.weather").await.unwrap().addresses()[0];
    assert!(ip.is_loopback(), "{ip}");
    let answer = ask((ip, 3002).into()).await;
    assert!(answer.contains(crate::US), "the workload verified the identity of the client: {answer}");
    assert_eq!(world.through_gateways(), 1);
    let raw = mesh.raw_resolver().lookup_ip("forecast.weather").await.unwrap();
    assert!(!raw.addresses()[0].is_loopback(), "the name table is unchanged: {raw:?}");
    assert!(resolver.lookup_ip("no-such.example").await.is_err(), "other names are resolved by upstream DNS");
    bridge.shutdown().await;
    let after = resolver.lookup_ip("forecast.weather").await.unwrap();
    assert_eq!(after.addresses(), raw.addresses(), "without the bridge, the name table answers");
}

#[tokio::test]
async fn the_number_of_loopback_listeners_is_limited() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = mesh.bridge().with_max_local_listeners(1).start().await.unwrap();
    let services = bridge.local_services().await.unwrap();
    let resolver = MeshResolver::builder_for(mesh.client()).with_local_addresses(services).build().unwrap();
    assert!(resolver.lookup_ip("forecast.weather").await.unwrap().addresses()[0].is_loopback());
    assert!(!resolver.lookup_ip("archive.weather").await.unwrap().addresses()[0].is_loopback());
    let error = bridge.listen_local(&ledger(), LocalPort::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Listen);
    assert!(error.to_string().contains("which is its limit"), "{error}");
}

/// A service on the default ports of both schemes.
#[cfg(feature = "reqwest")]
const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: weather}
spec:
  clusterIP: 10.1.0.79
  selector: {app: forecast}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: weather
  labels: {kubernetes.io/service-name: web}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}, {name: https, port: 8080, protocol: TCP}]
endpoints:
  - addresses: [10.10.1.11]
    conditions: {ready: true}
    targetRef: {kind: Pod, name: forecast-1a, namespace: weather}
";

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwest_reaches_services_with_only_a_resolver_with_or_without_a_port_in_the_url() {
    let world = World::start().await;
    let mesh = world.join().await;
    world.apply(&mesh, "cluster1", WEB, "web.weather.svc.cluster.local").await;
    let name = "web.weather.svc.cluster.local";
    mesh.client().names().clone().wait_for(|names| names.get(name).is_some()).await.unwrap();
    let bridge = bridge(&mesh).await;
    let client = bridge.reqwest_builder_by_name().await.unwrap().build().unwrap();
    for url in ["http://forecast.weather:3002/today", "http://web.weather/today"] {
        let answer = client.get(url).send().await.unwrap().text().await.unwrap();
        assert!(answer.contains("/today") && answer.contains(crate::US), "{url}: {answer}");
    }
    // Names in upstream DNS are unaffected.
    let error = client.get("http://no-such.example/").send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn a_listener_without_a_scheme_detects_it_by_the_first_byte() {
    use reqwest::dns::Resolve as _;

    let world = World::start().await;
    let mesh = world.join().await;
    world.apply(&mesh, "cluster1", WEB, "web.weather.svc.cluster.local").await;
    let bridge = bridge(&mesh).await;
    let services = bridge.local_services().await.unwrap();
    let name = "web.weather.svc.cluster.local";
    mesh.client().names().clone().wait_for(|names| names.get(name).is_some()).await.unwrap();
    let address = services.resolve("web.weather".parse().unwrap()).await.unwrap().next().unwrap();
    assert!(address.ip().is_loopback() && address.port() != 0, "{address}");
    assert!(ask(address).await.contains("/local"));
    let mut tls = connect(address).await;
    tls.write_all(b"\x16\x03\x01").await.unwrap();
    let events = world.sandbox.events();
    let sni = events.wait(|event| match event {
        Event::Gateway(event) => event.sni.clone().filter(|sni| sni.starts_with("outbound_.443_.")),
        _ => None,
    });
    assert_eq!(sni.await, "outbound_.443_._.web.weather.svc.cluster.local");
}
