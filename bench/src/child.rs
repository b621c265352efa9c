//! Processes of this program's that measure themselves.

use std::{env, process::Command};

use serde_json::Value;

use crate::Failure;

/// Runs this program with `--child what`, and reads the JSON that it writes.
pub(crate) fn ask(command: &str, what: &str) -> Result<Value, Failure> {
    let output = Command::new(env::current_exe()?).args([command, "--child", what]).output()?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("measuring {what} in a process of its own: {}: {errors}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
