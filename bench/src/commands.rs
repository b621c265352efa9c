//! What can be measured: one module per command.

use crate::{Failure, report::Report};

/// One command: a module with `ABOUT` and `run`.
#[derive(Debug)]
pub(crate) struct Command {
    /// How it is called.
    pub(crate) name: &'static str,
    /// What it measures, on one line.
    pub(crate) about: &'static str,
    /// Measures, and tells the report.
    pub(crate) run: fn(&mut Report) -> Result<(), Failure>,
}

mod bridge;
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
    join,
    memory,
    ffi,
}

/// The command of this name, or every one under `all`.
pub(crate) fn named(name: &str) -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(move |command| name == "all" || name == command.name)
}

/// Every name there is.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.name).chain(["all"])
}

/// The names and what is behind them.
pub(crate) fn help() -> String {
    let lines = COMMANDS.iter().map(|command| format!("  {:<10} {}\n", command.name, command.about));
    format!("Names:\n{}  {:<10} all of them", lines.collect::<String>(), "all")
}

/// What a command runs in a process of its own, for figures that this process would spoil.
pub(crate) fn child(what: &str) -> Result<String, Failure> {
    match what.split_once('-') {
        Some(("dns", server)) => dns::child(server),
        Some(("ffi", files)) => ffi::child(files),
        _ => memory::child(what),
    }
}
