//! A small request over a warm connection, compared with the same in Rust.

use std::time::Instant;

use mesh_connector::MeshStream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::Runtime,
};

use super::Program;
use crate::{
    Failure,
    peers::Clients,
    process::process_time,
    report::{Budget, Report},
    rounds::tried,
    samples::Samples,
    unit::Unit,
};

const ROUNDS: usize = 11;
const REQUESTS: usize = 1000;
const REQUEST: &[u8] = b"GET /bytes/1024 HTTP/1.1\r\nHost: forecast\r\n\r\n";
const BODY: usize = 1024;
/// A descriptor takes two more thread switches than a `MeshStream`, which is polled on the thread that uses it.
const MOST: Budget = Budget::Ratio(1.6);

pub(super) fn run(
    report: &mut Report,
    program: &Program,
    runtime: &Runtime,
    clients: &Clients,
) -> Result<(), Failure> {
    let mut stream = runtime.block_on(clients.mesh.connect_to(&clients.target))?;
    for (how, what) in [("unix", "a descriptor"), ("stream", "a stream")] {
        let [[ours, our_cpu], [theirs, their_cpu]] = tried(
            ROUNDS,
            [
                Box::new(|| program.ask(&format!("request {how} {REQUESTS}"))),
                Box::new(|| round(runtime, &mut stream)),
            ],
        )?;
        let what = |figure: &str| format!("a GET of 1 KiB over {what}: {figure}");
        report.row(&what("p50"), Unit::Nanoseconds, ours).beside("MeshStream", &theirs);
        let row = report.row(&what("CPU"), Unit::Nanoseconds, our_cpu);
        row.beside("MeshStream", &their_cpu).within(MOST);
    }
    Ok(())
}

/// Returns the median time and the CPU time per request.
fn round(runtime: &Runtime, stream: &mut MeshStream) -> Result<[f64; 2], Failure> {
    let before = process_time();
    let times: Result<Samples, Failure> = runtime.block_on(async {
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            let start = Instant::now();
            stream.write_all(REQUEST).await?;
            answer(stream).await?;
            times.push(start.elapsed().as_secs_f64() * 1e9);
        }
        Ok(times.into_iter().collect())
    });
    let cpu = (process_time() - before) / REQUESTS as f64;
    Ok([times?.median(), cpu])
}

/// Reads one answer, as the C program does.
async fn answer(stream: &mut MeshStream) -> Result<(), Failure> {
    let (mut buffer, mut length) = ([0; 4096], 0);
    loop {
        match stream.read(&mut buffer[length..]).await? {
            0 => return Err("the connection ended".into()),
            bytes => length += bytes,
        }
        let head = buffer[..length].windows(4).position(|window| window == b"\r\n\r\n");
        if head.is_some_and(|head| length - (head + 4) >= BODY) {
            return Ok(());
        }
    }
}
