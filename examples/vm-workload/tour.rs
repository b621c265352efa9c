//! The tour: everything a VM workload does in a mesh, step by step, on the sandbox.

mod calls;
mod changes;
mod joining;
mod names;
mod stage;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use self::stage::Stage;
use crate::show::{BAD, BOLD, DIM, GOOD, duration};

/// What a step has to say in the summary, or why it failed.
type Outcome = Result<String, Box<dyn std::error::Error>>;

/// A step that hangs has failed.
const PATIENCE: Duration = Duration::from_secs(10);

const INTRODUCTION: &str = "\
Sidestep: a process on a VM, in an Istio mesh, without a sidecar, without iptables and without root.

This tour brings its own mesh along, inside this process: a control plane (istiod) and two Kubernetes clusters,
each on a network of its own behind an east-west gateway. We are a VM on a third network: of the clusters we can
reach nothing but their gateways.";

/// Runs all steps. The first that fails ends the tour.
pub(crate) async fn run() -> ExitCode {
    let started = Instant::now();
    anstream::println!("{INTRODUCTION}\n");
    let mut done = Vec::new();
    let outcome = steps(&mut done).await;
    anstream::println!("{BOLD}Summary{BOLD:#}\n");
    for (at, (step, said)) in done.iter().enumerate() {
        anstream::println!("  {GOOD}ok{GOOD:#}      {}  {step:<34} {said}", at + 1);
    }
    match outcome {
        Ok(()) => {
            anstream::println!("\nAll {} steps worked, in {}.", done.len(), duration(started.elapsed()));
            anstream::println!("{DIM}The same on a real mesh: vm-workload --vm-files DIR get URL{DIM:#}");
            ExitCode::SUCCESS
        }
        Err((step, error)) => {
            anstream::println!("  {BAD}failed{BAD:#}  {}  {step:<34} {error}", done.len() + 1);
            ExitCode::FAILURE
        }
    }
}

type Failed = (&'static str, Box<dyn std::error::Error>);

async fn steps(done: &mut Vec<(&'static str, String)>) -> Result<(), Failed> {
    let title = "join the mesh";
    heading(1, title);
    let stage = match within(joining::join()).await {
        Ok((stage, said)) => {
            done.push((title, said));
            stage
        }
        Err(error) => return Err((title, error)),
    };
    /// Runs a step and notes what it said.
    macro_rules! step {
        ($title:literal, $step:expr) => {
            heading(done.len() + 1, $title);
            match within($step).await {
                Ok(said) => done.push(($title, said)),
                Err(error) => return Err(($title, error)),
            }
        };
    }
    step!("resolve names", names::resolve(&stage));
    step!("call a service in both clusters", calls::forecast(&stage));
    step!("reach endpoints without mTLS", calls::mongodb(&stage));
    step!("reach endpoints with mTLS", calls::ledger(&stage));
    step!("see a new service", changes::new_service(&stage));
    step!("go on without istiod", changes::without_istiod(&stage));
    stage.leave().await;
    Ok(())
}

fn heading(number: usize, title: &str) {
    anstream::println!("{BOLD}{number}. {}{BOLD:#}\n", capitalised(title));
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Runs a step, for as long as it may take, and shows its error.
async fn within<T>(
    step: impl Future<Output = Result<T, Box<dyn std::error::Error>>>,
) -> Result<T, Box<dyn std::error::Error>> {
    let outcome = tokio::time::timeout(PATIENCE, step).await;
    let outcome = outcome.unwrap_or_else(|_| Err(format!("not done after {}", duration(PATIENCE)).into()));
    if let Err(error) = &outcome {
        crate::show::error(&**error);
    }
    anstream::println!();
    outcome
}

/// A line of explanation.
fn say(text: impl std::fmt::Display) {
    for line in text.to_string().lines() {
        anstream::println!("   {DIM}{line}{DIM:#}");
    }
}

/// Something that was seen.
fn saw(what: impl std::fmt::Display) {
    anstream::println!("   {GOOD}*{GOOD:#} {what}");
}

/// Ends a step that did not see what it should have.
fn check(holds: bool, otherwise: impl Into<String>) -> Result<(), Box<dyn std::error::Error>> {
    if holds { Ok(()) } else { Err(otherwise.into().into()) }
}
