//! What a gRPC status of istiod's means.

use std::{error::Error as StdError, io, time::SystemTime};

use rustls::AlertDescription;
use tonic::{Code, Status};

use super::Credentials;
use crate::{Config, Error, ErrorKind};

/// The status of a call or stream as an error that says what to do.
pub(crate) fn status_error(
    config: &Config,
    credentials: &Credentials,
    status: Status,
    now: SystemTime,
) -> Error {
    let (kind, message) = match status.code() {
        Code::Unauthenticated => (ErrorKind::Unauthenticated, unauthenticated(config, credentials, now)),
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
        _ if certificate_alert(&status).is_some() && matches!(credentials, Credentials::Certificate(_)) => {
            (ErrorKind::Unauthenticated, format!("istiod refuses the certificate of {}", credentials.who()))
        }
        // UNKNOWN is also istiod's "server is not ready" (istio `pilot/pkg/xds/delta.go`).
        _ => (ErrorKind::Unavailable, format!("istiod at {} ended the exchange", config.istiod_address())),
    };
    Error::with_source(kind, message, status)
}

fn unauthenticated(config: &Config, credentials: &Credentials, now: SystemTime) -> String {
    let cluster = &config.cluster_id;
    match credentials {
        Credentials::Certificate(identity) => format!(
            "istiod does not accept the certificate of {} (cluster id {cluster})",
            identity.spiffe_id()
        ),
        Credentials::Token(token) => {
            let file =
                config.token_file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
            let why = token.why_refused(now);
            format!(
                "istiod refuses the token in {file} (cluster id {cluster}): {why}; get a new one with `istioctl x workload entry configure`"
            )
        }
    }
}

/// Whether istiod's TLS refused our certificate: in TLS 1.3 that arrives after the handshake, as UNAVAILABLE with the
/// alert inside (never as UNAUTHENTICATED).
pub(crate) fn is_certificate_refused(error: &Error) -> bool {
    error.kind() == ErrorKind::Unauthenticated
        && StdError::source(error).is_some_and(|source| certificate_alert(source).is_some())
}

/// The alert in an error or its causes, where it is about a certificate.
pub(super) fn certificate_alert(error: &(dyn StdError + 'static)) -> Option<AlertDescription> {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = io.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref());
        if let Some(rustls::Error::AlertReceived(alert)) = inner {
            return Some(*alert).filter(is_about_a_certificate);
        }
        next = error.source();
    }
    None
}

fn is_about_a_certificate(alert: &AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate
    )
}
