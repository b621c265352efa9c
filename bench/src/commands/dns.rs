//! DNS servers on loopback that answer the names of a mesh.
//!
//! The cost of a query is the CPU time of the server process, as counted by the kernel (`schedstat`), divided by the
//! number of answered queries while the server is saturated. A loop that sends every packet back shows the minimum cost
//! of a server.

mod load;
mod names;
mod servers;

use std::{net::UdpSocket, time::Duration};

use crate::{
    Failure, fixture,
    report::{Budget, Report},
    rounds::{Subject, interleaved_all},
    samples::Samples,
    unit::Unit,
};

use self::{load::Load, names::Names, servers::Server};

pub(super) const ABOUT: &str =
    "the DNS listener: CPU per query when saturated, latency at half load, 10 000 names";

/// The number of names that every server answers.
const NAMES: u32 = 10_000;

const ROUNDS: usize = 7;
const RUN: Duration = Duration::from_secs(1);

/// Runs a server of this program in a child process, until its standard input is closed.
pub(super) fn child(what: &str) -> Result<String, Failure> {
    servers::serve(what)
}

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let names = Names::new(NAMES)?;
    let (ours, echo) = (Server::own("ours")?, Server::own("echo")?);
    let (mut peers, mut unbound) = (Vec::new(), None);
    for (name, started) in servers::peers(&names) {
        match started {
            Ok(server) if name == servers::UNBOUND => unbound = Some(server),
            Ok(server) => peers.push((name, server)),
            Err(why) => report.missing(name, &why),
        }
    }
    let load = Load::new(&names);
    if let Err(why) = &load {
        report.missing("dnsperf", why);
    }
    let load = load.unwrap_or_else(|_| Load::own(&names));
    saturated(report, &load, (&ours, &echo), unbound.as_ref(), &peers)?;
    if let Some(unbound) = &unbound {
        at_half_load(report, &load, &ours, unbound)?;
    }
    Ok(())
}

fn saturated(
    report: &mut Report,
    load: &Load,
    (ours, echo): (&Server, &Server),
    unbound: Option<&Server>,
    peers: &[(&'static str, Server)],
) -> Result<(), Failure> {
    let named = unbound.map(|server| (servers::UNBOUND, server));
    let peers: Vec<_> = named.into_iter().chain(peers.iter().map(|(name, server)| (*name, server))).collect();
    let all = [ours, echo].into_iter().chain(peers.iter().map(|(_, server)| *server));
    let subject =
        |server| -> Subject<'_> { Box::new(move || load.cpu_per_query(server, RUN).unwrap_or(f64::NAN)) };
    let mut figures = interleaved_all(ROUNDS, all.map(subject).collect()).into_iter();
    let (Some(ours), Some(echo)) = (figures.next(), figures.next()) else {
        return Err("no measurements".into());
    };
    answered(&ours)?;
    report
        .row("CPU per query", Unit::Nanoseconds, ours.clone())
        .beside("a bare UDP echo loop", &echo)
        .within(Budget::Ratio(1.2));
    for ((name, _), theirs) in peers.iter().zip(figures) {
        answered(&theirs)?;
        report.row("CPU per query", Unit::Nanoseconds, ours.clone()).beside(name, &theirs);
    }
    Ok(())
}

/// Measures both servers at half of the peer's maximum rate.
fn at_half_load(report: &mut Report, load: &Load, ours: &Server, unbound: &Server) -> Result<(), Failure> {
    let most: Samples = (0..3).map(|_| load.queries_per_second(unbound, RUN).unwrap_or(f64::NAN)).collect();
    answered(&most)?;
    let half = most.median() / 2.0;
    let p99 = |server| -> Subject<'_> { Box::new(move || load.p99(server, half, RUN).unwrap_or(f64::NAN)) };
    let mut figures = interleaved_all(ROUNDS, vec![p99(ours), p99(unbound)]).into_iter();
    let (Some(ours), Some(theirs)) = (figures.next(), figures.next()) else {
        return Err("no measurements".into());
    };
    answered(&ours)?;
    answered(&theirs)?;
    report
        .row(&format!("p99 at {:.0} queries/s", half), Unit::Nanoseconds, ours)
        .beside(servers::UNBOUND, &theirs)
        .within(Budget::Ratio(1.0));
    Ok(())
}

/// Returns an error if a measurement failed.
fn answered(figures: &Samples) -> Result<(), Failure> {
    match figures.median().is_finite() {
        true => Ok(()),
        false => Err("a measurement of a server failed".into()),
    }
}

/// Binds an unused socket.
fn socket() -> Result<UdpSocket, Failure> {
    Ok(UdpSocket::bind("127.0.0.1:0")?)
}

/// Returns the name table of Sidestep's server.
fn name_table() -> Vec<u8> {
    fixture::name_table(NAMES)
}
