//! `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The identity of a service account (facts B.2).
pub(crate) fn identity(trust_domain: &str, namespace: &str, service_account: &str) -> String {
    format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")
}

/// Namespace and service account of an identity, whatever its trust domain.
pub(crate) fn parse(identity: &str) -> Option<(&str, &str)> {
    let (_, path) = identity.strip_prefix("spiffe://")?.split_once('/')?;
    let mut parts = path.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("ns"), Some(namespace), Some("sa"), Some(account), None) => Some((namespace, account)),
        _ => None,
    }
}

/// Whether `identity` is of `trust_domain`.
pub(crate) fn is_of(identity: &str, trust_domain: &str) -> bool {
    identity
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.strip_prefix(trust_domain))
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The URI names in a certificate.
pub(crate) fn uris(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{is_of, parse};

    #[test]
    fn an_identity_gives_back_its_parts() {
        assert_eq!(parse("spiffe://cluster.local/ns/weather/sa/forecast"), Some(("weather", "forecast")));
        assert_eq!(parse("spiffe://cluster.local/ns/weather"), None);
    }

    #[test]
    fn a_trust_domain_that_only_begins_alike_is_another_one() {
        assert!(is_of("spiffe://cluster.local/ns/a/sa/b", "cluster.local"));
        assert!(!is_of("spiffe://cluster.localhost/ns/a/sa/b", "cluster.local"));
    }
}
