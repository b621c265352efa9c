//! A VM workload in an Istio mesh, without a sidecar.
//!
//! Without arguments, runs a tour on a mesh in this process. With the files that `istioctl x workload entry configure`
//! writes, runs commands on the mesh of these files.

#![forbid(unsafe_code)]

mod on_mesh;
mod show;
mod tour;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use http::Uri;
use mesh_connector::{Target, explain::Probe};

/// Resolve names of an Istio mesh and call its services, without a sidecar.
///
/// Without arguments, run a tour on a mesh in this process.
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
    /// Folder written by `istioctl x workload entry configure`.
    #[arg(long, global = true, value_name = "DIR")]
    vm_files: Option<PathBuf>,
    /// DNS name in istiod's certificate, if it differs from the address that is connected to.
    #[arg(long, global = true, value_name = "NAME")]
    istiod_name: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the addresses of names, with their sources.
    Resolve {
        /// Short or full names.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Print the body of a response; details of the connection go to standard error.
    Get {
        #[arg(help = "http://HOST[:PORT]/PATH")]
        url: Uri,
    },
    /// Explain step by step how a connection to a service is made, and test it with a real connection.
    Explain {
        /// HOST:PORT, with a short or full host and a service port.
        target: Target,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Do not make a connection.
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
        (Some(_), None) => {
            Err("missing command; use `resolve NAME...`, `get URL` or `explain HOST:PORT`".into())
        }
        (None, Some(_)) => Err("missing mesh; add --vm-files DIR".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show::error(&*error);
            ExitCode::FAILURE
        }
    }
}
