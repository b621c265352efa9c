//! reqwest with the mesh as its resolver, set in one line. The addresses must be reachable; otherwise use the bridge
//! (`reqwest-client`).
//!
//! ```text
//! $ resolve-reqwest ./vm http://ledger.accounts:8080/
//! 200 OK
//! ```

#![forbid(unsafe_code)]

use std::error::Error;

use mesh_resolver::MeshResolver;
use nds_client::{Config, NdsClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: resolve-reqwest VM-FILES URL".into());
    };
    let mesh = MeshResolver::new(&NdsClient::join(Config::from_vm_files(vm_files)?).await?)?;

    // A proxy from the environment would resolve the names.
    let client = reqwest::Client::builder().dns_resolver(mesh).no_proxy().build()?;
    anstream::println!("{}", client.get(url).send().await?.status());
    Ok(())
}
