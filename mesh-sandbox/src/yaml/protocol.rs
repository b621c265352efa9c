//! The protocol of a port, from its name or `appProtocol` as Istio reads them.

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    GrpcWeb,
    Http,
    HttpProxy,
    Http2,
    Https,
    Mongo,
    MySql,
    Redis,
    Tcp,
    Tls,
    Udp,
    /// No protocol is declared: the sidecar detects it from the first bytes.
    Unsupported,
}

/// The ports of SMTP, DNS, MySQL and MongoDB. Istio does not detect the protocol on these ports (istio
/// `pkg/config/kube/conversion.go:35`).
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];

impl Protocol {
    /// Parses a protocol like Istio's `protocol.Parse`.
    pub(crate) fn parse(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "http" => Self::Http,
            "http_proxy" => Self::HttpProxy,
            "http2" => Self::Http2,
            "https" => Self::Https,
            "mongo" => Self::Mongo,
            "mysql" => Self::MySql,
            "redis" => Self::Redis,
            "tcp" => Self::Tcp,
            "tls" => Self::Tls,
            "udp" => Self::Udp,
            _ => Self::Unsupported,
        }
    }

    /// Returns the protocol of a Kubernetes service port (istio `pkg/config/kube/conversion.go:47`).
    pub(crate) fn of_port(number: u16, name: &str, transport: Option<&str>, app: Option<&str>) -> Self {
        if transport == Some("UDP") {
            return Self::Udp;
        }
        let name = match app {
            Some("kubernetes.io/h2c") => return Self::Http2,
            Some("kubernetes.io/ws") => return Self::Http,
            Some("kubernetes.io/wss") => return Self::Https,
            Some(app) => app,
            None => name,
        };
        if name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case("grpc-web")) {
            return Self::GrpcWeb;
        }
        match Self::parse(name.split('-').next().unwrap_or_default()) {
            Self::Unsupported if SERVER_FIRST.contains(&number) => Self::Tcp,
            protocol => protocol,
        }
    }

    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb | Self::Http2)
    }

    pub(crate) fn is_http(self) -> bool {
        self.is_http2() || matches!(self, Self::Http | Self::HttpProxy)
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn the_protocol_is_the_port_name_before_the_dash() {
        assert_eq!(Protocol::of_port(80, "http-web", None, None), Protocol::Http);
        assert_eq!(Protocol::of_port(80, "grpc-web-x", None, None), Protocol::GrpcWeb);
        assert_eq!(Protocol::of_port(80, "web", None, None), Protocol::Unsupported);
        assert_eq!(Protocol::of_port(80, "httpx", None, None), Protocol::Unsupported);
    }

    #[test]
    fn app_protocol_overrides_the_name_and_well_known_ports_are_tcp() {
        assert_eq!(Protocol::of_port(80, "http", None, Some("tcp")), Protocol::Tcp);
        assert_eq!(Protocol::of_port(80, "web", None, Some("kubernetes.io/h2c")), Protocol::Http2);
        assert_eq!(Protocol::of_port(3306, "", None, None), Protocol::Tcp);
        assert_eq!(Protocol::of_port(53, "http", Some("UDP"), None), Protocol::Udp);
    }
}
