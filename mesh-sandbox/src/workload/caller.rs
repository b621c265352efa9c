//! The client and the server of a connection, as the built-in application reports them.

use std::sync::Arc;

/// The client and the server of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) workload: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) cluster: Arc<str>,
    pub(crate) port: u16,
    /// The identity that the sidecar presented; `None` for plaintext.
    pub(crate) identity: Option<Arc<str>>,
    /// The verified SPIFFE ID of the client; `None` for plaintext.
    pub(crate) client: Option<String>,
    pub(crate) alpn: Option<String>,
    pub(crate) sni: Option<String>,
    /// The TLS version, `TLSv1.3` or `TLSv1.2`; `None` for plaintext.
    pub(crate) tls: Option<&'static str>,
}
