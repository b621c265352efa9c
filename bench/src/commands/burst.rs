//! The access control of the bridge: many simultaneous connections of this process, and the cost of one check.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use mesh_connector::{
    Config, Mesh, Target,
    bridge::{Access, LocalPort},
};
use mesh_resolver::Upstream;
use mesh_sandbox::Sandbox;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    runtime::Builder,
};

use crate::{
    Failure,
    process::process_time,
    report::{Budget, Report},
    rounds::tried,
    samples::Samples,
    unit::Unit,
};

pub(super) const ABOUT: &str = "600 simultaneous clients of the bridge, and the check of a client's owner";

const CLIENTS: usize = 600;
const BURSTS: usize = 3;
const ROUNDS: usize = 7;
/// The number of connections, one after another, per round.
const CONNECTIONS: u32 = 2000;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let sandbox = runtime.block_on(Sandbox::builder().without_reload().start())?;
    let vm = sandbox.vm_files("vms/edge-app")?;
    let builder = Mesh::builder(Config::from_vm_files(vm.path())?)
        .with_upstream(Upstream::servers([sandbox.upstream_dns()]));
    let mesh = runtime.block_on(builder.join())?;
    let target = Target::new("127.0.0.1", runtime.block_on(echo())?.port())?;
    let checked = runtime.block_on(mesh.bridge().start())?;
    let unchecked = runtime.block_on(mesh.bridge().with_access(Access::Any).start())?;
    let address = runtime.block_on(checked.listen_local(&target, LocalPort::Any))?;
    let bursts = (0..BURSTS).map(|_| burst(address)).collect::<Result<Vec<_>, _>>()?;
    report
        .row("600 simultaneous clients until the last answer", Unit::Nanoseconds, Samples::from_iter(bursts))
        .within(Budget::Ours(0.5e9));

    let proxies = (checked.proxy_address(), unchecked.proxy_address());
    let [[checks]] = tried(
        ROUNDS,
        [Box::new(|| {
            let unchecked = per_connection(proxies.1)?;
            Ok([per_connection(proxies.0)? - unchecked])
        })],
    )?;
    report
        .row("CPU of the check of a client's owner", Unit::Nanoseconds, checks)
        .within(Budget::Ours(10_000.0));
    setrlimit(Resource::Nofile, limit)?;
    Ok(())
}

/// Starts a server that answers each byte.
async fn echo() -> Result<SocketAddr, Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(1024)?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut byte = [0];
                while client.read_exact(&mut byte).await.is_ok() && client.write_all(&byte).await.is_ok() {}
            });
        }
    });
    Ok(address)
}

/// Connects all clients, and returns the time until each has received an answer, in nanoseconds.
fn burst(address: SocketAddr) -> Result<f64, Failure> {
    let start = Instant::now();
    let mut clients = (0..CLIENTS).map(|_| TcpStream::connect(address)).collect::<Result<Vec<_>, _>>()?;
    for client in &mut clients {
        client.write_all(b"x")?;
    }
    for client in &mut clients {
        client.read_exact(&mut [0])?;
    }
    Ok(start.elapsed().as_nanos() as f64)
}

/// Connects to the proxy and sends an invalid SOCKS5 message, after which the bridge closes the connection. Returns the
/// CPU time of this process per connection, in nanoseconds.
fn per_connection(proxy: SocketAddr) -> Result<f64, Failure> {
    let before = process_time();
    for _ in 0..CONNECTIONS {
        let mut client = TcpStream::connect(proxy)?;
        client.write_all(&[5, 0, 0])?;
        // The bridge answers with a refusal or a reset.
        let _ = client.read(&mut [0; 16]);
    }
    Ok((process_time() - before) / f64::from(CONNECTIONS))
}
