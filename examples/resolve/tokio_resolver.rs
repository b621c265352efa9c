//! A hickory `TokioResolver` that queries a DNS listener in the same process, for programs that require this type.
//!
//! ```text
//! $ resolve-tokio-resolver ./vm forecast.weather
//! 10.1.0.20
//! ```

#![forbid(unsafe_code)]

use std::error::Error;

use hickory_resolver::{TokioResolver, net::runtime::TokioRuntimeProvider};
use mesh_resolver::{MeshResolver, hickory::config_for, listener::DnsListener};
use nds_client::{Config, NdsClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: resolve-tokio-resolver VM-FILES NAME".into());
    };
    let mesh = MeshResolver::new(&NdsClient::join(Config::from_vm_files(vm_files)?).await?)?;
    let listener = DnsListener::builder(mesh).bind("127.0.0.1:0").start()?;

    let config = config_for(&listener)?;
    let resolver: TokioResolver =
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build()?;
    for ip in resolver.lookup_ip(name).await?.iter() {
        anstream::println!("{ip}");
    }
    Ok(())
}
