//! The endpoints of an `ORIGINAL_DST` cluster: the addresses that a caller would connect to without the mesh.

use nds_client::resources::endpoint::{Endpoint, Endpoints, LocalityEndpoints};

use crate::{
    dns::MeshNames,
    target::{Host, Target},
};

/// Returns the addresses that the caller would connect to without the mesh. If the host of the target is an IP address,
/// this is the address. If the host is a name, these are its addresses in the name table or, if it is not in the table,
/// the name itself, which upstream DNS resolves. If the cluster sets a port, `port` is that port and replaces the port
/// of the target.
pub(super) fn original_destination(target: &Target, port: Option<u16>, names: &impl MeshNames) -> Endpoints {
    let hosts = match target.host() {
        Host::Ip(ip) => vec![ip.to_string()],
        Host::Name(name) => match names.addresses(name) {
            addresses if addresses.is_empty() => vec![name.clone()],
            addresses => addresses.iter().map(ToString::to_string).collect(),
        },
    };
    let endpoint = |host| {
        let mut endpoint = Endpoint::default();
        (endpoint.host, endpoint.port, endpoint.weight) = (host, port.unwrap_or(target.port()), 1);
        endpoint
    };
    let mut locality = LocalityEndpoints::default();
    locality.endpoints = hosts.into_iter().map(endpoint).collect();
    let mut endpoints = Endpoints::default();
    endpoints.localities.push(locality);
    endpoints
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    /// A name table that returns the same addresses for every name.
    struct Table(Vec<IpAddr>);

    impl MeshNames for Table {
        fn canonical(&self, _host: &str) -> Option<String> {
            None
        }

        fn service_names(&self, _host: &str) -> Vec<String> {
            Vec::new()
        }

        fn addresses(&self, _host: &str) -> Vec<IpAddr> {
            self.0.clone()
        }

        fn last_resolved(&self, _ip: IpAddr) -> Option<String> {
            None
        }

        fn at(&self, _ip: IpAddr) -> Vec<String> {
            Vec::new()
        }
    }

    fn found(host: &str, port_override: Option<u16>, table: &[&str]) -> Vec<(String, u16)> {
        let table = Table(table.iter().map(|address| address.parse().unwrap()).collect());
        let endpoints = original_destination(&Target::new(host, 80).unwrap(), port_override, &table);
        endpoints.iter().map(|(_, endpoint)| (endpoint.host.clone(), endpoint.port)).collect()
    }

    #[test]
    fn an_address_is_its_own_endpoint_and_a_name_has_its_addresses_in_the_table_or_itself() {
        assert_eq!(found("10.0.0.9", None, &["10.0.0.1"]), [("10.0.0.9".into(), 80)]);
        let both = [("10.0.0.1".into(), 80), ("::1".into(), 80)];
        assert_eq!(found("any.example", None, &["10.0.0.1", "::1"]), both);
        assert_eq!(found("any.example", None, &[]), [("any.example".into(), 80)]);
    }

    #[test]
    fn a_port_in_the_cluster_takes_precedence() {
        assert_eq!(found("10.0.0.9", Some(8443), &[]), [("10.0.0.9".into(), 8443)]);
        assert_eq!(found("any.example", Some(8443), &["10.0.0.1"]), [("10.0.0.1".into(), 8443)]);
    }
}
