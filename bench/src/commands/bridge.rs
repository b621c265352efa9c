//! A long stream through the bridge to a client that accepts no connector, compared with a minimal copier and with a
//! sidecar.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
};

use mesh_connector::bridge::LocalPort;
use tokio::{io::copy_bidirectional_with_sizes, net::TcpListener, runtime::Runtime, sync::oneshot};

use super::stream::{BYTES, request};
use crate::{
    Failure,
    bare::Bare,
    peers::{self, Clients},
    process::{thread_time, tree_time},
    report::{Budget, Report},
    rounds::tried,
    unit::Unit,
};

pub(super) const ABOUT: &str = "1 GiB through the gateway to a local plaintext socket, CPU per byte";

const ROUNDS: usize = 5;
/// The buffer size of a copy, which is also that of the bridge.
const BUFFER: usize = 16 * 1024;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let runtime = peers::one_thread()?;
    let Some(Clients { mesh, target, bare, stage }) = peers::clients(&runtime, report)? else {
        return Ok(());
    };
    let sidecar = runtime.block_on(stage.real.client_sidecar());
    let sidecar_address: SocketAddr = stage.real.client_sidecar_address().parse()?;
    let bridge = runtime.block_on(mesh.bridge().start())?;
    let local = runtime.block_on(bridge.listen_local(&target, LocalPort::Any))?;
    let (listener, copied) = runtime.block_on(copier(&bare))?;
    let here = |address| per_byte(&runtime, address, || Ok(thread_time()));
    let [[ours], [theirs], [sidecars]] = tried(
        ROUNDS,
        [
            Box::new(|| here(local)),
            Box::new(|| here(listener)),
            Box::new(|| per_byte(&runtime, sidecar_address, || tree_time(&sidecar))),
        ],
    )?;
    copied.abort();
    report
        .row("CPU of the bridge per byte", Unit::Nanoseconds, ours.clone())
        .beside("bare tokio-rustls into a socket", &theirs)
        .within(Budget::Ratio(1.1));
    report
        .row("CPU of the bridge per byte", Unit::Nanoseconds, ours)
        .beside("sidecar", &sidecars)
        .within(Budget::Ratio(1.0));
    Ok(())
}

/// Starts a listener that copies each client connection to and from the service.
async fn copier(bare: &Bare) -> Result<(SocketAddr, tokio::task::JoinHandle<()>), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, bare) = (listener.local_addr()?, bare.clone());
    let task = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let bare = bare.clone();
            tokio::spawn(async move {
                client.set_nodelay(true).ok();
                if let Ok(mut stream) = bare.connect().await {
                    copy_bidirectional_with_sizes(&mut client, &mut stream, BUFFER, BUFFER).await.ok();
                }
            });
        }
    });
    Ok((address, task))
}

/// Returns the CPU time per byte, in nanoseconds, that a client on another thread reads.
fn per_byte(
    runtime: &Runtime,
    address: SocketAddr,
    spent: impl Fn() -> Result<f64, Failure>,
) -> Result<[f64; 1], Failure> {
    runtime.block_on(async {
        let before = spent()?;
        let (done, is_done) = oneshot::channel();
        let client = thread::spawn(move || {
            let read = read(address);
            let _ = done.send(());
            read
        });
        is_done.await?;
        let read = client.join().map_err(|_| "the client ended")??;
        Ok([(spent()? - before) / read as f64])
    })
}

fn read(address: SocketAddr) -> Result<usize, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request().as_bytes())?;
    let (mut buffer, mut read) = (vec![0; 64 * 1024], 0);
    while read < BYTES {
        match stream.read(&mut buffer)? {
            0 => return Err("the stream ended early".into()),
            bytes => read += bytes,
        }
    }
    Ok(read)
}
