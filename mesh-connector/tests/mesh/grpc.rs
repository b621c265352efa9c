//! gRPC clients of tonic, and the mesh as a tower service.

use std::{convert::Infallible, future::poll_fn, time::Duration};

use http::{HeaderValue, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_connector::{Error, ErrorKind, Target, tonic::MeshChannel};
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{Code, body::Body, transport::Endpoint};
use tower_service::Service as _;

use crate::{US, World, exchange};

const HOST: &str = "forecast.weather.svc.cluster.local";
const URL: &str = "http://forecast.weather:3002/";

async fn call(channel: &mut MeshChannel) -> Result<String, tonic::Status> {
    let request = Request::post("/weather.Forecast/Today").body(Body::empty()).unwrap();
    poll_fn(|cx| channel.poll_ready(cx)).await?;
    let response = channel.call(request).await?;
    assert_eq!(response.version(), Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn calls_share_a_connection_through_the_mesh_to_each_endpoint() {
    let world = World::start().await;
    let mesh = world.join().await;
    let mut channel = mesh.grpc_channel(Endpoint::from_static(URL));
    for _ in 0..16 {
        let answer = call(&mut channel.clone()).await.unwrap();
        assert!(answer.contains(US) && answer.contains("/weather.Forecast/Today"), "{answer}");
    }
    assert!(call(&mut channel).await.is_ok());
    assert_eq!(world.through_gateways(), 2, "each call chooses an endpoint");
}

#[tokio::test]
async fn the_server_sees_the_user_agent_and_an_https_origin() {
    let world = World::start().await;
    let mesh = world.join().await;
    let (seen, mut calls) = mpsc::unbounded_channel();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.sandbox.serve(HOST, 3002, server.local_addr().unwrap()).unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = server.accept().await.unwrap();
            let seen = seen.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                seen.send(request.into_parts().0).unwrap();
                async { Ok::<_, Infallible>(Response::new(Body::empty())) }
            });
            tokio::spawn(
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tcp), service),
            );
        }
    });
    let channel = mesh.grpc_channel(Endpoint::from_static(URL));
    let mut named = channel.clone().with_user_agent(&HeaderValue::from_static("edge/7"));
    let mut channel = channel;
    for (channel, agent) in [(&mut channel, "mesh-connector/"), (&mut named, "edge/7 mesh-connector/")] {
        call(channel).await.unwrap();
        let head = calls.recv().await.unwrap();
        assert_eq!(head.uri, "https://forecast.weather:3002/weather.Forecast/Today");
        assert!(head.headers["user-agent"].to_str().unwrap().starts_with(agent), "{head:?}");
    }
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let world = World::start().await;
    let mesh = world.join().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.sandbox.serve(HOST, 3002, silent.local_addr().unwrap()).unwrap();
    let channel = mesh.grpc_channel(Endpoint::from_static(URL));
    let hasty = channel.clone().with_timeout(Duration::from_millis(20));
    let mut request = Request::post("/weather.Forecast/Today").body(Body::empty()).unwrap();
    request.headers_mut().insert("grpc-timeout", HeaderValue::from_static("20m"));
    let unhurried = Request::post("/weather.Forecast/Today").body(Body::empty()).unwrap();
    for (mut channel, request) in [(channel, request), (hasty, unhurried)] {
        let status = channel.call(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Cancelled, "{status:?}");
        assert!(status.message().contains("Timeout"), "{status:?}");
    }
}

#[tokio::test]
async fn the_error_of_the_mesh_is_found_in_the_status() {
    let world = World::start().await;
    let mesh = world.join().await;
    for (url, kind) in [
        ("http://forecast.weather:80", ErrorKind::UnknownPort),
        ("https://forecast.weather:3002", ErrorKind::Unsupported),
    ] {
        let error = call(&mut mesh.grpc_channel(Endpoint::from_static(url))).await.unwrap_err();
        assert_eq!(Error::find(&error).map(Error::kind), Some(kind), "{error:?}");
        assert_eq!(error.code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn the_mesh_is_a_tower_service_from_targets_to_streams() {
    let world = World::start().await;
    let mesh = world.join().await;
    let mut service = mesh.clone();
    let mut stream = service.call(Target::new("ledger.payments.example", 5432).unwrap()).await.unwrap();
    assert!(exchange(&mut stream, "hello").await.unwrap().ends_with("hello\n"));
}
