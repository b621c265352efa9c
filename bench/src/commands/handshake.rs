//! A new mesh mTLS connection through the gateway, compared with the same handshake of a minimal client.

use std::time::Instant;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    runtime::Runtime,
};

use crate::{
    Failure,
    peers::{self, Clients},
    process::thread_time,
    report::{Budget, Report},
    rounds::tried,
    samples::Samples,
    unit::Unit,
};

pub(super) const ABOUT: &str = "a new mTLS connection through the gateway, from the call to the first byte";

const ROUNDS: usize = 25;
const CONNECTIONS: usize = 40;

/// A request with a small answer that closes the connection.
const REQUEST: &[u8] = b"GET /bytes/1 HTTP/1.1\r\nHost: forecast\r\nConnection: close\r\n\r\n";

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let runtime = peers::one_thread()?;
    let Some(Clients { mesh, target, bare, stage: _stage }) = peers::clients(&runtime, report)? else {
        return Ok(());
    };
    let [[ours, our_cpu], [theirs, their_cpu]] = tried(
        ROUNDS,
        [
            Box::new(|| round(&runtime, async || Ok(mesh.connect_to(&target).await?))),
            Box::new(|| round(&runtime, async || bare.connect().await)),
        ],
    )?;
    report
        .row("call to first byte, median", Unit::Nanoseconds, ours)
        .beside("bare tokio-rustls", &theirs)
        .within(Budget::Ratio(1.1));
    report
        .row("the same, CPU of the client", Unit::Nanoseconds, our_cpu)
        .beside("bare tokio-rustls", &their_cpu)
        .within(Budget::Ratio(1.1));
    Ok(())
}

/// Returns the median time of a connection, and the CPU time of each.
fn round<S: AsyncRead + AsyncWrite + Unpin>(
    runtime: &Runtime,
    connect: impl AsyncFn() -> Result<S, Failure>,
) -> Result<[f64; 2], Failure> {
    let before = thread_time();
    let times: Result<Samples, Failure> = runtime.block_on(async {
        let mut times = Vec::new();
        for _ in 0..CONNECTIONS {
            let start = Instant::now();
            let mut stream = connect().await?;
            stream.write_all(REQUEST).await?;
            stream.read_u8().await?;
            times.push(start.elapsed().as_secs_f64() * 1e9);
            // Reads to the end, so that both clients process session tickets.
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
        Ok(times.into_iter().collect())
    });
    let cpu = (thread_time() - before) / CONNECTIONS as f64;
    Ok([times?.median(), cpu])
}
