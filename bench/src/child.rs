//! Child processes of this program that measure themselves.

use std::{env, process::Command};

use serde_json::Value;

use crate::Failure;

/// Runs this program with `--child what` and parses its JSON output.
pub(crate) fn ask(command: &str, what: &str) -> Result<Value, Failure> {
    let output = Command::new(env::current_exe()?).args([command, "--child", what]).output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(
            format!("failed to measure {what} in a child process: {}: {errors}", output.status).into()
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
