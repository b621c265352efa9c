//! gRPC over all addresses of a name, in plaintext and without a gateway: a tonic channel whose endpoints follow the
//! name table. For services with mesh mTLS, use `Mesh::grpc_channel` of the connector.
//!
//! ```text
//! $ resolve-tonic ./vm http://ledger.accounts:50051
//! grpc-status 0
//! ```

#![forbid(unsafe_code)]

use std::{error::Error, time::Duration};

use mesh_resolver::{MeshResolver, tonic::channel};
use nds_client::{Config, NdsClient};
use tonic::{body::Body, codegen::http::Request};
use tower::ServiceExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(uri)) = (arguments.next(), arguments.next()) else {
        return Err("usage: resolve-tonic VM-FILES URL".into());
    };
    let mesh = MeshResolver::new(&NdsClient::join(Config::from_vm_files(vm_files)?).await?)?;

    let within = Duration::from_secs(2);
    let channel = channel(mesh, uri.parse()?, move |endpoint| endpoint.connect_timeout(within)).await?;
    // A generated client accepts the channel; this call needs no generated code.
    let call = Request::post("/grpc.health.v1.Health/Check").body(Body::empty())?;
    let answer = channel.oneshot(call).await?;
    let status = answer.headers().get("grpc-status").map_or(Ok("0"), |status| status.to_str())?;
    anstream::println!("grpc-status {status}");
    Ok(())
}
