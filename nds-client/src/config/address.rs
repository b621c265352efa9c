//! Server addresses of the form `host:port`.

use std::{fmt, net::IpAddr, str::FromStr};

/// A server: a host name or IP address, and a port.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerAddress {
    /// A DNS name, or an IP address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// The error of a text that is not of the form `host:port`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not of the form host:port")]
pub struct InvalidServerAddress(String);

/// The TLS port of istiod.
pub(super) const PORT: u16 = 15012;

impl ServerAddress {
    /// Creates an address from a host and a port.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Returns whether a certificate of istiod can contain this host. Such a certificate contains neither IP addresses
    /// nor `localhost`.
    pub(crate) fn is_provable(&self) -> bool {
        self.host.parse::<IpAddr>().is_err() && !self.host.contains("localhost")
    }

    /// Returns the default address of istiod: its default host name and its TLS port.
    #[cfg(test)]
    pub(super) fn istiod() -> Self {
        Self::new("istiod.istio-system.svc", PORT)
    }
}

/// Parses `host:port` or `[IPv6 address]:port`. The default port is 15012.
impl FromStr for ServerAddress {
    type Err = InvalidServerAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            if let Ok(ip) = text.parse::<IpAddr>() {
                return Some(Self::new(ip.to_string(), PORT));
            }
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
                None => (text, PORT),
            };
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let valid = !host.is_empty() && !host.contains(['/', ' ', '[', ']']);
            valid.then(|| Self::new(host, port))
        };
        parse().ok_or_else(|| InvalidServerAddress(text.to_owned()))
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.host.contains(':');
        let (open, close) = if brackets { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}
