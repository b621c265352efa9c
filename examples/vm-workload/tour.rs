//! The tour: the main functions of a VM workload in a mesh, step by step, on the sandbox.

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

/// The result of a step with its summary, or the error.
type Outcome<T = ()> = Result<(T, String), Box<dyn Error>>;

/// The timeout of a step.
const PATIENCE: Duration = Duration::from_secs(10);

const INTRODUCTION: &str = "\
Sidestep: a process on a VM that uses an Istio mesh without a sidecar, iptables or root.

This tour runs a whole mesh inside this process: a control plane (istiod) and two Kubernetes clusters, each in
a separate network behind an east-west gateway. This process acts as a VM in a third network, from which only the
gateways of the clusters are reachable.";

/// Runs all steps. The first failure ends the tour.
pub(crate) async fn run() -> ExitCode {
    let started = Instant::now();
    anstream::println!("{INTRODUCTION}\n");
    let mut progress = Progress::default();
    let outcome = steps(&mut progress).await;
    progress.summary();
    match outcome {
        Ok(()) => {
            let steps = progress.done.len();
            anstream::println!("\nAll {steps} steps succeeded in {}.", duration(started.elapsed()));
            anstream::println!("{DIM}To try it on a real mesh: vm-workload --vm-files DIR get URL{DIM:#}");
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
    progress.step("use a new service", changes::new_service(&stage)).await?;
    progress.step("continue without istiod", changes::without_istiod(&stage)).await?;
    stage.leave().await;
    Ok(())
}

/// The completed steps with their summaries.
#[derive(Default)]
struct Progress {
    done: Vec<(&'static str, String)>,
}

/// The failed step.
struct Failed {
    step: &'static str,
    error: Box<dyn Error>,
}

impl Progress {
    /// Runs a step with a timeout.
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
            outcome.unwrap_or_else(|_| Err(format!("timed out after {}", duration(PATIENCE)).into()));
        let outcome = outcome.map_err(|error| {
            show::error(&*error);
            Failed { step: title, error }
        });
        anstream::println!();
        let (value, summary) = outcome?;
        self.done.push((title, summary));
        Ok(value)
    }

    fn summary(&self) {
        anstream::println!("{BOLD}Summary{BOLD:#}\n");
        for (at, (step, summary)) in self.done.iter().enumerate() {
            anstream::println!("  {GOOD}ok{GOOD:#}      {}  {step:<34} {summary}", at + 1);
        }
    }
}

/// Prints an explanation.
fn explain(text: impl std::fmt::Display) {
    for line in text.to_string().lines() {
        anstream::println!("   {DIM}{line}{DIM:#}");
    }
}

/// Prints an observation.
fn observe(what: impl std::fmt::Display) {
    anstream::println!("   {GOOD}*{GOOD:#} {what}");
}

/// Returns an error if an expectation is not met.
fn check(holds: bool, otherwise: impl Into<String>) -> Result<(), Box<dyn Error>> {
    if holds { Ok(()) } else { Err(otherwise.into().into()) }
}
