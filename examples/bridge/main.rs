//! Runs a program with the mesh around it, without a sidecar: through the bridge, which this program is.
//!
//! ```text
//! $ bridge --vm-files ./vm -- curl -s http://forecast.weather:3002/
//! {"alpn":"http/1.1","client":"spiffe://cluster.local/ns/vms/sa/edge-app",…
//! $ bridge --vm-files ./vm --postgres orders.shop:5432 -- sh -c 'psql "host=$SIDESTEP_DIR port=5432" -c "select 1"'
//! $ bridge --vm-files ./vm --unix forecast.weather:3002 -- \
//!     sh -c 'curl --unix-socket $SIDESTEP_DIR/forecast.weather:3002 http://forecast.weather/'
//! $ bridge --vm-files ./vm --local forecast.weather:3002 -- \
//!     unshare -rm sh -c 'mount --bind $SIDESTEP_DIR/hosts /etc/hosts && curl --noproxy "*" http://forecast.weather:3002/'
//! ```
//!
//! With `--dns` a program that knows nothing of any of this finds every service of the mesh by its name and real port: its
//! resolv.conf leads to a DNS server in this process, which answers with loopback addresses behind which the bridge is.
//! Port 53, and services' ports below 1024, are free for the taking in a network namespace of one's own, without root:
//!
//! ```text
//! $ unshare -rn sh -c 'ip link set lo up && exec bridge --vm-files ./vm --dns -- unshare -m \
//!     sh -c "mount --bind \$SIDESTEP_DIR/resolv.conf /etc/resolv.conf && curl http://forecast.weather:3002/"'
//! ```
//!
//! (A namespace made by `unshare` has no way out; one made by `pasta --config-net` has, and is made without root too.)
//!
//! The program finds the proxy in the variables that most programs know (`http_proxy`, `https_proxy`, `all_proxy`), and
//! Unix sockets in the folder `SIDESTEP_DIR`. With `--local` a service has a loopback address of its own, which the file
//! `hosts` in that folder names: for programs that take neither, with that file as their /etc/hosts. Nobody else on the host can use them: the proxy wants a password that is
//! in those variables alone, and sockets and addresses serve processes of this user.

#![forbid(unsafe_code)]

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use mesh_connector::{
    Config, Mesh, Target,
    bridge::{Access, Bridge, LocalPort},
};
use mesh_resolver::{MeshResolver, listener::DnsListener};
use tokio::process::Command;

/// Run a program with the services of an Istio mesh within its reach.
#[derive(Debug, Parser)]
#[command(name = "bridge")]
struct Cli {
    /// Folder that `istioctl x workload entry configure` wrote.
    #[arg(long, value_name = "DIR")]
    vm_files: PathBuf,
    /// Name in istiod's certificate, where it is not the one that is dialled.
    #[arg(long, value_name = "NAME")]
    istiod_name: Option<String>,
    /// Service to offer as a Unix socket, HOST:PORT in $SIDESTEP_DIR; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    unix: Vec<Target>,
    /// Database to offer to libpq, as host=$SIDESTEP_DIR port=PORT; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    postgres: Vec<Target>,
    /// Service to offer at a loopback address, named in $SIDESTEP_DIR/hosts; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    local: Vec<Target>,
    /// Answer DNS at 127.0.0.1:53, with a loopback address for each service of the mesh; $SIDESTEP_DIR/resolv.conf says so.
    #[arg(long)]
    dns: bool,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

/// The program's own exit code; 1 where it has none.
async fn run(cli: Cli) -> Result<u8, Box<dyn Error>> {
    let mut config = Config::builder().with_vm_files(&cli.vm_files);
    if let Some(name) = &cli.istiod_name {
        config = config.with_istiod_name(name);
    }
    let mesh = Mesh::join(config.build()?).await?;
    let sockets = tempfile::tempdir()?;
    // The program is another process: the proxy's password is for it alone, the sockets are for this user.
    let bridge = mesh.bridge().with_access(Access::SameUser).start().await?;
    for target in &cli.unix {
        bridge.listen_unix(sockets.path().join(target.to_string()), target).await?;
    }
    for target in &cli.postgres {
        bridge.listen_postgres(sockets.path(), target).await?;
    }
    let mut hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    for target in &cli.local {
        let address = bridge.listen_local(target, LocalPort::Real).await?;
        hosts.push_str(&format!("{} {}\n", address.ip(), target.host()));
    }
    std::fs::write(sockets.path().join("hosts"), hosts)?;
    // Kept as long as the program runs.
    let _dns = if cli.dns { Some(dns(&mesh, &bridge, sockets.path()).await?) } else { None };
    let (program, arguments) = cli.program.split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    command.args(arguments).env("SIDESTEP_DIR", sockets.path());
    with_proxies(&mut command, &bridge);
    let status = command.kill_on_drop(true).status().await;
    let status = status.map_err(|error| format!("cannot run `{program}`: {error}"))?;
    bridge.shutdown().await;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Where programs look for a name server. resolv.conf has no place for a port.
const DNS: &str = "127.0.0.1:53";

/// A name server that answers with loopback addresses, and the resolv.conf that leads to it, in the words of this host's own.
async fn dns(mesh: &Mesh, bridge: &Bridge, dir: &Path) -> Result<DnsListener, Box<dyn Error>> {
    let services = bridge.local_services().await?;
    let resolver = MeshResolver::builder_for(mesh.client()).with_local_addresses(services).build()?;
    let listener = DnsListener::builder(resolver).bind(DNS).start()?;
    let own = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let others = own.lines().filter(|line| !line.trim_start().starts_with("nameserver"));
    let lines: String = others.chain(["nameserver 127.0.0.1"]).map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.join("resolv.conf"), lines)?;
    Ok(listener)
}

fn with_proxies(command: &mut Command, bridge: &Bridge) {
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env(name, bridge.http_url());
    }
    for name in ["all_proxy", "ALL_PROXY"] {
        command.env(name, bridge.socks_url());
    }
    for name in ["no_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
}

fn complain(error: &dyn Error) {
    anstream::eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        anstream::eprintln!("  because: {error}");
        cause = error.source();
    }
}
