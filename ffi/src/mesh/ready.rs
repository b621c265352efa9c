//! Waits until a mesh is ready.

use std::time::Duration;

use mesh_connector::{Error, ErrorKind, Mesh};
use tokio::time::{Instant, timeout_at};

use crate::{
    failure::Failure,
    status::{SIDESTEP_E_CONTROL_PLANE, SIDESTEP_E_TIMEOUT},
};

/// Waits until the mesh is ready, for at most `timeout`. `None` selects the timeout in the setting `join-timeout-ms`.
pub(crate) async fn ready(mesh: &Mesh, timeout: Option<Duration>) -> Result<(), Failure> {
    let Some(timeout) = timeout else {
        return Ok(mesh.ready().await?);
    };
    let deadline = Instant::now() + timeout;
    let mut last = None;
    while let Ok(outcome) = timeout_at(deadline, mesh.ready()).await {
        match outcome {
            // The timeout in the setting `join-timeout-ms` expired, but not `timeout`.
            Err(error) if is_retried(&error) && Instant::now() < deadline => last = Some(error),
            outcome => return Ok(outcome?),
        }
    }
    let message = format!("the mesh is not ready after {timeout:?}{}", reason(mesh, last));
    Err(Failure::new(SIDESTEP_E_TIMEOUT, message).with_next_step_of(SIDESTEP_E_CONTROL_PLANE))
}

fn is_retried(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ControlPlane | ErrorKind::Timeout)
}

fn reason(mesh: &Mesh, last: Option<Error>) -> String {
    let health = mesh.health().membership().get();
    let failures: Vec<_> = health.failures().map(|failure| failure.error.report()).collect();
    match (failures.is_empty(), last) {
        (false, _) => format!(": {}", failures.join("; ")),
        (true, Some(error)) => format!(": {}", error.report()),
        (true, None) => ": istiod has not answered yet".to_owned(),
    }
}
