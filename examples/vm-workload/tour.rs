//! The tour: everything a VM workload does in a mesh, step by step, on the sandbox.

mod calls;
mod changes;
mod joining;
mod names;
mod stage;

use std::{
    error::Error,
    process::ExitCode,
    time::{Duration, Instant},
};

use self::stage::Stage;
use crate::show::{self, BAD, BOLD, DIM, GOOD, duration};

/// What a step hands on and what it has to say in the summary, or why it failed.
type Outcome<T = ()> = Result<(T, String), Box<dyn Error>>;

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
    let mut progress = Progress::default();
    let outcome = steps(&mut progress).await;
    progress.summary();
    match outcome {
        Ok(()) => {
            let steps = progress.done.len();
            anstream::println!("\nAll {steps} steps worked, in {}.", duration(started.elapsed()));
            anstream::println!("{DIM}The same on a real mesh: vm-workload --vm-files DIR get URL{DIM:#}");
            ExitCode::SUCCESS
        }
        Err(Failed { step, error }) => {
            let number = progress.done.len() + 1;
            anstream::println!("  {BAD}failed{BAD:#}  {number}  {step:<34} {error}");
            ExitCode::FAILURE
        }
    }
}

async fn steps(progress: &mut Progress) -> Result<(), Failed> {
    let stage = progress.step("join the mesh", joining::join()).await?;
    progress.step("resolve names", names::resolve(&stage)).await?;
    progress.step("call a service in both clusters", calls::forecast(&stage)).await?;
    progress.step("reach endpoints without mTLS", calls::mongodb(&stage)).await?;
    progress.step("reach endpoints with mTLS", calls::ledger(&stage)).await?;
    progress.step("see a new service", changes::new_service(&stage)).await?;
    progress.step("go on without istiod", changes::without_istiod(&stage)).await?;
    stage.leave().await;
    Ok(())
}

/// The steps that worked, and what they said.
#[derive(Default)]
struct Progress {
    done: Vec<(&'static str, String)>,
}

/// The step that did not work.
struct Failed {
    step: &'static str,
    error: Box<dyn Error>,
}

impl Progress {
    /// Runs a step, for as long as it may take.
    async fn step<T>(
        &mut self,
        title: &'static str,
        step: impl Future<Output = Outcome<T>>,
    ) -> Result<T, Failed> {
        let number = self.done.len() + 1;
        let heading: String = title[..1].to_uppercase() + &title[1..];
        anstream::println!("{BOLD}{number}. {heading}{BOLD:#}\n");
        let outcome = tokio::time::timeout(PATIENCE, step).await;
        let outcome =
            outcome.unwrap_or_else(|_| Err(format!("not done after {}", duration(PATIENCE)).into()));
        let outcome = outcome.map_err(|error| {
            show::error(&*error);
            Failed { step: title, error }
        });
        anstream::println!();
        let (value, said) = outcome?;
        self.done.push((title, said));
        Ok(value)
    }

    fn summary(&self) {
        anstream::println!("{BOLD}Summary{BOLD:#}\n");
        for (at, (step, said)) in self.done.iter().enumerate() {
            anstream::println!("  {GOOD}ok{GOOD:#}      {}  {step:<34} {said}", at + 1);
        }
    }
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
fn check(holds: bool, otherwise: impl Into<String>) -> Result<(), Box<dyn Error>> {
    if holds { Ok(()) } else { Err(otherwise.into().into()) }
}
