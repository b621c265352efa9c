//! Loopback addresses that stand for names.

use mesh_connector::bridge::LocalPort;

use super::*;

#[tokio::test]
async fn a_loopback_address_leads_to_its_service_and_stays_the_same() {
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
async fn on_request_the_port_is_the_services_own() {
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
async fn another_process_is_not_served() {
    let world = World::start().await;
    let mesh = world.join().await;
    let bridge = bridge(&mesh).await;
    let address = bridge.listen_local(&ledger(), LocalPort::Any).await.unwrap();
    assert_eq!(another_process(address, r"hello\n").await, "");
    assert_eq!(world.through_gateways(), 0);
}
