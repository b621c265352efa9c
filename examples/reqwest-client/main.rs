//! reqwest in the mesh, without a sidecar: a client whose requests go through the bridge. With `--by-name`, only the
//! resolver of the client is replaced, and services are reached at local addresses.
//!
//! ```text
//! $ reqwest-client ./vm http://forecast.weather:3002/
//! 200 OK
//! {"alpn":"http/1.1","client":"spiffe://cluster.local/ns/vms/sa/edge-app",…
//! ```

#![forbid(unsafe_code)]

use std::error::Error;

use mesh_connector::{Config, Mesh};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: reqwest-client VM-FILES URL [--by-name]".into());
    };
    let mesh = Mesh::join(Config::from_vm_files(vm_files)?).await?;
    // Both must exist as long as requests are made.
    let bridge = mesh.bridge().start().await?;
    let client = match arguments.next().as_deref() {
        Some("--by-name") => bridge.reqwest_builder_by_name().await?.build()?,
        _ => bridge.reqwest_builder()?.build()?,
    };
    let response = client.get(url).send().await?;
    anstream::println!("{}", response.status());
    anstream::println!("{}", response.text().await?);
    Ok(())
}
