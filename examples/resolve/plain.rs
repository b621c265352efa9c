//! Names to addresses, without another library: asynchronous, and synchronous from the name table only.
//!
//! ```text
//! $ resolve-plain ./vm forecast.weather
//! 10.1.0.20
//! name table: 10.1.0.20
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

    // Looks up the mesh, the hosts file and upstream DNS.
    for ip in resolver.lookup_ip(&name).await? {
        anstream::println!("{ip}");
    }
    // Looks up the name table only: without waiting or allocation, from any thread.
    if let Some(addresses) = resolver.try_lookup(&name) {
        anstream::println!("name table: {}", addresses.first());
    }
    Ok(())
}
