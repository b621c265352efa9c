//! The programs and libraries of this machine.

use std::process::Command;

/// Returns whether a program exists. `go` reports an unknown command for this argument, so only starting it must
/// succeed.
pub fn has_program(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok()
}

/// Returns whether a library and its headers are installed, by its pkg-config name.
pub fn has_package(name: &str) -> bool {
    let found = Command::new("pkg-config").args(["--exists", name]).output();
    found.is_ok_and(|output| output.status.success())
}
