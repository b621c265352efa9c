//! Benchmarks that compare Sidestep with its peers: `cargo run --release -p mesh-bench -- NAME…`.
//!
//! The subjects of a comparison run alternately in many short rounds, so that other load on the machine affects all of
//! them. Medians and ratios are meaningful; absolute figures depend on the machine. A command is a file in `commands/`
//! and a line in `commands.rs`.

#![forbid(unsafe_code)]

mod bare;
mod child;
mod commands;
mod fixture;
mod peers;
mod picture;
mod process;
mod report;
mod rounds;
mod samples;
mod table;
mod unit;

use std::{
    error::Error,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, builder::PossibleValuesParser};

use crate::{commands::Command, report::Report};

/// The error of a measurement.
type Failure = Box<dyn Error + Send + Sync>;

/// Compares Sidestep with its peers. Exits with 1 if a budget is missed, and with 2 if a measurement failed.
#[derive(Debug, Parser)]
#[command(after_help = commands::help())]
struct Arguments {
    /// The benchmarks to run, in order.
    #[arg(required = true, value_parser = PossibleValuesParser::new(commands::names()), hide_possible_values = true)]
    names: Vec<String>,
    /// Writes JSON instead of a table to standard output.
    #[arg(long)]
    json: bool,
    /// Draws the comparison as an SVG image.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// The measurement of a child process, for its parent.
    #[arg(long, hide = true)]
    child: Option<String>,
}

fn main() -> ExitCode {
    let outcome = run(&Arguments::parse());
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "{error}");
        ExitCode::from(2)
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if let Some(what) = &arguments.child {
        writeln!(io::stdout(), "{}", commands::child(what)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    for command in arguments.names.iter().flat_map(|name| commands::named(name)) {
        measure(command, &mut report)?;
    }
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{:#}", report.to_json())?;
    } else {
        write!(out, "{}", table::draw(&report))?;
    }
    if let Some(file) = &arguments.picture {
        fs::write(file, picture::draw(&report))?;
    }
    Ok(if report.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(command: &'static Command, report: &mut Report) -> Result<(), Failure> {
    writeln!(io::stderr(), "{}: {} …", command.name, command.about)?;
    report.begin(command.name);
    (command.run)(report).map_err(|error| format!("{}: {error}", command.name).into())
}
