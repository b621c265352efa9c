//! Protocol detection by the first bytes of a client.
//!
//! If the name of a service port contains no protocol, Istio's proxies detect the protocol, first by ALPN. They treat a
//! connection that offers only `istio` as TCP, and an HTTP authorization policy then closes it without an error
//! message. A connection with HTTP must therefore offer the ALPN protocols of HTTP. If the target does not specify the
//! protocol, the bridge determines it from the first bytes of the client.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::timeout,
};

use crate::target::Protocol;

/// The first line of the HTTP/2 preface (RFC 9113 §3.4). No HTTP/1.1 request starts with these bytes.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// The methods that Envoy's HTTP inspector recognises (`source/extensions/filters/listener/http_inspector`), without
/// those of WebDAV.
const METHODS: [&[u8]; 9] =
    [b"CONNECT ", b"DELETE ", b"GET ", b"HEAD ", b"OPTIONS ", b"PATCH ", b"POST ", b"PUT ", b"TRACE "];

/// Returns the protocol of a connection that starts with `bytes`. `None` if more bytes are needed.
pub(super) fn protocol(bytes: &[u8]) -> Option<Protocol> {
    let begins = |whole: &[u8]| bytes.starts_with(whole);
    let may_become = |whole: &[u8]| whole.starts_with(bytes);
    if begins(HTTP2_PREFACE) {
        Some(Protocol::Http2)
    } else if METHODS.into_iter().any(begins) {
        Some(Protocol::Http1)
    } else if may_become(HTTP2_PREFACE) || METHODS.into_iter().any(may_become) {
        None
    } else {
        Some(Protocol::Tcp)
    }
}

/// Reads from the client until its protocol is known, and returns the protocol. The protocol is TCP if the data of the
/// client ends or the timeout expires before the protocol is known. Appends the bytes to `read`.
pub(super) async fn detect(
    client: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
    time_limit: Duration,
) -> Protocol {
    let detected = async {
        loop {
            if let Some(protocol) = protocol(read) {
                return protocol;
            }
            // Cancel safe: `read` contains all bytes that were read.
            match client.read_buf(read).await {
                Ok(0) | Err(_) => return Protocol::Tcp,
                Ok(_) => {}
            }
        }
    };
    timeout(time_limit, detected).await.unwrap_or(Protocol::Tcp)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn http_is_detected_by_its_first_bytes_and_everything_else_is_tcp() {
        for (bytes, said) in [
            (&b"GET / HTTP/1.1\r\n"[..], Some(Protocol::Http1)),
            (b"POST /x", Some(Protocol::Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Protocol::Http2)),
            (b"", None),
            (b"P", None),
            (b"PRI * HTTP", None),
            (b"GE", None),
            (b"GETS x", Some(Protocol::Tcp)),
            (b"\x16\x03\x01", Some(Protocol::Tcp)),
            (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Some(Protocol::Tcp)),
        ] {
            assert_eq!(protocol(bytes), said, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn bytes_that_arrive_one_by_one_are_all_returned() {
        let (mut near, mut far) = tokio::io::duplex(1);
        let write = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut far, b"GET / HTTP/1.1").await.unwrap();
        });
        let mut read = Vec::new();
        assert_eq!(detect(&mut near, &mut read, Duration::from_secs(30)).await, Protocol::Http1);
        assert_eq!(read, b"GET ");
        drop(near);
        let _ = write.await;
    }

    #[tokio::test(start_paused = true)]
    async fn detection_ends_after_the_timeout_if_the_client_sends_nothing() {
        let (mut near, _far) = tokio::io::duplex(1);
        let protocol = detect(&mut near, &mut Vec::new(), Duration::from_millis(100)).await;
        assert_eq!(protocol, Protocol::Tcp);
    }

    proptest! {
        #[test]
        fn twenty_bytes_always_decide(bytes in proptest::collection::vec(any::<u8>(), 20..40)) {
            prop_assert!(protocol(&bytes).is_some());
        }
    }
}
