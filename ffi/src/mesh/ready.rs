//! Waiting for a mesh to be ready.

use std::time::Duration;

use mesh_connector::{Error, ErrorKind, Mesh};
use tokio::time::{Instant, timeout_at};

use crate::{
    failure::Failure,
    status::{SIDESTEP_CONTROL_PLANE, SIDESTEP_TIMEOUT},
};

/// For `patience`; `None` is what the configuration says.
pub(crate) async fn ready(mesh: &Mesh, patience: Option<Duration>) -> Result<(), Failure> {
    let Some(patience) = patience else {
        return Ok(mesh.ready().await?);
    };
    let deadline = Instant::now() + patience;
    let mut last = None;
    while let Ok(outcome) = timeout_at(deadline, mesh.ready()).await {
        match outcome {
            // It gives up when the configured time is over, which is not the caller's.
            Err(error) if may_pass(&error) && Instant::now() < deadline => last = Some(error),
            outcome => return Ok(outcome?),
        }
    }
    let message = format!("not in the mesh within {patience:?}{}", why(mesh, last));
    Err(Failure::new(SIDESTEP_TIMEOUT, message).with_next_step_of(SIDESTEP_CONTROL_PLANE))
}

fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ControlPlane | ErrorKind::Timeout)
}

fn why(mesh: &Mesh, last: Option<Error>) -> String {
    let health = mesh.health().membership().get();
    let failures: Vec<_> = health.failures().map(|failure| failure.error.report()).collect();
    match (failures.is_empty(), last) {
        (false, _) => format!(": {}", failures.join("; ")),
        (true, Some(error)) => format!(": {}", error.report()),
        (true, None) => ": istiod has not answered yet".to_owned(),
    }
}
