//! Names of xDS clusters, and the SNIs that correspond to them (istio `pilot/pkg/model/service.go`).

/// The parts of the name `outbound|<port>|<subset>|<host>` or of its SNI form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClusterName<'a> {
    pub(crate) port: u16,
    pub(crate) subset: &'a str,
    pub(crate) host: &'a str,
}

impl<'a> ClusterName<'a> {
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let separator = if name.starts_with("outbound_.") { "_." } else { "|" };
        let rest = name.strip_prefix("outbound")?.strip_prefix(separator)?;
        let (port, rest) = rest.split_once(separator)?;
        let (subset, host) = rest.split_once(separator)?;
        let port = port.parse().ok()?;
        (!host.contains(separator)).then_some(Self { port, subset, host })
    }
}

/// Returns the name of an xDS cluster, such as `outbound|3002||forecast.weather.svc.cluster.local`.
pub(crate) fn cluster(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// Returns an SNI such as `outbound_.3002_._.forecast.weather.svc.cluster.local`.
pub(crate) fn sni(port: u16, subset: &str, host: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}

#[cfg(test)]
mod tests {
    use super::{ClusterName, cluster, sni};

    #[test]
    fn both_forms_are_parsed() {
        for subset in ["", "v1"] {
            let parts = ClusterName { port: 3002, subset, host: "forecast.weather.svc.cluster.local" };
            assert_eq!(ClusterName::parse(&cluster(3002, subset, parts.host)), Some(parts));
            assert_eq!(ClusterName::parse(&sni(3002, subset, parts.host)), Some(parts));
        }
        assert_eq!(ClusterName::parse("BlackHoleCluster"), None);
    }
}
