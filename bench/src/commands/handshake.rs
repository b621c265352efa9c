//! A new connection with mesh mTLS through the gateway, beside the same handshake without a mesh around it.

use std::time::Instant;

use mesh_connector::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    Failure,
    bare::Bare,
    peers::{self, HOST, PORT},
    process::thread_time,
    report::{Budget, Report},
    rounds::interleaved,
    samples::Samples,
    unit::Unit,
};

pub(super) const ABOUT: &str = "a new mTLS connection through the gateway, from the call to the first byte";

const ROUNDS: usize = 25;
const CONNECTIONS: usize = 40;

/// A request whose answer is small, and ends the connection.
const REQUEST: &[u8] = b"GET /bytes/1 HTTP/1.1\r\nHost: forecast\r\nConnection: close\r\n\r\n";

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let runtime = peers::one_thread()?;
    let Some(stage) = peers::stage(&runtime, report, "") else { return Ok(()) };
    let mesh = runtime.block_on(stage.join())?;
    let bare = runtime.block_on(Bare::like(&mesh, Protocol::Http1))?;
    let target = mesh_connector::Target::new(HOST, PORT)?.with_protocol(Protocol::Http1);
    // One kind of figure from the return value of a round, the other kept aside.
    let (mut our_time, mut their_time) = (Vec::new(), Vec::new());
    let [ours, theirs] = interleaved(
        ROUNDS,
        [
            Box::new(|| {
                let connect = async || Ok::<_, Failure>(mesh.connect_to(&target).await?);
                round(&runtime, connect, &mut our_time)
            }),
            Box::new(|| round(&runtime, async || bare.connect().await, &mut their_time)),
        ],
    );
    let counted = |times: Vec<f64>| -> Samples { times.into_iter().skip(1).collect() };
    if ours.median().is_nan() || theirs.median().is_nan() {
        return Err("a connection failed".into());
    }
    report
        .row("call to first byte, median", Unit::Nanoseconds, ours)
        .beside("bare tokio-rustls", &theirs)
        .within(Budget::Ratio(1.1));
    report
        .row("the same, CPU of the client", Unit::Nanoseconds, counted(our_time))
        .beside("bare tokio-rustls", &counted(their_time))
        .within(Budget::Ratio(1.1));
    Ok(())
}

/// The median time of a connection; the time on the CPU of each goes to `cpu`.
fn round<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    runtime: &tokio::runtime::Runtime,
    connect: impl AsyncFn() -> Result<S, Failure>,
    cpu: &mut Vec<f64>,
) -> f64 {
    let before = thread_time();
    let times: Result<Samples, Failure> = runtime.block_on(async {
        let mut times = Vec::new();
        for _ in 0..CONNECTIONS {
            let start = Instant::now();
            let mut stream = connect().await?;
            stream.write_all(REQUEST).await?;
            stream.read_u8().await?;
            times.push(start.elapsed().as_secs_f64() * 1e9);
            // The rest is read, so that session tickets are taken in by both alike.
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
        Ok(times.into_iter().collect())
    });
    cpu.push((thread_time() - before) / CONNECTIONS as f64);
    times.map_or(f64::NAN, |times| times.median())
}
