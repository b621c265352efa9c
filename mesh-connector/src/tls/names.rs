//! Compares the names in a certificate with the names that a peer may have.

use nds_client::resources::cluster::SanMatcher;
use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// The names that a peer may have.
#[derive(Clone, Debug)]
pub(super) enum ExpectedNames {
    /// An identity that one of these SAN matchers of the cluster accepts.
    AnyOf(Vec<SanMatcher>),
    /// Any identity of this trust domain, if the cluster contains no SAN matchers. Envoy accepts any certificate of the
    /// mesh's roots in this case. This client is stricter, because several meshes may share a root.
    TrustDomain(String),
    /// A name of any type that one of these SAN matchers accepts, for a server outside the mesh (DestinationRule SIMPLE
    /// or MUTUAL).
    AnyName(Vec<SanMatcher>),
    /// The server name, for a server outside the mesh, if the cluster contains no SAN matchers. Envoy then accepts any
    /// certificate of the roots unless the cluster sets `auto_san_validation`. This client is stricter, because such
    /// roots are often public.
    Server(ServerName<'static>),
    /// The server name, and a name that one of these SAN matchers accepts: a server outside the mesh whose cluster sets
    /// `auto_san_validation` and contains SAN matchers. Envoy requires both names
    /// (`DefaultCertValidator::verifyCertificate` in `source/common/tls/cert_validator/default_validator.cc`).
    ServerAndName(ServerName<'static>, Vec<SanMatcher>),
}

/// The result of comparing the names in a certificate with the expected names.
pub(super) enum NameCheck {
    Accepted,
    /// The certificate is rejected. It contains these names.
    Rejected(Vec<String>),
}

impl ExpectedNames {
    /// Returns the accepted identities of a mesh workload: the identities that the SAN matchers of the cluster accept
    /// or, without SAN matchers, all identities of the trust domain of this workload.
    pub(super) fn workload(matchers: &[SanMatcher], own_trust_domain: &str) -> Self {
        match matchers {
            [] => Self::TrustDomain(own_trust_domain.to_owned()),
            matchers => Self::AnyOf(matchers.to_vec()),
        }
    }

    /// Returns the accepted names of a server outside the mesh: the names that the SAN matchers of the cluster accept
    /// or, without SAN matchers, the server name. With `auto_san_validation`, the server name is always required.
    pub(super) fn server(
        matchers: &[SanMatcher],
        name: &ServerName<'static>,
        auto_san_validation: bool,
    ) -> Self {
        match matchers {
            [] => Self::Server(name.clone()),
            matchers if auto_san_validation => Self::ServerAndName(name.clone(), matchers.to_vec()),
            matchers => Self::AnyName(matchers.to_vec()),
        }
    }

    pub(super) fn check(&self, leaf: &CertificateDer<'_>) -> Result<NameCheck, rustls::Error> {
        let accepted = match self {
            Self::AnyOf(_) | Self::TrustDomain(_) => {
                let presented = uri_names(leaf);
                // A SPIFFE certificate has exactly one URI (SPIFFE X509-SVID §2, §5.2).
                match &presented[..] {
                    [name] if self.accepts(name) => true,
                    _ => return Ok(NameCheck::Rejected(presented)),
                }
            }
            Self::Server(name) => is_for(leaf, name)?,
            Self::ServerAndName(name, matchers) => is_for(leaf, name)? && has_name(leaf, matchers)?,
            Self::AnyName(matchers) => has_name(leaf, matchers)?,
        };
        Ok(if accepted { NameCheck::Accepted } else { NameCheck::Rejected(names(leaf)) })
    }

    pub(super) fn accepts(&self, name: &str) -> bool {
        match self {
            Self::AnyOf(matchers) | Self::AnyName(matchers) => {
                matchers.iter().any(|matcher| matcher.matches(name))
            }
            Self::TrustDomain(domain) => name
                .strip_prefix("spiffe://")
                .and_then(|rest| rest.strip_prefix(&**domain))
                .is_some_and(|path| path.starts_with('/')),
            Self::Server(server) => server.to_str() == name,
            Self::ServerAndName(server, matchers) => {
                server.to_str() == name && matchers.iter().any(|matcher| matcher.matches(name))
            }
        }
    }

    /// Returns the SPIFFE ID that a mesh workload must have, if the cluster specifies exactly one. `None` in all other
    /// cases.
    pub(super) fn only_name(&self) -> Option<&str> {
        match self {
            Self::AnyOf(matchers) => match &matchers[..] {
                [SanMatcher::Exact(name)] => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn texts(&self) -> Vec<String> {
        match self {
            Self::AnyOf(matchers) | Self::AnyName(matchers) => matchers.iter().map(text).collect(),
            Self::TrustDomain(domain) => vec![format!("spiffe://{domain}/*")],
            Self::Server(name) => vec![name.to_str().into_owned()],
            Self::ServerAndName(name, matchers) => {
                let any = matchers.iter().map(text).collect::<Vec<_>>().join(" or ");
                vec![format!("{} and {any}", name.to_str())]
            }
        }
    }
}

/// Returns whether a certificate has a name of any type that one of the SAN matchers accepts.
fn has_name(leaf: &CertificateDer<'_>, matchers: &[SanMatcher]) -> Result<bool, rustls::Error> {
    let names = names(leaf);
    let wildcard = |matcher: &SanMatcher| match matcher {
        // A certificate for `*.example.com` matches `api.example.com`.
        SanMatcher::Exact(text) => match ServerName::try_from(text.clone()) {
            Ok(name) => is_for(leaf, &name),
            Err(_) => Ok(false),
        },
        _ => Ok(false),
    };
    let mut accepted = names.iter().any(|name| matchers.iter().any(|one| one.matches(name)));
    for matcher in matchers {
        accepted |= wildcard(matcher)?;
    }
    Ok(accepted)
}

fn is_for(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<bool, rustls::Error> {
    Ok(verify_server_name(&ParsedCertificate::try_from(leaf)?, name).is_ok())
}

fn text(matcher: &SanMatcher) -> String {
    match matcher {
        SanMatcher::Contains(part) => format!("*{part}*"),
        SanMatcher::Exact(whole) => whole.clone(),
        SanMatcher::IgnoreCase(inside) => format!("{} (case-insensitive)", text(inside)),
        SanMatcher::Prefix(part) => format!("{part}*"),
        SanMatcher::Regex(regex) => format!("/{}/", regex.as_str()),
        SanMatcher::Suffix(part) => format!("*{part}"),
        SanMatcher::Unsupported(rule) => format!("{rule} (an unsupported rule, which matches nothing)"),
        other => format!("{other:?}"),
    }
}

/// Returns the URI names of a certificate. Empty for an invalid certificate. The function uses webpki instead of
/// x509-parser, because webpki has just verified the chain, so its code is in the processor cache.
pub(crate) fn uri_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    certificate.valid_uri_names().map(str::to_owned).collect()
}

/// Returns all names of a certificate that matchers can refer to: URIs, DNS names, IP addresses, mail addresses. Empty
/// for an invalid certificate.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    names.value.general_names.iter().filter_map(name_text).collect()
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(text) | GeneralName::DNSName(text) | GeneralName::RFC822Name(text) => {
            Some((*text).to_owned())
        }
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(ip) => Some(std::net::Ipv4Addr::from(ip).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_expected_names_any_identity_of_the_own_trust_domain_is_accepted() {
        let expected = ExpectedNames::workload(&[], "cluster.local");
        assert!(expected.accepts("spiffe://cluster.local/ns/weather/sa/forecast"));
        for other in
            ["spiffe://cluster.local.evil/ns/a/sa/b", "spiffe://other/ns/a/sa/b", "cluster.local/", ""]
        {
            assert!(!expected.accepts(other), "{other}");
        }
        assert_eq!(expected.texts(), ["spiffe://cluster.local/*"]);
    }

    #[test]
    fn expected_names_replace_the_trust_domain_rule() {
        let expected =
            ExpectedNames::workload(&[SanMatcher::Exact("spiffe://old/ns/a/sa/b".into())], "cluster.local");
        assert!(expected.accepts("spiffe://old/ns/a/sa/b"));
        assert!(!expected.accepts("spiffe://cluster.local/ns/a/sa/b"));
    }

    #[test]
    fn an_unsupported_matcher_accepts_nothing() {
        let expected = ExpectedNames::workload(&[SanMatcher::Unsupported(".*".into())], "cluster.local");
        assert!(!expected.accepts("spiffe://cluster.local/ns/a/sa/b"));
    }
}
