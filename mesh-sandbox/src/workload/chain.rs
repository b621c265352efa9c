//! Which filter chain takes a connection (facts E.4), and which ALPN it chooses (facts E.2).

use crate::hello::Hello;
use crate::model::Protocol;
use crate::yaml::istio::MutualTlsMode;

/// What a sidecar does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    /// Mutual TLS, then HTTP.
    MutualTlsHttp,
    /// Mutual TLS, then bytes.
    MutualTlsTcp,
    /// The bytes, TLS or not, go to the application as they are.
    Raw,
    /// No chain: closed.
    None,
}

/// The chain for a connection that begins with `hello`, or with plaintext.
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
        // An HTTP port has no chain for TLS that is not Istio's; others hand the bytes on (trap 1).
        MutualTlsMode::Permissive | MutualTlsMode::Unset if protocol.is_http() => Chain::None,
        MutualTlsMode::Permissive | MutualTlsMode::Unset => Chain::Raw,
    }
}

/// The protocol that the server picks: its own order counts; no overlap is no ALPN, never an error (trap 3).
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
    fn permissive_terminates_only_what_is_marked_as_istios() {
        let istio = offers(&["istio"]);
        let plain = offers(&["http/1.1"]);
        assert_eq!(choose(Permissive, Protocol::Http, Some(&istio)), Chain::MutualTlsHttp);
        assert_eq!(choose(Permissive, Protocol::Http, Some(&plain)), Chain::None);
        assert_eq!(choose(Permissive, Protocol::Tcp, Some(&istio)), Chain::MutualTlsTcp);
        assert_eq!(choose(Permissive, Protocol::Tcp, Some(&plain)), Chain::Raw);
        assert_eq!(choose(Permissive, Protocol::Http, None), Chain::Raw);
    }

    #[test]
    fn strict_terminates_everything_and_refuses_plaintext() {
        assert_eq!(choose(Strict, Protocol::Tcp, Some(&offers(&[]))), Chain::MutualTlsTcp);
        assert_eq!(choose(Strict, Protocol::Http, None), Chain::None);
        assert_eq!(choose(Disable, Protocol::Http, Some(&offers(&["istio"]))), Chain::Raw);
    }

    #[test]
    fn an_undeclared_port_goes_by_the_alpn() {
        assert_eq!(choose(Permissive, Protocol::Unsupported, Some(&offers(&["istio"]))), Chain::MutualTlsTcp);
        let http = offers(&["istio-http/1.1", "istio", "http/1.1"]);
        assert_eq!(choose(Permissive, Protocol::Unsupported, Some(&http)), Chain::MutualTlsHttp);
        assert_eq!(choose(Permissive, Protocol::Unsupported, Some(&offers(&["h2"]))), Chain::Raw);
    }

    #[test]
    fn the_marker_is_never_selected() {
        assert_eq!(alpn(Chain::MutualTlsHttp, &offers(&["istio"]).alpn), None);
        assert_eq!(alpn(Chain::MutualTlsHttp, &offers(&["istio-h2", "istio", "h2"]).alpn), Some("h2"));
        let exchange = offers(&["istio-peer-exchange", "istio"]);
        assert_eq!(alpn(Chain::MutualTlsTcp, &exchange.alpn), Some("istio-peer-exchange"));
    }
}
