//! `sidestep_connect` beside the connector in Rust, to the same service.

use std::time::Instant;

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

const ROUNDS: usize = 25;
const CONNECTIONS: usize = 40;
const MOST: Budget = Budget::Ratio(1.1);

/// A request whose answer is small, and ends the connection.
const REQUEST: &[u8] = b"GET /bytes/1 HTTP/1.1\r\nHost: forecast\r\nConnection: close\r\n\r\n";

pub(super) fn run(
    report: &mut Report,
    program: &Program,
    runtime: &Runtime,
    clients: &Clients,
) -> Result<(), Failure> {
    let ours = |how: &'static str| move || program.ask(&format!("establish {how} {CONNECTIONS}"));
    let [unix, tcp, stream, rust] = tried(
        ROUNDS,
        [
            Box::new(ours("unix")),
            Box::new(ours("tcp")),
            Box::new(ours("stream")),
            Box::new(|| round(runtime, clients)),
        ],
    )?;
    let [connected, answered, cpu] = &rust;
    for (what, [our_connected, our_answered, our_cpu]) in
        [("sidestep_connect", unix), ("the same, a TCP pair", tcp), ("sidestep_stream_connect", stream)]
    {
        let rows = [
            ("call to connection", our_connected, connected),
            ("call to first byte", our_answered, answered),
            ("CPU of a connection and a request", our_cpu, cpu),
        ];
        for (of, ours, theirs) in rows {
            let row = report.row(&format!("{what}: {of}"), Unit::Nanoseconds, ours);
            row.beside("Mesh::connect_to", theirs).within(MOST);
        }
    }
    Ok(())
}

/// Medians of both times, and the time on the CPU of each connection.
fn round(runtime: &Runtime, clients: &Clients) -> Result<[f64; 3], Failure> {
    let before = process_time();
    let times: Result<Vec<(f64, f64)>, Failure> = runtime.block_on(async {
        let mut times = Vec::new();
        for _ in 0..CONNECTIONS {
            let start = Instant::now();
            let nanoseconds = || start.elapsed().as_secs_f64() * 1e9;
            let mut stream = clients.mesh.connect_to(&clients.target).await?;
            let connected = nanoseconds();
            stream.write_all(REQUEST).await?;
            stream.read_u8().await?;
            times.push((connected, nanoseconds()));
            stream.read_to_end(&mut Vec::new()).await.ok();
        }
        Ok(times)
    });
    let cpu = (process_time() - before) / CONNECTIONS as f64;
    let times = times?;
    let median = |of: fn(&(f64, f64)) -> f64| times.iter().map(of).collect::<Samples>().median();
    Ok([median(|times| times.0), median(|times| times.1), cpu])
}
