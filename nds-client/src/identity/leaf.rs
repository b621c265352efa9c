//! The contents of a leaf certificate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{ASN1Time, FromDer as _},
};

use crate::{
    error::{Error, ErrorKind},
    resources::spiffe_id::SpiffeId,
};

/// The parts of a leaf certificate that an identity needs.
pub(super) struct Leaf {
    pub(super) spiffe_id: SpiffeId,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Leaf {
    /// Parses the leaf certificate; `None` is an error. Intermediate certificates are not parsed, because the URI in
    /// the CA certificate of istiod is not the SPIFFE ID of this workload.
    pub(super) fn parse(leaf: Option<&CertificateDer<'_>>) -> Result<Self, Error> {
        let invalid = |what: &str| Error::new(ErrorKind::Credentials, format!("the certificate {what}"));
        let leaf = leaf.ok_or_else(|| invalid("chain is empty"))?;
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| invalid("is not X.509"))?;
        let names = leaf
            .subject_alternative_name()
            .map_err(|_| invalid("has more than one subjectAltName extension"))?;
        let names = names.map(|names| &names.value.general_names[..]).unwrap_or_default();
        let uris: Vec<_> = names
            .iter()
            .filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None })
            .collect();
        let [uri] = uris[..] else {
            return Err(invalid(&format!("has {} URIs instead of exactly one SPIFFE ID", uris.len())));
        };
        let spiffe_id = uri.parse().map_err(|error| {
            Error::with_source(
                ErrorKind::Credentials,
                "the URI of the certificate is not a SPIFFE ID of Istio",
                error,
            )
        })?;
        let time = |time| time_of(time).ok_or_else(|| invalid("has dates beyond the range of the clock"));
        let validity = leaf.validity();
        Ok(Self { spiffe_id, not_before: time(validity.not_before)?, not_after: time(validity.not_after)? })
    }
}

/// Converts a date. A date before 1970 becomes the beginning of 1970.
fn time_of(time: ASN1Time) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0)))
}
