//! Runs a program with access to the mesh through the bridge, without a sidecar.
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
//! With `--dns`, an unmodified program finds every service of the mesh by its name and port. Its resolv.conf names a
//! DNS server in this process, which answers with loopback addresses on which the bridge listens. In a network
//! namespace, port 53 and ports below 1024 are available without root:
//!
//! ```text
//! $ unshare -rn sh -c 'ip link set lo up && exec bridge --vm-files ./vm --dns -- unshare -m \
//!     sh -c "mount --bind \$SIDESTEP_DIR/resolv.conf /etc/resolv.conf && curl http://forecast.weather:3002/"'
//! ```
//!
//! (A namespace made by `unshare` has no external connectivity; one made by `pasta --config-net` has, also without
//! root.)
//!
//! The program finds the proxy by the usual environment variables (`http_proxy`, `https_proxy`, `all_proxy`) and Unix
//! sockets in the folder `SIDESTEP_DIR`. With `--local`, a service has a local address, which the file `hosts` in that
//! folder names; use this file as /etc/hosts for programs that support neither proxies nor Unix sockets. Other users of
//! the host have no access: the proxy requires a password that only these variables contain, and sockets and local
//! addresses accept only processes of the same user.

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

/// Run a program with access to the services of an Istio mesh.
#[derive(Debug, Parser)]
#[command(name = "bridge")]
struct Cli {
    /// Folder written by `istioctl x workload entry configure`.
    #[arg(long, value_name = "DIR")]
    vm_files: PathBuf,
    /// DNS name in istiod's certificate, if it differs from the address that is connected to.
    #[arg(long, value_name = "NAME")]
    istiod_name: Option<String>,
    /// Service to offer as the Unix socket $SIDESTEP_DIR/HOST:PORT; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    unix: Vec<Target>,
    /// Database to offer to libpq as host=$SIDESTEP_DIR port=PORT; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    postgres: Vec<Target>,
    /// Service to offer at a local address, which $SIDESTEP_DIR/hosts names; may be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    local: Vec<Target>,
    /// Answer DNS queries at 127.0.0.1:53 with local addresses; $SIDESTEP_DIR/resolv.conf names this server.
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

/// Returns the exit code of the program, or 1 if it has none.
async fn run(cli: Cli) -> Result<u8, Box<dyn Error>> {
    let mut config = Config::builder().with_vm_files(&cli.vm_files);
    if let Some(name) = &cli.istiod_name {
        config = config.with_istiod_name(name);
    }
    let mesh = Mesh::join(config.build()?).await?;
    let sockets = tempfile::tempdir()?;
    // The program is a different process: only it gets the password of the proxy, and the sockets accept only this
    // user.
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
    // The DNS server runs as long as the program.
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

/// The address at which programs expect a DNS server, because resolv.conf cannot contain a port.
const DNS: &str = "127.0.0.1:53";

/// Starts a DNS server that answers with local addresses, and writes a resolv.conf that names it and has the other
/// settings of this host.
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
