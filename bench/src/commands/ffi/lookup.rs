//! `sidestep_getaddrinfo` for a mesh name, compared with glibc for a name in /etc/hosts.

use std::fs;

use super::Program;
use crate::{
    Failure,
    report::{Budget, Report},
    rounds::tried,
    unit::Unit,
};

const ROUNDS: usize = 31;
const MOST: Budget = Budget::Ours(1000.0);
/// The value of SOCK_STREAM.
const STREAM: u8 = 1;

pub(super) fn run(report: &mut Report, program: &Program, mesh: &str, short: &str) -> Result<(), Failure> {
    let host = of_hosts()?;
    let full = format!("{short}.svc.cluster.local");
    let forms = [
        ("a full name, port, stream", &*full, "80", STREAM),
        ("a short name, port, stream", short, "80", STREAM),
        ("a full name, no hints", &*full, "-", 0),
        ("a short name, no hints", short, "-", 0),
    ];
    for (what, name, service, hints) in forms {
        let [[ours], [theirs]] = tried(
            ROUNDS,
            [
                Box::new(|| program.ask(&format!("lookup mesh {name} {service} {hints} 20000"))),
                Box::new(|| program.ask(&format!("lookup system {host} {service} {hints} 200"))),
            ],
        )?;
        report
            .row(&format!("getaddrinfo in {mesh}: {what}"), Unit::Nanoseconds, ours)
            .beside(&format!("glibc, {host} of /etc/hosts"), &theirs)
            .within(MOST);
    }
    Ok(())
}

/// Returns a name in /etc/hosts.
fn of_hosts() -> Result<String, Failure> {
    let hosts = fs::read_to_string("/etc/hosts")?;
    let lines = hosts.lines().filter_map(|line| line.split('#').next());
    let mut names = lines.filter_map(|line| line.split_whitespace().nth(1));
    names.next().map(str::to_owned).ok_or_else(|| "/etc/hosts contains no name".into())
}
