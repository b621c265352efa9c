//! Names to addresses, without any other library: asynchronous, and synchronous from the mesh's table alone.
//!
//! ```text
//! $ resolve-plain ./vm forecast.weather
//! 10.1.0.20
//! from the table: 10.1.0.20
//! ```

#![forbid(unsafe_code)]

use std::error::Error;

use mesh_resolver::MeshResolver;
use nds_client::{Config, NdsClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: resolve-plain VM-FILES NAME".into());
    };
    let resolver = MeshResolver::new(&NdsClient::join(Config::from_vm_files(vm_files)?).await?)?;

    // Whoever knows it: the mesh, the hosts file, upstream DNS.
    for ip in resolver.lookup_ip(&name).await? {
        anstream::println!("{ip}");
    }
    // The mesh alone: no waiting, no allocation, from any thread.
    if let Some(addresses) = resolver.try_lookup(&name) {
        anstream::println!("from the table: {}", addresses[0]);
    }
    Ok(())
}
