//! `sidestep_connect`, compared with the connector in Rust, to the same service.

use std::{
    thread,
    time::{Duration, Instant},
};

use mesh_connector::{Mesh, Target};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::{Builder, Runtime},
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
const MOST: Budget = Budget::Ratio(1.05);

/// A request with a small answer that closes the connection.
const REQUEST: &[u8] = b"GET /bytes/1 HTTP/1.1\r\nHost: forecast\r\nConnection: close\r\n\r\n";

pub(super) fn run(
    report: &mut Report,
    program: &Program,
    runtime: &Runtime,
    clients: &Clients,
) -> Result<(), Failure> {
    // Measured once on the only thread of the program, and once with a thread for the mesh, as in the library.
    let threads = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mesh = threads.block_on(clients.stage.join())?;
    let ours = |how: &'static str| move || program.ask(&format!("establish {how} {CONNECTIONS}"));
    let [unix, tcp, stream, rust, threaded] = tried(
        ROUNDS,
        [
            Box::new(ours("unix")),
            Box::new(ours("tcp")),
            Box::new(ours("stream")),
            Box::new(|| round(|| runtime.block_on(one(&clients.mesh, &clients.target)))),
            Box::new(|| {
                round(|| {
                    let (mesh, target) = (mesh.clone(), clients.target.clone());
                    threads.block_on(threads.spawn(async move { one(&mesh, &target).await }))?
                })
            }),
        ],
    )?;
    // Each request over a descriptor takes two more thread switches, and a TCP pair adds two sockets. These inherent
    // costs of descriptors have no budget here.
    for (what, ours) in [
        ("sidestep_connect", unix),
        ("sidestep_connect, a TCP pair", tcp),
        ("sidestep_stream_connect", stream),
    ] {
        let budget = (!what.ends_with("TCP pair")).then_some(MOST);
        let [connected, answered, connecting, all] = ours;
        let rows = [
            ("call to connection", &connected, ALONE, &rust[0], budget),
            ("call to first byte", &answered, ALONE, &rust[1], budget),
            ("CPU of a connection", &connecting, THREADED, &threaded[2], budget),
            ("CPU of a connection", &connecting, ALONE, &rust[2], None),
            ("CPU of a connection, its request and its end", &all, THREADED, &threaded[3], None),
            ("CPU of a connection, its request and its end", &all, ALONE, &rust[3], None),
        ];
        for (of, ours, peer, theirs, budget) in rows {
            let row = report.row(&format!("{what}: {of}"), Unit::Nanoseconds, ours.clone());
            row.beside(peer, theirs);
            if let Some(budget) = budget {
                row.within(budget);
            }
        }
    }
    Ok(())
}

const ALONE: &str = "Mesh::connect_to, one thread";
const THREADED: &str = "Mesh::connect_to, a thread for the mesh";

/// The times of one connection.
struct One {
    connected: f64,
    answered: f64,
    connecting: f64,
}

/// Returns the medians of both times, and the CPU times without and with the request and the close.
fn round(one: impl Fn() -> Result<One, Failure>) -> Result<[f64; 4], Failure> {
    let (before, mut all) = (process_time(), Vec::new());
    for _ in 0..CONNECTIONS {
        // Wait until the previous connection has been closed completely.
        thread::sleep(Duration::from_millis(1));
        all.push(one()?);
    }
    let cpu = (process_time() - before) / CONNECTIONS as f64;
    let median = |of: fn(&One) -> f64| all.iter().map(of).collect::<Samples>().median();
    let connecting = all.iter().map(|one| one.connecting).sum::<f64>() / CONNECTIONS as f64;
    Ok([median(|one| one.connected), median(|one| one.answered), connecting, cpu])
}

/// Does the same as the C program: reads to the end and closes the connection properly.
async fn one(mesh: &Mesh, target: &Target) -> Result<One, Failure> {
    let (before, start) = (process_time(), Instant::now());
    let nanoseconds = || start.elapsed().as_secs_f64() * 1e9;
    let mut stream = mesh.connect_to(target).await?;
    let (connected, connecting) = (nanoseconds(), process_time() - before);
    stream.write_all(REQUEST).await?;
    stream.read_u8().await?;
    let answered = nanoseconds();
    stream.read_to_end(&mut Vec::new()).await.ok();
    stream.shutdown().await.ok();
    Ok(One { connected, answered, connecting })
}
