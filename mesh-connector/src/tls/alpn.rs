//! The application protocols (ALPN) that the client offers.
//!
//! Istio's proxies select filter chains by ALPN. If the client offers none of Istio's own protocols, a gateway resets
//! the connection, and a port with mTLS mode PERMISSIVE passes the TLS bytes to the application. `istio-peer-exchange`
//! is never offered, because a server that selects it expects a metadata preamble, which this client does not send.

use crate::target::Protocol;

const ISTIO: &str = "istio";
const PEER_EXCHANGE: &str = "istio-peer-exchange";

/// Returns the protocols to offer to a peer in the mesh. `protocol` is the protocol of the target, and `control_plane`
/// is the ALPN list in the cluster resource.
///
/// For HTTP, these are the protocols of Istio's ALPN filter (istio `pilot/pkg/xds/filters/filters.go`), which replaces
/// the list of the cluster per request. For other connections, these are Istio's own protocols in the list of the
/// cluster, without `h2`, because the bytes of the caller may not be HTTP/2.
pub(crate) fn offer(protocol: Protocol, control_plane: &[String]) -> Vec<String> {
    let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    match protocol {
        Protocol::Http1 => owned(&["istio-http/1.1", ISTIO, "http/1.1"]),
        Protocol::Http2 => owned(&["istio-h2", ISTIO, "h2"]),
        Protocol::Tcp => {
            let istios = |name: &&String| name.starts_with(ISTIO) && *name != PEER_EXCHANGE;
            let offer: Vec<_> = control_plane.iter().filter(istios).cloned().collect();
            if offer.is_empty() { owned(&[ISTIO]) } else { offer }
        }
    }
}

/// Returns the protocols to offer to a server outside the mesh: The list does not contain Istio's own protocols. The
/// arguments are the same as for [`offer`].
pub(crate) fn offer_passthrough(protocol: Protocol, control_plane: &[String]) -> Vec<String> {
    match protocol {
        Protocol::Http1 => vec!["http/1.1".to_owned()],
        Protocol::Http2 => vec!["h2".to_owned()],
        Protocol::Tcp => control_plane.iter().filter(|name| !name.starts_with(ISTIO)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn peer_exchange_is_never_offered() {
        let theirs = list(&["istio-peer-exchange", "istio", "h2"]);
        for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Tcp] {
            let offer = offer(protocol, &theirs);
            assert!(!offer.contains(&PEER_EXCHANGE.to_owned()), "{offer:?}");
            assert!(offer.contains(&ISTIO.to_owned()), "{offer:?}");
        }
    }

    #[test]
    fn raw_connections_offer_only_istio() {
        for theirs in [&["istio-peer-exchange", "istio", "h2"][..], &["istio"], &["h2"], &[]] {
            assert_eq!(offer(Protocol::Tcp, &list(theirs)), ["istio"]);
        }
    }

    #[test]
    fn http_connections_offer_the_protocols_of_istios_alpn_filter() {
        assert_eq!(offer(Protocol::Http1, &[]), ["istio-http/1.1", "istio", "http/1.1"]);
        assert_eq!(offer(Protocol::Http2, &[]), ["istio-h2", "istio", "h2"]);
    }
}
