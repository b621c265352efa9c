//! tower in the mesh, without a sidecar: the mesh is a service from targets to streams, to which layers can be
//! added.
//!
//! ```text
//! $ echo hello | tower-client ./vm ledger.payments.example:5432
//! 10.20.9.1: hello
//! ```

#![forbid(unsafe_code)]

use std::{error::Error, time::Duration};

use mesh_connector::{Config, Mesh, MeshStream, Target};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tower::{Service, ServiceBuilder, ServiceExt as _};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(target)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tower-client VM-FILES HOST:PORT".into());
    };
    let mesh = Mesh::join(Config::from_vm_files(vm_files)?).await?;
    let target: Target = target.parse()?;
    // Any tower layer works, here at most eight concurrent connections with a timeout of three seconds.
    let connector = ServiceBuilder::new().concurrency_limit(8).timeout(Duration::from_secs(3));
    let mut connector = connector.service(mesh);
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    anstream::print!("{}", ask(&mut connector, target, &line).await?);
    Ok(())
}

/// Sends a line and returns the answer.
async fn ask<S>(connector: &mut S, target: Target, line: &str) -> Result<String, Failure>
where
    S: Service<Target, Response = MeshStream, Error: Into<Failure>>,
{
    let connector = connector.ready().await.map_err(Into::into)?;
    let mut stream = BufReader::new(connector.call(target).await.map_err(Into::into)?);
    stream.get_mut().write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    Ok(answer)
}

const _: fn() = || {
    fn service<S: Service<Target, Response = MeshStream>>() {}
    service::<Mesh>();
};
