//! gRPC clients of tonic's, and the connector as a tower service.

use std::{future::poll_fn, time::Duration};

use http::{Request, Version};
use http_body_util::BodyExt as _;
use mesh_connector::{Error, ErrorKind, MeshChannel, Target};
use mesh_sandbox::Sandbox;
use tonic::{body::Body, transport::Endpoint};
use tower_service::Service as _;

use crate::{US, World, exchange};

const URL: &str = "http://forecast.weather:3002/";

async fn call(channel: &mut MeshChannel) -> Result<String, tonic::transport::Error> {
    let request = Request::post("/weather.Forecast/Today").body(Body::empty()).unwrap();
    poll_fn(|cx| channel.poll_ready(cx)).await?;
    let response = channel.call(request).await?;
    assert_eq!(response.version(), Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn calls_share_a_connection_through_the_mesh() {
    let world = World::start().await;
    let mesh = world.join().await;
    let mut channel = mesh.grpc_channel(Endpoint::from_static(URL));
    for _ in 0..3 {
        let answer = call(&mut channel.clone()).await.unwrap();
        assert!(answer.contains(US) && answer.contains("/weather.Forecast/Today"), "{answer}");
    }
    assert!(call(&mut channel).await.is_ok());
    assert_eq!(world.through_gateways(), 1);
}

#[tokio::test]
async fn a_new_identity_means_a_new_connection() {
    let second = Duration::from_secs(2);
    let world = World::start_with(Sandbox::builder().certificate_lifetimes(second, second)).await;
    let mesh = world.join().await;
    let mut channel = mesh.grpc_channel(Endpoint::from_static(URL));
    call(&mut channel).await.unwrap();
    let mut identity = mesh.client().identity().clone();
    let first = identity.current().unwrap().epoch();
    let renewed = identity.wait_for(|identity| identity.as_ref().is_some_and(|now| now.epoch() > first));
    tokio::time::timeout(Duration::from_secs(10), renewed).await.unwrap().unwrap();
    call(&mut channel).await.unwrap();
    assert_eq!(world.through_gateways(), 2);
}

#[tokio::test]
async fn what_the_mesh_says_is_found_in_the_error() {
    let world = World::start().await;
    let mesh = world.join().await;
    for (url, kind) in [
        ("http://forecast.weather:80", ErrorKind::UnknownPort),
        ("https://forecast.weather:3002", ErrorKind::Unsupported),
    ] {
        let error = call(&mut mesh.grpc_channel(Endpoint::from_static(url))).await.unwrap_err();
        assert_eq!(Error::find(&error).map(Error::kind), Some(kind), "{error:?}");
    }
}

#[tokio::test]
async fn the_connector_is_a_tower_service_from_targets_to_streams() {
    let world = World::start().await;
    let mesh = world.join().await;
    let mut connector = mesh.connector();
    let mut stream = connector.call(Target::new("ledger.payments.example", 5432).unwrap()).await.unwrap();
    assert!(exchange(&mut stream, "hello").await.unwrap().ends_with("hello\n"));
}
