//! The cost of an idle mesh.

use std::{fs, thread, time::Duration};

use super::Program;
use crate::{
    Failure,
    report::{Budget, Report},
    samples::Samples,
    unit::Unit,
};

const WHILE: Duration = Duration::from_secs(5);

pub(super) fn run(report: &mut Report, program: &Program) -> Result<(), Failure> {
    // Earlier operations have ended, and the system lookup is cached.
    thread::sleep(Duration::from_secs(1));
    let before = threads(program)?;
    thread::sleep(WHILE);
    let after = threads(program)?;
    let sum = |threads: &[Thread], of: fn(&Thread) -> f64| threads.iter().map(of).sum::<f64>();
    let [switches, time]: [fn(&Thread) -> f64; 2] = [|thread| thread.switches, |thread| thread.time];
    let spent = |of| Samples::once((sum(&after, of) - sum(&before, of)) / WHILE.as_secs_f64());
    #[allow(clippy::cast_precision_loss, reason = "some threads")]
    let count = Samples::once(after.len() as f64);
    report.row("idle: threads", Unit::Count, count).within(Budget::Ours(2.0));
    report.row("idle: wake-ups per second", Unit::Count, spent(switches)).within(Budget::Ours(5.0));
    report.row("idle: CPU a second", Unit::Nanoseconds, spent(time)).within(Budget::Ours(1e6));
    Ok(())
}

/// A thread of the mesh.
struct Thread {
    /// The number of context switches.
    switches: f64,
    /// The CPU time in nanoseconds.
    time: f64,
}

/// Returns all threads except those of the program.
fn threads(program: &Program) -> Result<Vec<Thread>, Failure> {
    let pid = program.pid();
    let entries = fs::read_dir(format!("/proc/{pid}/task"))?.flatten();
    let others = entries.filter(|entry| entry.file_name().to_str() != Some(&pid.to_string()));
    let looked_at = others.map(|entry| {
        let (status, schedstat) = (entry.path().join("status"), entry.path().join("schedstat"));
        let (status, schedstat) = (fs::read_to_string(status)?, fs::read_to_string(schedstat)?);
        let mut switches = status.lines().filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Ok(Thread {
            switches: switches.next().ok_or("no switches")?.trim().parse()?,
            time: schedstat.split(' ').next().ok_or("no time")?.parse()?,
        })
    });
    looked_at.collect()
}
