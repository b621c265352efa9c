//! The hyper-util client with the mesh as its resolver.
//!
//! ```text
//! $ resolve-hyper ./vm http://ledger.accounts:8080/
//! 200 OK
//! ```

#![forbid(unsafe_code)]

use std::error::Error;

use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mesh_resolver::MeshResolver;
use nds_client::{Config, NdsClient};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: resolve-hyper VM-FILES URL".into());
    };
    let mesh = MeshResolver::new(&NdsClient::join(Config::from_vm_files(vm_files)?).await?)?;

    let connector = HttpConnector::new_with_resolver(mesh);
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<&[u8]>>(connector);
    anstream::println!("{}", client.get(url.parse()?).await?.status());
    Ok(())
}
