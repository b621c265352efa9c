//! The hyper-util client in the mesh, without a sidecar, over HTTP/1.1 or HTTP/2. It also prints the identity of the
//! peer.
//!
//! ```text
//! $ http-client ./vm http://forecast.weather:3002/ --http2
//! HTTP/2.0 200 OK from spiffe://cluster.local/ns/weather/sa/forecast at 198.51.100.2:15443
//! {"alpn":"h2","client":"spiffe://cluster.local/ns/vms/sa/edge-app",…
//! ```

#![forbid(unsafe_code)]

use std::error::Error;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use mesh_connector::{Config, ConnectionInfo, Mesh, Protocol, hyper::HttpClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: http-client VM-FILES URL [--http2]".into());
    };
    let mesh = Mesh::join(Config::from_vm_files(vm_files)?).await?;
    let client: HttpClient<Empty<Bytes>> = match arguments.next().as_deref() {
        Some("--http2") => HttpClient::new(mesh.connector().with_protocol(Protocol::Http2)),
        _ => mesh.http_client(),
    };
    let response = client.get(url.parse()?).await?;
    let connection = response.extensions().get::<ConnectionInfo>().ok_or("no connection")?;
    let (peer, endpoint) = (connection.peer_name().unwrap_or("an unverified peer"), connection.endpoint());
    anstream::println!("{:?} {} from {peer} at {endpoint}", response.version(), response.status());
    let body = response.into_body().collect().await?.to_bytes();
    anstream::println!("{}", String::from_utf8_lossy(&body));
    Ok(())
}
