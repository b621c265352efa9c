//! What a gRPC status of istiod's means.

use tonic::{Code, Status};

use super::{channel::Connection, refusal::refused};
use crate::{
    error::{Error, ErrorKind},
    identity::credentials::Credentials,
    runtime::Runtime,
};

/// The status of a call or stream over a connection as an error that says what to do.
pub(crate) fn status_error(runtime: &Runtime, connection: &Connection, status: Status) -> Error {
    let config = &runtime.config;
    let (kind, message) = match status.code() {
        Code::Unauthenticated => {
            (ErrorKind::Unauthenticated, unauthenticated(runtime, &connection.credentials))
        }
        Code::PermissionDenied => (
            ErrorKind::Unauthenticated,
            format!(
                "istiod does not let this identity speak for namespace {} and service account {}: the token or certificate is another workload's",
                config.namespace, config.service_account
            ),
        ),
        Code::FailedPrecondition | Code::InvalidArgument => {
            (ErrorKind::Config, format!("istiod refuses this workload's description: {}", status.message()))
        }
        // UNKNOWN is also istiod's "server is not ready" (istio `pilot/pkg/xds/delta.go`).
        _ => match connection.alert.get() {
            Some(alert) => return refused(&connection.credentials, *alert, status),
            None => {
                (ErrorKind::Unavailable, format!("istiod at {} ended the exchange", config.istiod_address()))
            }
        },
    };
    Error::with_source(kind, message, status)
}

fn unauthenticated(runtime: &Runtime, credentials: &Credentials) -> String {
    let config = &runtime.config;
    let cluster = &config.cluster_id;
    match credentials {
        Credentials::Certificate(identity) => format!(
            "istiod does not accept the certificate of {} (cluster id {cluster})",
            identity.spiffe_id()
        ),
        Credentials::Token(token) => {
            let file =
                config.token_file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
            let why = token.why_refused(runtime.now());
            format!(
                "istiod refuses the token in {file} (cluster id {cluster}): {why}; get a new one with `istioctl x workload entry configure`"
            )
        }
    }
}
