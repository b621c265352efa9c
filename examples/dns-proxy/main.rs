//! A DNS server for a VM in an Istio mesh, without a sidecar: mesh names are answered from istiod, all others from
//! upstream.
//!
//! ```text
//! $ dns-proxy --vm-files ./vm --listen 127.0.0.1:15053
//! listening on 127.0.0.1:15053
//! joined as spiffe://cluster.local/ns/vms/sa/edge-app, 24 names
//! $ dig @127.0.0.1 -p 15053 +short forecast.weather
//! 10.1.0.20
//! ```
//!
//! While istiod is unavailable, the server answers other names before the VM has joined, and mesh names from the last
//! table afterwards.

#![forbid(unsafe_code)]

use std::{error::Error, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use mesh_resolver::{
    MeshResolver, Upstream,
    listener::{DEFAULT_ADDRESS, DnsListener},
};
use nds_client::{Config, NdsClient};

/// Answer DNS queries like Istio's agent: mesh names from istiod, all others from upstream.
#[derive(Debug, Parser)]
#[command(name = "dns-proxy")]
struct Cli {
    /// Folder written by `istioctl x workload entry configure`.
    #[arg(long, value_name = "DIR")]
    vm_files: PathBuf,
    /// DNS name in istiod's certificate, if it differs from the address that is connected to.
    #[arg(long, value_name = "NAME")]
    istiod_name: Option<String>,
    /// Address to listen on, over UDP and TCP; may be given several times.
    #[arg(long, value_name = "ADDR", default_values_t = [DEFAULT_ADDRESS])]
    listen: Vec<SocketAddr>,
    /// DNS server for all other names, instead of the system's; may be given several times.
    #[arg(long, value_name = "IP:PORT", conflicts_with = "resolv_conf")]
    upstream: Vec<SocketAddr>,
    /// File in the format of resolv.conf, instead of the system's.
    #[arg(long, value_name = "FILE")]
    resolv_conf: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(never) => match never {},
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Runs until the process is killed.
async fn run(cli: Cli) -> Result<std::convert::Infallible, Box<dyn Error>> {
    let upstream = match (cli.resolv_conf, &cli.upstream[..]) {
        (Some(file), _) => Upstream::resolv_conf(file),
        (None, []) => Upstream::system(),
        (None, servers) => Upstream::servers(servers.iter().copied()),
    };
    let mut config = Config::builder().with_vm_files(&cli.vm_files);
    if let Some(name) = cli.istiod_name {
        config = config.with_istiod_name(name);
    }
    let client = NdsClient::spawn(config.build()?)?;
    let resolver = MeshResolver::builder_for(&client)
        .with_upstream(upstream)
        .with_upstream_for_external_services()
        .build()?;
    let listener =
        cli.listen.iter().fold(DnsListener::builder(resolver), |all, one| all.bind(one)).start()?;
    for address in listener.addresses() {
        anstream::println!("listening on {address}");
    }
    match client.ready().await {
        Ok(()) => {
            let who = client.identity().current().map(|identity| identity.spiffe_id().to_string());
            let names = client.names().load().len();
            anstream::println!("joined as {}, {names} names", who.unwrap_or_default());
        }
        Err(error) if error.kind().is_transient() => complain(&error),
        Err(error) => return Err(error.into()),
    }
    std::future::pending().await
}

/// Prints an error and its causes to standard error.
fn complain(error: &dyn Error) {
    anstream::eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        anstream::eprintln!("  because: {error}");
        cause = error.source();
    }
}
