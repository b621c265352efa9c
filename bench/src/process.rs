//! What this process takes of the machine, as the kernel counts it.

use std::fs;

use mesh_tests::peers::Child;
use rustix::time::{ClockId, clock_gettime};

use crate::Failure;

/// Bytes of memory that belong to this process alone and were written to.
pub(crate) fn private_dirty() -> Result<f64, Failure> {
    field("/proc/self/smaps_rollup", "Private_Dirty:")
}

/// The same of another process.
pub(crate) fn private_dirty_of(pid: u32) -> Result<f64, Failure> {
    field(&format!("/proc/{pid}/smaps_rollup"), "Private_Dirty:")
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

/// Nanoseconds that this thread has run.
pub(crate) fn thread_time() -> f64 {
    time_of(ClockId::ThreadCPUTime)
}

/// Nanoseconds that all threads of this process have run.
pub(crate) fn process_time() -> f64 {
    time_of(ClockId::ProcessCPUTime)
}

fn time_of(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    #[allow(clippy::cast_precision_loss, reason = "some seconds")]
    let nanoseconds = time.tv_sec as f64 * 1e9 + time.tv_nsec as f64;
    nanoseconds
}

/// Nanoseconds that all threads of a peer have run, and those of the processes that it has started.
pub(crate) fn tree_time(peer: &Child) -> Result<f64, Failure> {
    let mut sum = 0.0;
    for pid in tree(peer)? {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread may have ended since.
            let schedstat = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            sum += schedstat.split(' ').next().and_then(|run| run.parse::<f64>().ok()).unwrap_or_default();
        }
    }
    Ok(sum)
}

/// Bytes of memory that belong to a peer and the processes that it has started alone, and those that are in use.
pub(crate) fn tree_memory(peer: &Child) -> Result<(f64, f64), Failure> {
    let mut sum = (0.0, 0.0);
    for pid in tree(peer)? {
        sum.0 += private_dirty_of(pid)?;
        sum.1 += field(&format!("/proc/{pid}/status"), "VmRSS:")?;
    }
    Ok(sum)
}

/// A peer's process and those that it has started, directly or not.
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
