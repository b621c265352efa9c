//! Certificates and private keys from PEM (RFC 7468), and stores of root certificates.

use rustls::{
    RootCertStore,
    pki_types::{self, CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

/// The error of a PEM text without a usable certificate or private key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// A section of the text is malformed.
    #[error("not PEM")]
    Malformed(#[source] pki_types::pem::Error),
    /// The text has no `CERTIFICATE` section.
    #[error("no certificate in PEM")]
    NoCertificate,
    /// The text has no private key in PKCS#8, PKCS#1 or SEC1.
    #[error("no private key in PEM")]
    NoPrivateKey,
}

/// Returns the certificates of a PEM text in their order. The list is never empty. Other sections, and text between the
/// sections, are skipped.
///
/// # Errors
///
/// [`PemError`]: a section is malformed, or none is a certificate.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(PemError::NoCertificate),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(PemError::Malformed(error)),
    }
}

/// Returns the first private key of a PEM text, in PKCS#8, PKCS#1 or SEC1. Other sections are skipped.
///
/// # Errors
///
/// [`PemError`]: a section is malformed, or none is a private key.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pki_types::pem::Error::NoItemsFound => PemError::NoPrivateKey,
        error => PemError::Malformed(error),
    })
}

/// Returns a store of these root certificates, without duplicates.
///
/// # Errors
///
/// rustls cannot use a certificate as a trust anchor.
pub fn root_store<'a>(
    roots: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> Result<RootCertStore, rustls::Error> {
    let mut store = RootCertStore::empty();
    for root in distinct(roots) {
        store.add(root)?;
    }
    Ok(store)
}

/// Returns the certificates in their order, without duplicates.
#[must_use]
pub fn distinct<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> Vec<CertificateDer<'static>> {
    let mut distinct: Vec<CertificateDer<'static>> = Vec::new();
    for certificate in certificates {
        if !distinct.contains(certificate) {
            distinct.push(certificate.clone());
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let pair = rcgen::generate_simple_self_signed(["root".to_owned()]).unwrap();
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    }

    #[test]
    fn certificates_and_key_are_read_from_one_text_with_comments() {
        let ((first, key), (second, _)) = (pair(), pair());
        let text = [b"notes \xff\n", first.as_bytes(), key.as_bytes(), second.as_bytes()].concat();
        let read = certificates(&text).unwrap();
        assert_eq!(read, [&first, &second].map(|pem| certificates(pem.as_bytes()).unwrap().remove(0)));
        assert!(matches!(private_key(&text).unwrap(), PrivateKeyDer::Pkcs8(_)));
    }

    #[test]
    fn a_missing_section_is_an_error_with_its_name() {
        let (certificate, key) = pair();
        let error = certificates(key.as_bytes()).unwrap_err();
        assert!(matches!(error, PemError::NoCertificate), "{error}");
        let error = private_key(certificate.as_bytes()).unwrap_err();
        assert!(matches!(error, PemError::NoPrivateKey), "{error}");
    }

    #[test]
    fn a_malformed_section_is_an_error_despite_a_valid_one() {
        let (certificate, _) = pair();
        let text = format!("{certificate}-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        let error = certificates(text.as_bytes()).unwrap_err();
        assert!(matches!(error, PemError::Malformed(_)), "{error}");
    }

    #[test]
    fn a_store_has_no_duplicates_and_rejects_invalid_certificates() {
        let ((first, _), (second, _)) = (pair(), pair());
        let roots = certificates(format!("{first}{second}{first}").as_bytes()).unwrap();
        assert_eq!(roots.len(), 3);
        assert_eq!(root_store(&roots).unwrap().len(), 2);
        assert!(root_store(&[CertificateDer::from(vec![1, 2, 3])]).is_err());
    }
}
