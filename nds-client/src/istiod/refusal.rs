//! What a gRPC status of istiod's means.

use std::{error::Error as StdError, io};

use rustls::AlertDescription;
use tonic::{Code, Status};

use super::{Connection, Credentials};
use crate::{Config, Error, ErrorKind};

/// istiod's TLS has refused our certificate. It fails the handshake instead of asking for the token.
#[derive(Debug, thiserror::Error)]
#[error("TLS alert {alert:?}")]
struct CertificateRefused {
    alert: AlertDescription,
    source: Box<dyn StdError + Send + Sync>,
}

/// The error for an alert about the certificate of these credentials.
pub(super) fn refused(
    credentials: &Credentials,
    alert: AlertDescription,
    source: impl Into<Box<dyn StdError + Send + Sync>>,
) -> Error {
    let message = format!("istiod refuses the certificate of {}", credentials.who());
    let source = CertificateRefused { alert, source: source.into() };
    Error::with_source(ErrorKind::Unauthenticated, message, source)
}

/// Whether istiod's TLS refused our certificate: only the token can help then.
pub(crate) fn is_certificate_refused(error: &Error) -> bool {
    StdError::source(error).is_some_and(<dyn StdError>::is::<CertificateRefused>)
}

impl Connection {
    /// The status of a call or stream over this connection as an error that says what to do.
    pub(crate) fn error(&self, config: &Config, status: Status) -> Error {
        let (kind, message) = match status.code() {
            Code::Unauthenticated => (ErrorKind::Unauthenticated, unauthenticated(config, &self.credentials)),
            Code::PermissionDenied => (
                ErrorKind::Unauthenticated,
                format!(
                    "istiod does not let this identity speak for namespace {} and service account {}: the token or certificate is another workload's",
                    config.namespace, config.service_account
                ),
            ),
            Code::FailedPrecondition | Code::InvalidArgument => (
                ErrorKind::Config,
                format!("istiod refuses this workload's description: {}", status.message()),
            ),
            // UNKNOWN is also istiod's "server is not ready" (istio `pilot/pkg/xds/delta.go`).
            _ => match self.alert.get() {
                Some(alert) => return refused(&self.credentials, *alert, status),
                None => (
                    ErrorKind::Unavailable,
                    format!("istiod at {} ended the exchange", config.istiod_address()),
                ),
            },
        };
        Error::with_source(kind, message, status)
    }
}

fn unauthenticated(config: &Config, credentials: &Credentials) -> String {
    let cluster = &config.cluster_id;
    match credentials {
        Credentials::Certificate(identity) => format!(
            "istiod does not accept the certificate of {} (cluster id {cluster})",
            identity.spiffe_id()
        ),
        Credentials::Token(token) => {
            let file =
                config.token_file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
            let why = token.why_refused(config.clock.now());
            format!(
                "istiod refuses the token in {file} (cluster id {cluster}): {why}; get a new one with `istioctl x workload entry configure`"
            )
        }
    }
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
