//! reqwest, with the mesh for its resolver.

use mesh_resolver::{ErrorKind, MeshResolver, Upstream};

use crate::{
    http::HttpServer,
    mesh::{FORECAST, Mesh},
};

fn client(resolver: MeshResolver) -> reqwest::Client {
    reqwest::Client::builder().dns_resolver(resolver).no_proxy().build().unwrap()
}

#[tokio::test]
async fn reqwest_reaches_a_mesh_name() {
    let server = HttpServer::start("sunny").await;
    let mesh = Mesh::synced(&[(FORECAST, &["127.0.0.1"])]);
    let client = client(mesh.resolver(Upstream::none()));
    let url = format!("http://forecast.weather:{}/today", server.address.port());
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.remote_addr(), Some(server.address));
    assert_eq!(answer.text().await.unwrap(), "sunny");
}

#[tokio::test]
async fn the_error_of_the_resolver_is_in_reqwests() {
    let mesh = Mesh::synced(&[(FORECAST, &["127.0.0.1"])]);
    let client = client(mesh.resolver(Upstream::none()));
    let error = client.get("http://forcast.weather:3002/").send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    let mut cause = std::error::Error::source(&error);
    let ours = loop {
        let error = cause.expect("the resolver's error is among the causes");
        match error.downcast_ref::<mesh_resolver::Error>() {
            Some(ours) => break ours,
            None => cause = error.source(),
        }
    };
    assert_eq!((ours.kind(), ours.host()), (ErrorKind::NameNotFound, "forcast.weather"));
}
