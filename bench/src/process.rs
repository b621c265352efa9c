//! The CPU time and memory of processes, as counted by the kernel.

use std::fs;

use mesh_tests::peers::Child;
use rustix::time::{ClockId, clock_gettime};

use crate::Failure;

/// Returns the private dirty memory of this process in bytes.
pub(crate) fn private_dirty() -> Result<f64, Failure> {
    field("/proc/self/smaps_rollup", "Private_Dirty:")
}

/// Returns the private dirty memory of another process in bytes.
pub(crate) fn private_dirty_of(pid: u32) -> Result<f64, Failure> {
    field(&format!("/proc/{pid}/smaps_rollup"), "Private_Dirty:")
}

/// Returns the resident memory in bytes, including shared memory.
pub(crate) fn resident() -> Result<f64, Failure> {
    field("/proc/self/status", "VmRSS:")
}

/// Returns the peak of the resident memory in bytes since [`forget_peak`].
pub(crate) fn peak() -> Result<f64, Failure> {
    field("/proc/self/status", "VmHWM:")
}

/// Resets the peak (proc(5), `clear_refs`).
pub(crate) fn forget_peak() -> Result<(), Failure> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

fn field(file: &str, name: &str) -> Result<f64, Failure> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024.0).ok_or_else(|| format!("{file} has no {name}").into())
}

/// Returns the CPU time of this thread in nanoseconds.
pub(crate) fn thread_time() -> f64 {
    time_of(ClockId::ThreadCPUTime)
}

/// Returns the CPU time of all threads of this process in nanoseconds.
pub(crate) fn process_time() -> f64 {
    time_of(ClockId::ProcessCPUTime)
}

fn time_of(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    #[allow(clippy::cast_precision_loss, reason = "some seconds")]
    let nanoseconds = time.tv_sec as f64 * 1e9 + time.tv_nsec as f64;
    nanoseconds
}

/// Returns the CPU time of all threads of a peer and its child processes in nanoseconds.
pub(crate) fn tree_time(peer: &Child) -> Result<f64, Failure> {
    let mut sum = 0.0;
    for pid in tree(peer)? {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread may have ended in the meantime.
            let schedstat = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            sum += schedstat.split(' ').next().and_then(|run| run.parse::<f64>().ok()).unwrap_or_default();
        }
    }
    Ok(sum)
}

/// Returns the private dirty and the resident memory of a peer and its child processes in bytes.
pub(crate) fn tree_memory(peer: &Child) -> Result<(f64, f64), Failure> {
    let mut sum = (0.0, 0.0);
    for pid in tree(peer)? {
        sum.0 += private_dirty_of(pid)?;
        sum.1 += field(&format!("/proc/{pid}/status"), "VmRSS:")?;
    }
    Ok(sum)
}

/// Returns the process of a peer and all its descendants.
fn tree(peer: &Child) -> Result<Vec<u32>, Failure> {
    let mut found = vec![peer.pid().ok_or("the peer has ended")?];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        next += 1;
    }
    Ok(found)
}
