//! Values that the program sets, in place of those from files and variables.

use std::{path::PathBuf, time::Duration};

use rustls_pki_types::ServerName;
use sidestep_util::host_name;

use super::{Config, KeyType, ServerAddress, values::require_tls_port};
use crate::{error::ConfigProblem, resources::locality::Locality};

/// The values that the program has set.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides {
    pub(super) istiod_name: Option<String>,
    pub(super) istiod_addresses: Vec<ServerAddress>,
    pub(super) join_timeout: Option<Duration>,
    pub(super) idle_endpoints: Option<Duration>,
    pub(super) certificate_ttl: Option<Duration>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) snapshot_age: Option<Duration>,
    pub(super) max_push_bytes: Option<usize>,
    pub(super) key_type: Option<KeyType>,
    pub(super) locality: Option<Locality>,
    pub(super) dns_domain: Option<String>,
    pub(super) network: Option<String>,
}

impl Overrides {
    /// Returns one problem for each invalid value.
    pub(super) fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        let mut check = |key: &str, problem: Option<String>| {
            problems.extend(problem.map(|what| ConfigProblem::new(what).about(key)));
        };
        let invalid_name =
            self.istiod_name.as_ref().filter(|name| ServerName::try_from(name.as_str()).is_err());
        check("istiod name", invalid_name.map(|name| format!("`{name}` is not a DNS name")));
        for address in &self.istiod_addresses {
            check("istiod address", address_problem(address));
        }
        let invalid_domain = self.dns_domain.as_ref().filter(|domain| host_name::validate(domain).is_err());
        check("DNS domain", invalid_domain.map(|domain| format!("`{domain}` is not a domain name")));
        let too_short = self.certificate_ttl.filter(|ttl| ttl.as_secs() == 0);
        check("certificate TTL", too_short.map(|ttl| format!("{ttl:?} is shorter than a second")));
        let no_path = self.state_dir.as_ref().filter(|dir| dir.as_os_str().is_empty());
        check("state directory", no_path.map(|_| "the path is empty".to_owned()));
        problems
    }

    /// Replaces the values of `config` by those that the program has set.
    pub(super) fn apply(self, config: Config) -> Config {
        let config = self.apply_addresses(config);
        Config {
            istiod_name: self.istiod_name.or(config.istiod_name),
            join_timeout: self.join_timeout.unwrap_or(config.join_timeout),
            idle_endpoints: self.idle_endpoints.unwrap_or(config.idle_endpoints),
            certificate_ttl: self.certificate_ttl.unwrap_or(config.certificate_ttl),
            state_dir: self.state_dir.or(config.state_dir),
            snapshot_age: self.snapshot_age.unwrap_or(config.snapshot_age),
            max_push_bytes: self.max_push_bytes.unwrap_or(config.max_push_bytes),
            key_type: self.key_type.unwrap_or(config.key_type),
            locality: self.locality.or(config.locality),
            dns_domain: self.dns_domain.unwrap_or(config.dns_domain),
            network: self.network.unwrap_or(config.network),
            ..config
        }
    }

    fn apply_addresses(&self, config: Config) -> Config {
        let addresses = &self.istiod_addresses;
        if addresses.is_empty() {
            return config;
        }
        // A certificate of istiod contains no IP addresses. If a new address of istiod is an IP address, the
        // certificate must contain the host name of the previous address.
        let previous = config.discovery.iter().find(|server| server.is_provable());
        let previous = previous.filter(|_| !addresses.iter().all(ServerAddress::is_provable));
        let istiod_name = config.istiod_name.or_else(|| previous.map(|server| server.host.clone()));
        Config { discovery: addresses.clone(), ca: addresses.clone(), istiod_name, ..config }
    }
}

fn address_problem(address: &ServerAddress) -> Option<String> {
    if address.host.is_empty() {
        return Some("the host is empty".to_owned());
    }
    if address.port == 0 {
        return Some(format!("the port of `{address}` is 0"));
    }
    require_tls_port(address.clone()).err()
}
