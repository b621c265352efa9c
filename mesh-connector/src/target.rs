//! Connection targets.

use std::{fmt, net::IpAddr, str::FromStr};

use sidestep_util::host_name;

use crate::{
    error::{Error, ErrorKind},
    uri::without_secrets,
};

/// A host and port to connect to, with a subset and a protocol.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Target {
    host: Host,
    port: u16,
    subset: String,
    protocol: Protocol,
}

/// The host of a [`Target`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Host {
    /// An IP address: a ClusterIP or virtual IP of a service, or an address outside the mesh.
    Ip(IpAddr),
    /// A host name, in lower case and without a trailing dot. Short names (`forecast.weather`) are resolved as in DNS.
    Name(String),
}

/// The protocol of the bytes on a connection. It decides the application protocols (ALPN) that the client offers.
/// Istio's proxies treat a connection differently for each of these protocols.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1. The client offers `istio-http/1.1`, `istio` and `http/1.1`.
    Http1,
    /// HTTP/2, including gRPC. The client offers `istio-h2`, `istio` and `h2`.
    Http2,
    /// Any protocol. The client offers only `istio`. If Istio detects the protocol of the port and an HTTP
    /// authorization policy applies, the proxy of the peer closes the connection without an error message.
    /// Use [`Http1`](Self::Http1) or [`Http2`](Self::Http2) for HTTP.
    #[default]
    Tcp,
}

impl Protocol {
    /// The number of variants of this enum.
    pub(crate) const COUNT: usize = 3;

    /// Returns the index of the protocol in a table with [`COUNT`](Self::COUNT) columns.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Http1 => 0,
            Self::Http2 => 1,
            Self::Tcp => 2,
        }
    }
}

impl Target {
    /// Creates a target from a host name or IP address (IPv6 with or without brackets), with [`Protocol::Tcp`] and no
    /// subset.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidTarget`]: the host is not a valid DNS name, or the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, Error> {
        if port == 0 {
            return Err(Error::new(
                ErrorKind::InvalidTarget,
                format!(
                    "invalid target `{}:0`: the port must not be 0; use the service port",
                    without_secrets(host)
                ),
            ));
        }
        Ok(Self { host: host.parse()?, port, subset: String::new(), protocol: Protocol::default() })
    }

    /// Sets the subset: a name from the DestinationRule of the service. An empty string selects the whole service.
    #[must_use]
    pub fn with_subset(self, subset: impl Into<String>) -> Self {
        Self { subset: subset.into(), ..self }
    }

    /// Sets the protocol. The default is [`Protocol::Tcp`].
    #[must_use]
    pub fn with_protocol(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    pub(crate) fn with_host(self, host: Host) -> Self {
        Self { host, ..self }
    }

    /// Returns the host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the service port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the subset. Empty for the whole service.
    #[must_use]
    pub fn subset(&self) -> &str {
        &self.subset
    }

    /// Returns the protocol.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }
}

impl FromStr for Target {
    type Err = Error;

    /// Parses `host:port`. IPv6 addresses need brackets.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || {
            let message = format!(
                "invalid target `{}`: expected HOST:PORT, such as `forecast.weather:3002`",
                without_secrets(text)
            );
            Error::new(ErrorKind::InvalidTarget, message)
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        Self::new(host, port.parse().map_err(|_| invalid())?)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port)?,
            host => write!(f, "{host}:{}", self.port)?,
        }
        if !self.subset.is_empty() {
            write!(f, " (subset {})", self.subset)?;
        }
        Ok(())
    }
}

impl FromStr for Host {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Self::Ip(ip.to_canonical()));
        }
        host_name::validate(text).map_err(|error| {
            let text = without_secrets(text);
            let message = format!("`{text}` is neither an IP address nor a host name: {error}");
            Error::new(ErrorKind::InvalidTarget, message)
        })?;
        Ok(Self::Name(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_cased_and_loses_its_trailing_dot() {
        let target: Target = "Forecast.Weather.svc.cluster.local.:3002".parse().unwrap();
        assert_eq!(target.host(), &Host::Name("forecast.weather.svc.cluster.local".into()));
        assert_eq!(target.port(), 3002);
    }

    #[test]
    fn addresses_are_recognised_with_and_without_brackets() {
        for (text, ip) in [("10.0.0.1:80", "10.0.0.1"), ("[::1]:80", "::1")] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.host(), &Host::Ip(ip.parse().unwrap()));
            assert_eq!(target.to_string(), text);
        }
        assert_eq!(Target::new("::1", 80).unwrap().host(), &Host::Ip("::1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_target_is_refused_with_its_text() {
        let long = format!("{}:80", "a".repeat(64));
        for text in
            ["", ":80", "forecast", "forecast:", "forecast:0", "a b:1", "a..b:1", "forecast:99999", &long]
        {
            let error = text.parse::<Target>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidTarget, "{text}");
        }
    }
}
