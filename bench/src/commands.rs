//! The benchmark commands, one module each.

use crate::{Failure, report::Report};

/// A command: a module with `ABOUT` and `run`.
#[derive(Debug)]
pub(crate) struct Command {
    /// The name on the command line.
    pub(crate) name: &'static str,
    /// A description of one line.
    pub(crate) about: &'static str,
    /// Runs the measurements and adds the results to the report.
    pub(crate) run: fn(&mut Report) -> Result<(), Failure>,
}

mod bridge;
mod burst;
mod dns;
mod ffi;
mod handshake;
mod join;
mod lookup;
mod memory;
mod push;
mod request;
mod stream;

macro_rules! commands {
    ($($name:ident,)*) => {
        const COMMANDS: &[Command] = &[
            $(Command { name: stringify!($name), about: $name::ABOUT, run: $name::run },)*
        ];
    };
}

commands! {
    push,
    lookup,
    dns,
    handshake,
    request,
    stream,
    bridge,
    burst,
    join,
    memory,
    ffi,
}

/// Returns the command with this name, or all commands for `all`.
pub(crate) fn named(name: &str) -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(move |command| name == "all" || name == command.name)
}

/// Returns all names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.name).chain(["all"])
}

/// Returns the names with their descriptions.
pub(crate) fn help() -> String {
    let lines = COMMANDS.iter().map(|command| format!("  {:<10} {}\n", command.name, command.about));
    format!("Names:\n{}  {:<10} all commands", lines.collect::<String>(), "all")
}

/// Runs a measurement in a child process, whose results this process would distort.
pub(crate) fn child(what: &str) -> Result<String, Failure> {
    match what.split_once('-') {
        Some(("dns", server)) => dns::child(server),
        Some(("ffi", files)) => ffi::child(files),
        _ => memory::child(what),
    }
}
