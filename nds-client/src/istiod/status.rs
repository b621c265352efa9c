//! Errors from gRPC status codes of istiod.

use tonic::{Code, Status};

use super::{channel::Connection, rejection::rejection_error};
use crate::{
    error::{Error, ErrorKind},
    identity::credentials::Credentials,
    runtime::Runtime,
};

/// Converts the status of a call or stream to an error with the next step.
pub(crate) fn status_error(runtime: &Runtime, connection: &Connection, status: Status) -> Error {
    let config = &runtime.config;
    let (kind, message) = match status.code() {
        Code::Unauthenticated => {
            (ErrorKind::Unauthenticated, unauthenticated(runtime, &connection.credentials))
        }
        Code::PermissionDenied => (
            ErrorKind::Unauthenticated,
            format!(
                "istiod does not accept this identity for namespace {} and service account {}: the token or certificate belongs to another workload",
                config.namespace, config.service_account
            ),
        ),
        Code::FailedPrecondition | Code::InvalidArgument => (
            ErrorKind::Config,
            format!(
                "istiod rejected the node description of this workload, check the configuration: {}",
                status.message()
            ),
        ),
        // tonic has rejected the message by its length prefix and has not read it. istiod does not send this code.
        Code::OutOfRange => (
            ErrorKind::InvalidResource,
            format!(
                "istiod at {} sent a message of more than {} bytes: reduce the number of services with a Sidecar resource, or increase the limit (`with_max_push_bytes`)",
                config.istiod_address(),
                config.max_push_bytes
            ),
        ),
        // istiod also sends UNKNOWN for "server is not ready" (istio `pilot/pkg/xds/delta.go`).
        _ => match connection.alert.get() {
            Some(alert) => return rejection_error(&connection.credentials, *alert, status),
            None => (
                ErrorKind::Unavailable,
                format!("istiod at {} closed the connection", config.istiod_address()),
            ),
        },
    };
    Error::with_source(kind, message, status)
}

fn unauthenticated(runtime: &Runtime, credentials: &Credentials) -> String {
    let config = &runtime.config;
    let cluster = &config.cluster_id;
    match credentials {
        Credentials::Certificate(identity) => format!(
            "istiod rejected the certificate of {} (cluster ID {cluster}): check the cluster ID and the trust domain",
            identity.spiffe_id()
        ),
        Credentials::Token(token) => {
            let file =
                config.token_file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
            let why = token.rejection_reason(runtime.now());
            format!(
                "istiod rejected the token in {file} (cluster ID {cluster}): {why}; create a new token with `istioctl x workload entry configure`"
            )
        }
    }
}
