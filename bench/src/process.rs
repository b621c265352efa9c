//! What this process takes of the machine, as the kernel counts it.

use std::fs;

use crate::Failure;

/// Bytes of memory that belong to this process alone and were written to.
pub(crate) fn private_dirty() -> Result<f64, Failure> {
    field("/proc/self/smaps_rollup", "Private_Dirty:")
}

/// Bytes of memory that are in use, shared ones as well.
pub(crate) fn resident() -> Result<f64, Failure> {
    field("/proc/self/status", "VmRSS:")
}

/// The most bytes that were ever in use since [`forget_peak`].
pub(crate) fn peak() -> Result<f64, Failure> {
    field("/proc/self/status", "VmHWM:")
}

/// Counts the peak anew (proc(5), `clear_refs`).
pub(crate) fn forget_peak() -> Result<(), Failure> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

fn field(file: &str, name: &str) -> Result<f64, Failure> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024.0).ok_or_else(|| format!("{file} has no {name}").into())
}
