//! The C library in a C program, compared with the same without it: the connector in Rust, a minimal TLS client, glibc.

mod bare;
mod connect;
mod hold;
mod idle;
mod lookup;
mod program;
mod request;
mod transfer;

use self::program::Program;
use super::memory::many;
use crate::{
    Failure,
    peers::{self, Clients},
    report::Report,
};

pub(super) const ABOUT: &str = "the C library in a program in C: lookups, connections, streams, idle cost";

/// The number of names in the large mesh.
const NAMES: usize = 10_000;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let runtime = peers::one_thread()?;
    let Some(clients) = peers::clients(&runtime, report)? else { return Ok(()) };
    let Clients { stage, bare, .. } = &clients;
    let program = Program::start(stage)?;
    lookup::run(report, &program, "a mesh of four", "forecast.weather")?;
    idle::run(report, &program)?;
    connect::run(report, &program, &runtime, &clients)?;
    request::run(report, &program, &runtime, &clients)?;
    transfer::run(report, &program, bare)?;
    hold::run(report, &program, stage)?;
    drop((program, clients));
    let Some(stage) = peers::stage(&runtime, report, &many(NAMES)) else { return Ok(()) };
    lookup::run(report, &Program::start(&stage)?, "a mesh of 10 000", "s4711.weather")
}

/// Runs a measurement in a child process.
pub(super) fn child(files: &str) -> Result<String, Failure> {
    hold::child(files)
}
