//! Tests of hyper-util's client with the mesh resolver.

use http_body_util::{BodyExt as _, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mesh_resolver::Upstream;

use crate::{
    http::HttpServer,
    mesh::{FORECAST, Mesh},
};

#[tokio::test]
async fn hyper_connects_to_a_mesh_name() {
    let server = HttpServer::start("sunny").await;
    let mesh = Mesh::synced(&[(FORECAST, &["127.0.0.1"])]);
    let connector = HttpConnector::new_with_resolver(mesh.resolver(Upstream::none()));
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<&[u8]>>(connector);
    let url = format!("http://forecast.weather:{}/today", server.address.port());
    let answer = client.get(url.parse().unwrap()).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "sunny");
}

#[tokio::test]
async fn hyper_receives_all_addresses_and_tries_the_next_one() {
    let server = HttpServer::start("sunny").await;
    // No server listens on the other loopback addresses.
    let mesh = Mesh::synced(&[(FORECAST, &["127.0.0.2", "127.0.0.1", "127.0.0.3"])]);
    let connector = HttpConnector::new_with_resolver(mesh.resolver(Upstream::none()));
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<&[u8]>>(connector);
    for _ in 0..20 {
        let url = format!("http://{FORECAST}:{}/", server.address.port());
        assert!(client.get(url.parse().unwrap()).await.unwrap().status().is_success());
    }
}
