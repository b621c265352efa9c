//! What is on this machine.

use std::process::Command;

/// Whether a program is. `go` takes the argument for a command of its own, and says so: whether it can be run is enough.
pub fn has_program(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok()
}

/// Whether a library is, with its headers, by the name that pkg-config knows it by.
pub fn has_package(name: &str) -> bool {
    let found = Command::new("pkg-config").args(["--exists", name]).output();
    found.is_ok_and(|output| output.status.success())
}
