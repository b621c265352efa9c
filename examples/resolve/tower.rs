//! Lookups as a tower service with a tower layer, here a timeout.
//!
//! ```text
//! $ resolve-tower ./vm forecast.weather
//! 10.1.0.20
//! ```

#![forbid(unsafe_code)]

use std::{error::Error, time::Duration};

use mesh_resolver::{MeshResolver, tower::LookupService};
use nds_client::{Config, NdsClient};
use tower::{ServiceBuilder, ServiceExt as _};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: resolve-tower VM-FILES NAME".into());
    };
    let mesh = MeshResolver::new(&NdsClient::join(Config::from_vm_files(vm_files)?).await?)?;

    let lookups = ServiceBuilder::new().timeout(Duration::from_secs(2)).service(LookupService::new(mesh));
    for ip in lookups.oneshot(name).await? {
        anstream::println!("{ip}");
    }
    Ok(())
}
