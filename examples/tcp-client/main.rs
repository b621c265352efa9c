//! A raw stream in the mesh, without a sidecar: copies standard input to a service, and its answer to standard output.
//!
//! ```text
//! $ echo hello | tcp-client ./vm ledger.payments.example:5432
//! 10.20.9.1: hello
//! ```

#![forbid(unsafe_code)]

use std::error::Error;

use mesh_connector::{Config, Mesh, Target};
use tokio::io::{AsyncWriteExt as _, copy, split, stdin, stdout};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vm_files), Some(target)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tcp-client VM-FILES HOST:PORT".into());
    };
    let mesh = Mesh::join(Config::from_vm_files(vm_files)?).await?;
    let stream = mesh.connect_to(&target.parse::<Target>()?).await?;
    anstream::eprintln!("connected to {}", stream.connection().peer_name().unwrap_or("a plaintext service"));
    let (mut answer, mut question) = split(stream);
    let ask = async {
        copy(&mut stdin(), &mut question).await?;
        // The service sees the end of the input; its answer is still received.
        question.shutdown().await
    };
    let show = async {
        let mut out = stdout();
        copy(&mut answer, &mut out).await?;
        out.flush().await
    };
    tokio::try_join!(ask, show)?;
    Ok(())
}
