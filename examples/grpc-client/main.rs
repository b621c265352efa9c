//! tonic in the mesh, without a sidecar: the health of a gRPC service (`grpc.health.v1.Health/Check`).
//!
//! Generated clients accept this channel like tonic's own. This example has a handwritten call, so that it needs no
//! code generation.
//!
//! ```text
//! $ grpc-client ./vm forecast.weather:3002
//! forecast.weather:3002 is serving
//! ```

#![forbid(unsafe_code)]

use std::error::Error;

use mesh_connector::{Config, Mesh};
use tonic::{client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;

/// The message `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
}

/// The message `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(service)) = (arguments.next(), arguments.next()) else {
        return Err("usage: grpc-client VM-FILES HOST:PORT".into());
    };
    let mesh = Mesh::join(Config::from_vm_files(vm_files)?).await?;
    // The scheme is http, because the mesh adds mTLS; the server sees https.
    let channel = mesh.grpc_channel(Endpoint::from_shared(format!("http://{service}"))?);
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    let codec = ProstCodec::<Request, Response>::default();
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let answer = grpc.unary(tonic::Request::new(Request::default()), path, codec).await?.into_inner();
    let health = if answer.status == 1 { "is serving" } else { "is not serving" };
    anstream::println!("{service} {health}");
    Ok(())
}
