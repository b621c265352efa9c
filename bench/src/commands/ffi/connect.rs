//! `sidestep_connect` beside the connector in Rust, to the same service.

use std::{
    thread,
    time::{Duration, Instant},
};

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
    // Each request over a descriptor takes two more turns of threads, and a TCP pair is two sockets more: what belongs to
    // descriptors as such has no budget here.
    let of = [
        ("call to connection", Some(MOST)),
        ("call to first byte", Some(MOST)),
        ("CPU of a connection", Some(MOST)),
        ("CPU of a connection, its request and its end", None),
    ];
    for (what, ours) in
        [("sidestep_connect", unix), ("sidestep_connect, a TCP pair", tcp), ("sidestep_stream_connect", stream)]
    {
        for (((of, budget), ours), theirs) in of.into_iter().zip(ours).zip(&rust) {
            let row = report.row(&format!("{what}: {of}"), Unit::Nanoseconds, ours);
            row.beside("Mesh::connect_to", theirs);
            if let Some(budget) = budget.filter(|_| !what.ends_with("TCP pair")) {
                row.within(budget);
            }
        }
    }
    Ok(())
}

/// What one connection took.
struct One {
    connected: f64,
    answered: f64,
    connecting: f64,
}

/// Medians of both times, and the times on the CPU, without the request and its end and with them.
fn round(runtime: &Runtime, clients: &Clients) -> Result<[f64; 4], Failure> {
    let before = process_time();
    let all: Result<Vec<One>, Failure> = runtime.block_on(async {
        let mut all = Vec::new();
        for _ in 0..CONNECTIONS {
            // What is left of the one before ends meanwhile.
            thread::sleep(Duration::from_millis(1));
            all.push(one(clients).await?);
        }
        Ok(all)
    });
    let cpu = (process_time() - before) / CONNECTIONS as f64;
    let all = all?;
    let median = |of: fn(&One) -> f64| all.iter().map(of).collect::<Samples>().median();
    let connecting = all.iter().map(|one| one.connecting).sum::<f64>() / CONNECTIONS as f64;
    Ok([median(|one| one.connected), median(|one| one.answered), connecting, cpu])
}

/// As the program in C: to the end, and with a word to the peer that it is the end.
async fn one(clients: &Clients) -> Result<One, Failure> {
    let (before, start) = (process_time(), Instant::now());
    let nanoseconds = || start.elapsed().as_secs_f64() * 1e9;
    let mut stream = clients.mesh.connect_to(&clients.target).await?;
    let (connected, connecting) = (nanoseconds(), process_time() - before);
    stream.write_all(REQUEST).await?;
    stream.read_u8().await?;
    let answered = nanoseconds();
    stream.read_to_end(&mut Vec::new()).await.ok();
    stream.shutdown().await.ok();
    Ok(One { connected, answered, connecting })
}
