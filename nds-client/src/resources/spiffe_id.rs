//! SPIFFE IDs in Istio's form.

use std::{fmt, str::FromStr};

/// A SPIFFE ID in Istio's form: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>` (istio
/// `pkg/spiffe/spiffe.go`).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SpiffeId {
    text: String,
    trust_domain: usize,
    namespace: usize,
}

/// The error of a text that is not a SPIFFE ID in Istio's form.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>")]
pub struct InvalidSpiffeId(String);

const SCHEME: &str = "spiffe://";
const NAMESPACE: &str = "/ns/";
const SERVICE_ACCOUNT: &str = "/sa/";

impl SpiffeId {
    /// Returns the trust domain, for example `cluster.local`.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..self.trust_domain]
    }

    /// Returns the Kubernetes namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.text[self.trust_domain + NAMESPACE.len()..self.namespace]
    }

    /// Returns the Kubernetes service account.
    #[must_use]
    pub fn service_account(&self) -> &str {
        &self.text[self.namespace + SERVICE_ACCOUNT.len()..]
    }

    /// Returns the whole SPIFFE ID, a URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (trust_domain, path) = text.strip_prefix(SCHEME)?.split_once('/')?;
            let (namespace, service_account) = path.strip_prefix("ns/")?.split_once('/')?;
            let service_account = service_account.strip_prefix("sa/")?;
            let plain = |part: &str| !part.is_empty() && !part.contains('/');
            if !plain(trust_domain) || !plain(namespace) || !plain(service_account) {
                return None;
            }
            let trust_domain = SCHEME.len() + trust_domain.len();
            let namespace = trust_domain + NAMESPACE.len() + namespace.len();
            Some(Self { text: text.to_owned(), trust_domain, namespace })
        };
        parse().ok_or_else(|| InvalidSpiffeId(text.to_owned()))
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_three_parts() {
        let id: SpiffeId = "spiffe://cluster.local/ns/weather/sa/forecast".parse().unwrap();
        assert_eq!(
            (id.trust_domain(), id.namespace(), id.service_account()),
            ("cluster.local", "weather", "forecast")
        );
    }

    #[test]
    fn other_texts_are_invalid() {
        for text in [
            "",
            "spiffe://",
            "spiffe://a",
            "spiffe://a/ns/b",
            "spiffe://a/ns/b/sa/",
            "spiffe:///ns/b/sa/c",
            "spiffe://a/ns/b/sa/c/d",
            "https://a/ns/b/sa/c",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }
}
