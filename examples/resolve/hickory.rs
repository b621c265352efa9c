//! A `hickory_resolver::Resolver` that resolves mesh names, for programs that use this type.
//!
//! ```text
//! $ resolve-hickory ./vm forecast.weather
//! 10.1.0.20
//! ```

#![forbid(unsafe_code)]

use std::error::Error;

use hickory_resolver::Resolver;
use mesh_resolver::{MeshResolver, hickory::MeshProvider};
use nds_client::{Config, NdsClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: resolve-hickory VM-FILES NAME".into());
    };
    let mesh = MeshResolver::new(&NdsClient::join(Config::from_vm_files(vm_files)?).await?)?;

    let resolver: Resolver<MeshProvider> = MeshProvider::new(mesh).into_resolver()?;
    for ip in resolver.lookup_ip(name).await?.iter() {
        anstream::println!("{ip}");
    }
    Ok(())
}
