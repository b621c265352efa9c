//! Who may be at the other end: the names of certificates, and which of them are expected.

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
pub(super) enum Expected {
    /// One of these identities: the service's, from CDS.
    AnyOf(Vec<SanMatcher>),
    /// Any identity of this trust domain, where CDS names none. Envoy accepts any certificate of the mesh's roots then;
    /// this client is stricter, because roots may be shared by several meshes.
    TrustDomain(String),
    /// One of these names of any kind, outside of the mesh (DestinationRule SIMPLE or MUTUAL).
    AnyName(Vec<SanMatcher>),
    /// The server's own name, outside of the mesh, where CDS names none. Envoy accepts any certificate of the roots then,
    /// unless `auto_san_validation` is set; this client is stricter, because such roots are often everybody's.
    Server(ServerName<'static>),
}

/// What a certificate is found to be.
pub(super) enum Verdict {
    Accepted,
    /// With the names that it presents instead.
    Refused(Vec<String>),
}

impl Expected {
    /// Of a workload in the mesh.
    pub(super) fn workload(matchers: &[SanMatcher], own_trust_domain: &str) -> Self {
        match matchers {
            [] => Self::TrustDomain(own_trust_domain.to_owned()),
            matchers => Self::AnyOf(matchers.to_vec()),
        }
    }

    /// Of a server outside of the mesh.
    pub(super) fn server(matchers: &[SanMatcher], name: &ServerName<'static>) -> Self {
        match matchers {
            [] => Self::Server(name.clone()),
            matchers => Self::AnyName(matchers.to_vec()),
        }
    }

    pub(super) fn judge(&self, leaf: &CertificateDer<'_>) -> Result<Verdict, rustls::Error> {
        let accepted = match self {
            Self::AnyOf(_) | Self::TrustDomain(_) => {
                let presented = uri_names(leaf);
                // Exactly one URI (SPIFFE X509-SVID §2, §5.2).
                match &presented[..] {
                    [name] if self.accepts(name) => true,
                    _ => return Ok(Verdict::Refused(presented)),
                }
            }
            Self::Server(name) => is_for(leaf, name)?,
            Self::AnyName(matchers) => {
                let names = names(leaf);
                let wildcard = |matcher: &SanMatcher| match matcher {
                    // A certificate for `*.example.com` is one for `api.example.com`.
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
                accepted
            }
        };
        Ok(if accepted { Verdict::Accepted } else { Verdict::Refused(names(leaf)) })
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
        }
    }

    /// The name of every peer that is accepted, where there is but one: rules that one identity alone satisfies.
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
        }
    }
}

fn is_for(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<bool, rustls::Error> {
    Ok(verify_server_name(&ParsedCertificate::try_from(leaf)?, name).is_ok())
}

fn text(matcher: &SanMatcher) -> String {
    match matcher {
        SanMatcher::Contains(part) => format!("*{part}*"),
        SanMatcher::Exact(whole) => whole.clone(),
        SanMatcher::IgnoreCase(inside) => format!("{} (of any case)", text(inside)),
        SanMatcher::Prefix(part) => format!("{part}*"),
        SanMatcher::Regex(regex) => format!("/{}/", regex.as_str()),
        SanMatcher::Suffix(part) => format!("*{part}"),
        SanMatcher::Unsupported(rule) => format!("{rule} (a rule that is not supported and matches nothing)"),
        other => format!("{other:?}"),
    }
}

/// The URI names of a certificate; none where it cannot be read. By what has just verified its chain: that code is at hand
/// in the processor, where x509-parser's would be fetched anew for each connection.
pub(crate) fn uri_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    certificate.valid_uri_names().map(str::to_owned).collect()
}

/// All names of a certificate that rules are about: URIs, host names, addresses, mail addresses.
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
        let expected = Expected::workload(&[], "cluster.local");
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
            Expected::workload(&[SanMatcher::Exact("spiffe://old/ns/a/sa/b".into())], "cluster.local");
        assert!(expected.accepts("spiffe://old/ns/a/sa/b"));
        assert!(!expected.accepts("spiffe://cluster.local/ns/a/sa/b"));
    }

    #[test]
    fn a_rule_that_cannot_be_decided_accepts_nothing() {
        let expected = Expected::workload(&[SanMatcher::Unsupported(".*".into())], "cluster.local");
        assert!(!expected.accepts("spiffe://cluster.local/ns/a/sa/b"));
    }
}
