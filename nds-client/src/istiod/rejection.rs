//! TLS alerts by which istiod rejects the client certificate.

use std::{error::Error as StdError, io};

use rustls::AlertDescription;

use crate::{
    error::{Error, ErrorKind},
    identity::credentials::Credentials,
};

/// istiod rejected the client certificate in the TLS handshake. istiod does not fall back to a token.
#[derive(Debug, thiserror::Error)]
#[error("TLS alert {alert:?}")]
struct CertificateRejected {
    alert: AlertDescription,
    source: Box<dyn StdError + Send + Sync>,
}

/// Returns the error for an alert about the certificate of these credentials.
pub(super) fn rejection_error(
    credentials: &Credentials,
    alert: AlertDescription,
    source: impl Into<Box<dyn StdError + Send + Sync>>,
) -> Error {
    let message = format!(
        "istiod rejected the certificate of {}: check that the CA of the certificate belongs to this mesh",
        credentials.claimed_identity()
    );
    let source = CertificateRejected { alert, source: source.into() };
    Error::with_source(ErrorKind::Unauthenticated, message, source)
}

/// Returns whether istiod rejected the client certificate in the TLS handshake, so that only the token can succeed.
pub(crate) fn is_certificate_rejected(error: &Error) -> bool {
    StdError::source(error).is_some_and(<dyn StdError>::is::<CertificateRejected>)
}

/// Returns the TLS alert in an error or its causes; `None` if there is none or it is not about a certificate.
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
