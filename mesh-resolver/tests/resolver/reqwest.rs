//! Tests of reqwest with the mesh resolver.

use mesh_resolver::{ErrorKind, MeshResolver, Upstream};

use crate::{
    http::HttpServer,
    mesh::{FORECAST, Mesh},
};

fn client(resolver: MeshResolver) -> reqwest::Client {
    reqwest::Client::builder().dns_resolver(resolver).no_proxy().build().unwrap()
}

#[tokio::test]
async fn reqwest_connects_to_a_mesh_name() {
    let server = HttpServer::start("sunny").await;
    let mesh = Mesh::synced(&[(FORECAST, &["127.0.0.1"])]);
    let client = client(mesh.resolver(Upstream::none()));
    let url = format!("http://forecast.weather:{}/today", server.address.port());
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.remote_addr(), Some(server.address));
    assert_eq!(answer.text().await.unwrap(), "sunny");
}

#[tokio::test]
async fn reqwests_error_contains_the_error_of_the_resolver() {
    let mesh = Mesh::synced(&[(FORECAST, &["127.0.0.1"])]);
    let client = client(mesh.resolver(Upstream::none()));
    let error = client.get("http://forcast.weather:3002/").send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    let mut cause = std::error::Error::source(&error);
    let resolver_error = loop {
        let error = cause.expect("the resolver's error is among the causes");
        match error.downcast_ref::<mesh_resolver::Error>() {
            Some(resolver_error) => break resolver_error,
            None => cause = error.source(),
        }
    };
    assert_eq!((resolver_error.kind(), resolver_error.host()), (ErrorKind::NameNotFound, "forcast.weather"));
}
