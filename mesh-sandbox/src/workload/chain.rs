//! The filter chains of a sidecar (istio `pilot/pkg/networking/core/filterchain_options.go`) and their ALPN protocols
//! (istio `pilot/pkg/security/authn/utils/utils.go`).

use crate::hello::Hello;
use crate::model::Protocol;
use crate::yaml::istio::MutualTlsMode;

/// The filter chain that handles a connection in a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    /// The sidecar terminates mutual TLS, then serves HTTP.
    MutualTlsHttp,
    /// The sidecar terminates mutual TLS, then passes the decrypted bytes to the application.
    MutualTlsTcp,
    /// The sidecar passes all bytes to the application unchanged, whether they are TLS or not.
    Raw,
    /// No filter chain matches, so the sidecar closes the connection.
    None,
}

/// Returns the filter chain for a connection that starts with the ClientHello `hello`, or with plaintext if `hello` is
/// `None`.
pub(crate) fn choose(mode: MutualTlsMode, protocol: Protocol, hello: Option<&Hello>) -> Chain {
    let Some(hello) = hello else {
        return if mode == MutualTlsMode::Strict { Chain::None } else { Chain::Raw };
    };
    let sniffed = protocol == Protocol::Unsupported;
    let http = protocol.is_http() || (sniffed && hello.offers_http());
    let terminated = if http { Chain::MutualTlsHttp } else { Chain::MutualTlsTcp };
    match mode {
        MutualTlsMode::Disable => Chain::Raw,
        MutualTlsMode::Strict => terminated,
        MutualTlsMode::Permissive | MutualTlsMode::Unset if hello.is_istio() => terminated,
        // An HTTP port has no chain for TLS without an ALPN of Istio; other ports pass the bytes on (istio
        // `filterchain_options.go`).
        MutualTlsMode::Permissive | MutualTlsMode::Unset if protocol.is_http() => Chain::None,
        MutualTlsMode::Permissive | MutualTlsMode::Unset => Chain::Raw,
    }
}

/// Returns the ALPN protocol that the server selects, in its order of preference. Returns `None` if client and server
/// have no common protocol, which is not an error (istio `pilot/pkg/security/authn/utils/utils.go`).
pub(crate) fn alpn(chain: Chain, offered: &[String]) -> Option<&'static str> {
    let supported: &[&str] = match chain {
        Chain::MutualTlsTcp => &["istio-peer-exchange", "h2", "http/1.1"],
        _ => &["h2", "http/1.1"],
    };
    supported.iter().find(|name| offered.iter().any(|offer| offer == *name)).copied()
}

#[cfg(test)]
mod tests {
    use super::{Chain, alpn, choose};
    use crate::hello::Hello;
    use crate::model::Protocol;
    use crate::yaml::istio::MutualTlsMode::{Disable, Permissive, Strict};

    fn offers(alpn: &[&str]) -> Hello {
        Hello { sni: None, alpn: alpn.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn permissive_terminates_only_tls_with_an_istio_alpn() {
        let istio = offers(&["istio"]);
        let plain = offers(&["http/1.1"]);
        assert_eq!(choose(Permissive, Protocol::Http, Some(&istio)), Chain::MutualTlsHttp);
        assert_eq!(choose(Permissive, Protocol::Http, Some(&plain)), Chain::None);
        assert_eq!(choose(Permissive, Protocol::Tcp, Some(&istio)), Chain::MutualTlsTcp);
        assert_eq!(choose(Permissive, Protocol::Tcp, Some(&plain)), Chain::Raw);
        assert_eq!(choose(Permissive, Protocol::Http, None), Chain::Raw);
    }

    #[test]
    fn strict_terminates_all_tls_and_rejects_plaintext() {
        assert_eq!(choose(Strict, Protocol::Tcp, Some(&offers(&[]))), Chain::MutualTlsTcp);
        assert_eq!(choose(Strict, Protocol::Http, None), Chain::None);
        assert_eq!(choose(Disable, Protocol::Http, Some(&offers(&["istio"]))), Chain::Raw);
    }

    #[test]
    fn the_alpn_decides_the_chain_of_an_undeclared_port() {
        assert_eq!(choose(Permissive, Protocol::Unsupported, Some(&offers(&["istio"]))), Chain::MutualTlsTcp);
        let http = offers(&["istio-http/1.1", "istio", "http/1.1"]);
        assert_eq!(choose(Permissive, Protocol::Unsupported, Some(&http)), Chain::MutualTlsHttp);
        assert_eq!(choose(Permissive, Protocol::Unsupported, Some(&offers(&["h2"]))), Chain::Raw);
    }

    #[test]
    fn the_alpn_istio_is_never_selected() {
        assert_eq!(alpn(Chain::MutualTlsHttp, &offers(&["istio"]).alpn), None);
        assert_eq!(alpn(Chain::MutualTlsHttp, &offers(&["istio-h2", "istio", "h2"]).alpn), Some("h2"));
        let exchange = offers(&["istio-peer-exchange", "istio"]);
        assert_eq!(alpn(Chain::MutualTlsTcp, &exchange.alpn), Some("istio-peer-exchange"));
    }
}
