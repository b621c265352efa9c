//! Loopback addresses of services.

use std::net::IpAddr;

use mesh_connector::{ErrorKind, MeshResolver, bridge::LocalPort};
use mesh_resolver::ErrorKind as ResolveError;
#[cfg(feature = "reqwest")]
use mesh_sandbox::Event;
use tokio::net::TcpListener;

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
    let gone = resolver.lookup_ip("ledger.payments.example").await.unwrap_err();
    assert!(gone.report().contains("the bridge has ended"), "{}", gone.report());
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
    let after = resolver.lookup_ip("forecast.weather").await.unwrap_err();
    assert_eq!(after.kind(), ResolveError::NoLocalAddress, "the addresses of the name table bypass the mesh");
}

#[tokio::test]
async fn the_number_of_loopback_listeners_is_limited() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = mesh.bridge().with_max_local_listeners(1).start().await.unwrap();
    let services = bridge.local_services().await.unwrap();
    let resolver = MeshResolver::builder_for(mesh.client()).with_local_addresses(services).build().unwrap();
    assert!(resolver.lookup_ip("forecast.weather").await.unwrap().addresses()[0].is_loopback());
    let full = resolver.lookup_ip("archive.weather").await.unwrap_err();
    assert!(full.report().contains("which is its limit"), "{}", full.report());
    let error = bridge.listen_local(&ledger(), LocalPort::Any).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Listen);
    assert!(error.to_string().contains("which is its limit"), "{error}");
}

const SHOP: &str = "orders.shop.example";

/// A ServiceEntry with these ports.
fn shop(ports: &[u16]) -> String {
    let ports: String = ports
        .iter()
        .map(|port| format!("  - {{number: {port}, name: tcp-{port}, protocol: TCP}}\n"))
        .collect();
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: orders, namespace: weather}}
spec:
  hosts: [{SHOP}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
{ports}  endpoints: [{{address: 10.20.9.77, network: network2}}]
"
    )
}

/// Applies the ServiceEntry, and waits until the client knows its ports.
async fn apply_shop(world: &World, mesh: &Mesh, ports: &[u16]) {
    world.sandbox.apply("cluster1", &shop(ports)).unwrap();
    let mut expected = ports.to_vec();
    expected.sort_unstable();
    let mut clusters = mesh.client().clusters().clone();
    let known = clusters.wait_for(|all| all.as_ref().is_some_and(|all| all.ports(SHOP) == expected));
    tokio::time::timeout(TIME_LIMIT, known).await.unwrap().unwrap();
    mesh.client().names().clone().wait_for(|names| names.get(SHOP).is_some()).await.unwrap();
}

/// A program that listens on a port of all addresses, as an attacker or a web server does.
async fn squatter() -> (TcpListener, u16) {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Returns a port on which no program listens.
async fn free_port() -> u16 {
    squatter().await.1
}

#[tokio::test]
async fn a_service_with_a_port_of_another_program_has_no_loopback_address() {
    let (world, (squatter, taken), free) = (World::start().await, squatter().await, free_port().await);
    let mesh = world.join().await;
    apply_shop(&world, &mesh, &[free, taken]).await;
    let bridge = bridge(&mesh).await;
    let resolver = bridge.resolver().await.unwrap();
    let error = resolver.lookup_ip(SHOP).await.unwrap_err();
    assert_eq!(error.kind(), ResolveError::NoLocalAddress);
    let report = error.report();
    assert!(report.contains(&format!("for {SHOP}:{taken}: another program listens")), "{report}");
    assert!(resolver.try_lookup(SHOP).is_none());
    // A client that accepts a port gets a listener of the bridge.
    let address = bridge.local_address(&Target::new(SHOP, taken).unwrap()).await.unwrap().unwrap();
    assert!(address.ip().is_loopback() && address.port() != taken, "{address}");
    drop(squatter);
    let services = bridge.local_services().await.unwrap();
    assert!(format!("{services:?}").contains("LocalServices"));
}

#[tokio::test]
async fn a_port_that_istiod_adds_is_bound_before_the_next_lookup_and_a_removed_port_stays_bound() {
    let (world, first, second) = (World::start().await, free_port().await, free_port().await);
    let mesh = world.join().await;
    apply_shop(&world, &mesh, &[first]).await;
    let bridge = bridge(&mesh).await;
    let (resolver, names) = (bridge.resolver().await.unwrap(), bridge.local_names());
    let ip = resolver.lookup_ip(SHOP).await.unwrap().addresses()[0];
    apply_shop(&world, &mesh, &[second]).await;
    // The bridge follows the clusters in its own task, so the listener may open a moment later.
    while names.listener(SHOP, second).is_none() {
        // polling: the bridge publishes no event for a new listener.
        tokio::task::yield_now().await;
    }
    assert_eq!(names.listener(SHOP, second), Some((ip, second).into()));
    assert_eq!(resolver.lookup_ip(SHOP).await.unwrap().addresses(), [ip]);
    for port in [first, second] {
        let wildcard = TcpListener::bind(("0.0.0.0", port)).await;
        assert_eq!(wildcard.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
    assert!(
        say(connect((ip, first).into()).await, "").await.is_err(),
        "the bridge resets clients of a removed port"
    );
}

#[tokio::test]
async fn a_service_loses_its_address_if_istiod_adds_a_port_of_another_program() {
    let (world, (_squatter, taken), free) = (World::start().await, squatter().await, free_port().await);
    let mesh = world.join().await;
    apply_shop(&world, &mesh, &[free]).await;
    let bridge = bridge(&mesh).await;
    let resolver = bridge.resolver().await.unwrap();
    let ip = resolver.lookup_ip(SHOP).await.unwrap().addresses()[0];
    apply_shop(&world, &mesh, &[free, taken]).await;
    let error = resolver.lookup_ip(SHOP).await.unwrap_err();
    assert_eq!(error.kind(), ResolveError::NoLocalAddress);
    assert_eq!(
        bridge.local_names().listener(SHOP, free),
        Some((ip, free).into()),
        "clients may use the address"
    );
    apply_shop(&world, &mesh, &[free]).await;
    assert_eq!(resolver.lookup_ip(SHOP).await.unwrap().addresses(), [ip]);
}

#[tokio::test]
async fn a_service_without_known_ports_has_no_loopback_address() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let services = bridge.local_services().await.unwrap();
    let error = mesh_resolver::LocalAddresses::address(
        &services,
        "unknown.example",
        mesh_resolver::Asker::ThisProcess,
    );
    assert!(error.unwrap_err().to_string().contains("istiod has sent no TCP port of unknown.example"));
    assert_eq!(services.default_port("unknown.example"), None);
}

#[tokio::test]
async fn the_hosts_of_a_wildcard_have_different_loopback_addresses() {
    let (world, port) = (World::start().await, free_port().await);
    let mesh = world.join().await;
    world
        .apply(
            &mesh,
            "cluster1",
            &shop(&[port])
                .replace(SHOP, "\"*.shop.example\"")
                .replace("  location", "  addresses: [240.240.77.7]\n  location"),
            "*.shop.example",
        )
        .await;
    mesh.client().names().clone().wait_for(|names| names.get("*.shop.example").is_some()).await.unwrap();
    let bridge = bridge(&mesh).await;
    let resolver = bridge.resolver().await.unwrap();
    let address = async |name| -> IpAddr { resolver.lookup_ip(name).await.unwrap().addresses()[0] };
    let (a, b) = (address("a.shop.example").await, address("b.shop.example").await);
    assert!(a.is_loopback() && b.is_loopback() && a != b, "{a} {b}");
    assert_eq!(bridge.local_names().listener("a.shop.example", port), Some((a, port).into()));
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

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwest_gets_no_address_if_another_program_listens_on_a_port_that_a_url_may_contain() {
    use reqwest::dns::Resolve as _;

    let (world, (_squatter, taken)) = (World::start().await, squatter().await);
    let mesh = world.join().await;
    apply_shop(&world, &mesh, &[80, taken]).await;
    let bridge = bridge(&mesh).await;
    let services = bridge.local_services().await.unwrap();
    let Err(error) = services.resolve(SHOP.parse().unwrap()).await else { panic!("an address") };
    assert!(error.to_string().contains(&format!(":{taken} for {SHOP}:{taken}")), "{error}");
    // The listener for URLs without a port does not depend on the other ports.
    let address = services.default_port(SHOP).unwrap();
    assert!(address.ip().is_loopback() && address.port() != 80, "{address}");
}
