//! A VM workload in an Istio mesh, without a sidecar.
//!
//! Without arguments: the tour, on a mesh that this process brings along. With the files that
//! `istioctl x workload entry configure` writes: the same calls on the mesh that the files describe.

#![forbid(unsafe_code)]

mod on_mesh;
mod show;
mod tour;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use http::Uri;
use mesh_connector::{Probe, Target};

/// Resolve names of an Istio mesh and call its services, without a sidecar.
///
/// Without arguments this is a tour of everything, on a mesh in this process.
#[derive(Debug, Parser)]
#[command(name = "vm-workload", args_conflicts_with_subcommands = false)]
struct Cli {
    #[command(flatten)]
    mesh: MeshArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The mesh to join.
#[derive(Args, Debug)]
struct MeshArgs {
    /// Folder that `istioctl x workload entry configure` wrote.
    #[arg(long, global = true, value_name = "DIR")]
    vm_files: Option<PathBuf>,
    /// Name in istiod's certificate, where it is not the one that is dialled.
    #[arg(long, global = true, value_name = "NAME")]
    istiod_name: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the addresses of names, and who answered.
    Resolve {
        /// Names, short or whole.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Print the body of a response; how it was reached goes to standard error.
    Get {
        #[arg(help = "http://HOST[:PORT]/PATH")]
        url: Uri,
    },
    /// Explain how a connection to a service is made, step by step, and make one to see whether it is true.
    Explain {
        /// HOST:PORT, the host short or whole, the port a service port
        target: Target,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Make no connection.
        #[arg(long)]
        no_handshake: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match (cli.mesh.vm_files, cli.command) {
        (None, None) => return tour::run().await,
        (Some(dir), Some(Command::Resolve { names })) => {
            on_mesh::resolve(&dir, cli.mesh.istiod_name, &names).await
        }
        (Some(dir), Some(Command::Get { url })) => on_mesh::get(&dir, cli.mesh.istiod_name, url).await,
        (Some(dir), Some(Command::Explain { target, json, no_handshake })) => {
            let probe = if no_handshake { Probe::Nothing } else { Probe::Handshake };
            on_mesh::explain(&dir, cli.mesh.istiod_name, &target, probe, json).await
        }
        (Some(_), None) => Err("say what to do: `resolve NAME...`, `get URL` or `explain HOST:PORT`".into()),
        (None, Some(_)) => Err("say which mesh to join: --vm-files DIR".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show::error(&*error);
            ExitCode::FAILURE
        }
    }
}
