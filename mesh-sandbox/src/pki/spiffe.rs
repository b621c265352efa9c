//! SPIFFE IDs of the form `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Returns the SPIFFE ID of a service account (istio `pkg/spiffe/spiffe.go`).
pub(crate) fn identity(trust_domain: &str, namespace: &str, service_account: &str) -> String {
    format!("spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")
}

/// Returns the namespace and the service account in a SPIFFE ID of any trust domain, or `None` if `identity` has
/// another form.
pub(crate) fn parse(identity: &str) -> Option<(&str, &str)> {
    let (_, path) = identity.strip_prefix("spiffe://")?.split_once('/')?;
    let mut parts = path.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("ns"), Some(namespace), Some("sa"), Some(account), None) => Some((namespace, account)),
        _ => None,
    }
}

/// Returns whether `identity` belongs to `trust_domain`.
pub(crate) fn is_of(identity: &str, trust_domain: &str) -> bool {
    identity
        .strip_prefix("spiffe://")
        .and_then(|rest| rest.strip_prefix(trust_domain))
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Returns the URI subject alternative names of a certificate.
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
    fn an_identity_is_parsed_into_its_parts() {
        assert_eq!(parse("spiffe://cluster.local/ns/weather/sa/forecast"), Some(("weather", "forecast")));
        assert_eq!(parse("spiffe://cluster.local/ns/weather"), None);
    }

    #[test]
    fn a_trust_domain_with_the_same_prefix_is_different() {
        assert!(is_of("spiffe://cluster.local/ns/a/sa/b", "cluster.local"));
        assert!(!is_of("spiffe://cluster.localhost/ns/a/sa/b", "cluster.local"));
    }
}
