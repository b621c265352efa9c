//! Alerts of istiod's TLS about our certificate.

use std::{error::Error as StdError, io};

use rustls::AlertDescription;

use crate::{
    error::{Error, ErrorKind},
    identity::credentials::Credentials,
};

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
