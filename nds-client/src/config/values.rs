//! Converts variables to the values of a configuration.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use serde_json::Value;

use super::{
    Config, ENDPOINT_IDLE_TIMEOUT, KeyType, MAX_PUSH_BYTES, Renewal, SNAPSHOT_AGE, ServerAddress,
    environment::{Environment, Variable},
    host::Host,
    sources::DiscoveryAddress,
};
use crate::{duration::parse_go, error::ConfigProblem};

const META: &str = "ISTIO_META_";
const META_JSON: &str = "ISTIO_METAJSON_";
const LABELS: &str = "LABELS";

/// The files with the system's trusted roots on common Linux distributions, in the order in which they are tried (Go
/// `crypto/x509/root_linux.go`, which Istio's agent uses).
const SYSTEM_ROOTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The keys of node metadata that are never sent to istiod, each with the effect that it would have.
const NEVER_SENT: &[&str] = &[
    // Registers this process as an endpoint, although it serves nothing.
    "AUTO_REGISTER_GROUP",
    "WORKLOAD_ENTRY",
    // Hides the endpoints of other networks.
    "REQUESTED_NETWORK_VIEW",
    // Replaces istiod's Envoy generator by one whose clusters have no SNI, ALPN and mTLS.
    "GENERATOR",
];

/// Converts variables and collects the problems of invalid ones.
pub(super) struct Values<'a> {
    pub(super) environment: &'a Environment,
    pub(super) problems: Vec<ConfigProblem>,
}

impl Values<'_> {
    /// Returns the configuration, in which everything that is read from another file (roots, hosts, token) is empty.
    /// Returns `None` if the namespace is not set.
    pub(super) fn config(
        &mut self,
        host: &Host,
        discovery_address: Option<&DiscoveryAddress>,
        file_labels: BTreeMap<String, String>,
    ) -> Option<Config> {
        let environment = self.environment;
        let namespace =
            environment.first(&["POD_NAMESPACE", "ISTIO_NAMESPACE"]).map(|variable| variable.text);
        if namespace.is_none() {
            let what = "is not set: set it to the namespace of the WorkloadGroup";
            self.problems.push(environment.missing("POD_NAMESPACE", what));
        }
        let (discovery, ca) = self.servers(discovery_address);
        let (metadata, labels) = self.metadata();
        let text = |key: &str, default: &str| environment.text(key).unwrap_or(default).to_owned();
        let config = Config {
            discovery: vec![discovery],
            ca: vec![ca],
            istiod_name: environment.text("ISTIOD_SAN").map(str::to_owned),
            hosts: BTreeMap::new(),
            roots: Vec::new(),
            roots_file: None,
            istiod_roots: Vec::new(),
            token_file: None,
            bootstrap: None,
            namespace: namespace.unwrap_or_default().to_owned(),
            service_account: text("SERVICE_ACCOUNT", "default"),
            cluster_id: text("ISTIO_META_CLUSTER_ID", "Kubernetes"),
            network: text("ISTIO_META_NETWORK", ""),
            dns_domain: format!("{}.svc.cluster.local", namespace.unwrap_or_default()),
            name: text("POD_NAME", host.name.as_deref().unwrap_or("vm")),
            addresses: self.addresses(&host.addresses),
            locality: None,
            labels: labels.into_iter().chain(file_labels).collect(),
            metadata,
            ca_headers: self.headers("CA_HEADER_"),
            xds_headers: self.headers("XDS_HEADER_"),
            certificate_ttl: self.certificate_ttl(),
            renewal: Renewal {
                grace: self.ratio("SECRET_GRACE_PERIOD_RATIO", |ratio| ratio > 0.0 && ratio < 1.0, 0.5),
                jitter: self.ratio(
                    "SECRET_GRACE_PERIOD_RATIO_JITTER",
                    |ratio| (0.0..1.0).contains(&ratio),
                    0.01,
                ),
            },
            cert_signer: environment.text("ISTIO_META_CERT_SIGNER").map(str::to_owned),
            join_timeout: Duration::from_secs(15),
            idle_endpoints: ENDPOINT_IDLE_TIMEOUT,
            trust_domain: environment.text("TRUST_DOMAIN").map(str::to_owned),
            key_type: self.key_type(),
            certificate_files: None,
            state_dir: environment.text("SIDESTEP_STATE_DIR").map(PathBuf::from),
            snapshot_age: SNAPSHOT_AGE,
            max_push_bytes: MAX_PUSH_BYTES,
        };
        namespace.map(|_| config)
    }

    /// Returns the addresses of istiod's xDS server (istio `tools/packaging/common/istio-start.sh`) and of its CA.
    pub(super) fn servers(
        &mut self,
        discovery_address: Option<&DiscoveryAddress>,
    ) -> (ServerAddress, ServerAddress) {
        let environment = self.environment;
        let host =
            format!("istiod.{}.svc", environment.text("ISTIO_SYSTEM_NAMESPACE").unwrap_or("istio-system"));
        let usual = ServerAddress::new(host.clone(), super::address::PORT);
        let discovery = if let Some(variable) = environment.get("PILOT_ADDRESS") {
            self.server(variable)
        } else if let Some(port) = environment.get("ISTIO_PILOT_PORT") {
            port.text
                .parse()
                .map(|port| ServerAddress::new(host, port))
                .map_err(|_| {
                    self.problems.push(port.problem(format!("`{}` is not a port", port.text)));
                })
                .ok()
        } else {
            discovery_address.and_then(|given| {
                let address = given.text.parse::<ServerAddress>().map_err(|error| error.to_string());
                address
                    .and_then(require_tls_port)
                    .map_err(|what| self.problems.push(given.problem(what)))
                    .ok()
            })
        };
        let discovery = discovery.unwrap_or(usual);
        let ca = environment.get("CA_ADDR").and_then(|variable| self.server(variable));
        (discovery.clone(), ca.unwrap_or(discovery))
    }

    fn server(&mut self, variable: Variable<'_>) -> Option<ServerAddress> {
        let address = variable.text.parse::<ServerAddress>().map_err(|error| error.to_string());
        address.and_then(require_tls_port).map_err(|what| self.problems.push(variable.problem(what))).ok()
    }

    /// Returns the addresses of this workload: the configured ones, then those of the host (`for_host`).
    pub(super) fn addresses(&mut self, for_host: &[IpAddr]) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = Vec::new();
        let set = ["ISTIO_SVC_IP", "INSTANCE_IP"].into_iter().filter_map(|key| self.environment.get(key));
        for variable in set {
            match variable.text.parse() {
                Ok(ip) => addresses.push(ip),
                Err(_) => {
                    self.problems.push(variable.problem(format!("`{}` is not an IP address", variable.text)));
                }
            }
        }
        addresses.extend(for_host);
        if addresses.is_empty() {
            addresses.push(IpAddr::from([127, 0, 0, 1]));
        }
        let mut seen = Vec::new();
        addresses.retain(|ip| {
            let new = !seen.contains(ip);
            seen.push(*ip);
            new
        });
        addresses
    }

    /// Adds a problem if `CA_PROVIDER` selects another CA than that of istiod, whose name is Citadel (istio
    /// `pkg/istio-agent/plugins.go`).
    pub(super) fn ca_provider(&mut self) {
        if let Some(variable) =
            self.environment.get("CA_PROVIDER").filter(|variable| variable.text != "Citadel")
        {
            let what = format!(
                "the CA `{}` is not supported: unset the variable to use the CA of istiod, or configure certificate files that another program renews",
                variable.text
            );
            self.problems.push(variable.problem(what));
        }
    }

    /// Returns the certificate lifetime to request: `SECRET_TTL`, a duration in Go's format; one day if it is not set.
    pub(super) fn certificate_ttl(&mut self) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let Some(variable) = self.environment.get("SECRET_TTL") else { return DAY };
        parse_go(variable.text).filter(|ttl| ttl.as_secs() > 0).unwrap_or_else(|| {
            let what = format!("`{}` is not a duration such as 24h or 30m", variable.text);
            self.problems.push(variable.problem(what));
            DAY
        })
    }

    /// Returns the ratio in the variable `key`; `default` if the variable is not set, or if `valid` rejects its value.
    pub(super) fn ratio(&mut self, key: &str, valid: impl Fn(f64) -> bool, default: f64) -> f64 {
        let Some(variable) = self.environment.get(key) else { return default };
        let ratio = variable.text.parse().ok().filter(|ratio| valid(*ratio));
        ratio.unwrap_or_else(|| {
            let what = format!("`{}` is not a ratio between 0 and 1", variable.text);
            self.problems.push(variable.problem(what));
            default
        })
    }

    /// Returns the key type that the variables select (istio `pilot/cmd/pilot-agent/options/options.go`).
    pub(super) fn key_type(&mut self) -> KeyType {
        if let Some(variable) = self.environment.get("ECC_SIGNATURE_ALGORITHM") {
            let curve = self.environment.text("ECC_CURVE").unwrap_or("P256");
            match (variable.text, curve) {
                ("ECDSA", "P256") => return KeyType::P256,
                ("ECDSA", "P384") => return KeyType::P384,
                _ => {
                    let what =
                        format!("`{}` on {curve} is not supported: use ECDSA on P256 or P384", variable.text);
                    self.problems.push(variable.problem(what));
                }
            }
        } else if let Some(variable) = self.environment.get("WORKLOAD_RSA_KEY_SIZE") {
            match variable.text {
                "2048" => return KeyType::Rsa2048,
                "3072" => return KeyType::Rsa3072,
                "4096" => return KeyType::Rsa4096,
                other => self.problems.push(variable.problem(format!("`{other}` is not 2048, 3072 or 4096"))),
            }
        }
        KeyType::default()
    }

    /// Returns the request headers in the variables that start with `prefix`: `CA_HEADER_X` or `XDS_HEADER_X` sets the
    /// header `x`.
    pub(super) fn headers(&mut self, prefix: &str) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        for (name, variable) in self.environment.with_prefix(prefix) {
            let name = name.to_ascii_lowercase();
            let valid = http::HeaderName::try_from(&name).is_ok()
                && http::HeaderValue::try_from(variable.text).is_ok();
            if valid {
                headers.push((name, variable.text.to_owned()));
            } else {
                self.problems.push(variable.problem("is not a valid HTTP header"));
            }
        }
        headers
    }

    /// Returns the paths in `XDS_ROOT_CA` and `CA_ROOT_CA`. The files contain additional roots for the certificate of
    /// istiod.
    pub(super) fn istiod_roots(&mut self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for variable in ["XDS_ROOT_CA", "CA_ROOT_CA"].into_iter().filter_map(|key| self.environment.get(key))
        {
            if variable.text != "SYSTEM" {
                files.push(PathBuf::from(variable.text));
            } else if let Some(file) = SYSTEM_ROOTS.into_iter().map(PathBuf::from).find(|file| file.exists())
            {
                files.push(file);
            } else {
                let what = format!(
                    "the system has no roots at {}: set the path of the file with the roots",
                    SYSTEM_ROOTS.join(", ")
                );
                self.problems.push(variable.problem(what));
            }
        }
        files.dedup();
        files
    }

    /// Returns node metadata and labels, derived from variables like in Istio's agent (istio `pkg/bootstrap/config.go`,
    /// `GetNodeMetaData`): `ISTIO_META_X` sets the key `X` to a string; the objects in `ISTIO_METAJSON_*` are merged
    /// into the metadata; `ISTIO_METAJSON_LABELS` contains the labels.
    pub(super) fn metadata(&mut self) -> (BTreeMap<String, Value>, BTreeMap<String, String>) {
        let texts = self.environment.with_prefix(META);
        let mut metadata: BTreeMap<_, _> =
            texts.map(|(name, variable)| (name.to_owned(), Value::from(variable.text))).collect();
        let mut labels = BTreeMap::new();
        for (name, variable) in self.environment.with_prefix(META_JSON) {
            if variable.text.is_empty() {
                continue;
            }
            let read = if name == LABELS {
                serde_json::from_str(variable.text).map(|read| labels = read)
            } else {
                let object = serde_json::from_str::<BTreeMap<String, Value>>(variable.text);
                object.map(|object| metadata.extend(object))
            };
            if let Err(error) = read {
                self.problems.push(variable.problem(format!("is not a JSON object: {error}")));
            }
        }
        metadata.retain(|key, _| !NEVER_SENT.contains(&key.as_str()));
        (metadata, labels)
    }
}

/// Rejects the plaintext port of istiod, on which it issues no certificates (istio `pkg/istio-agent/plugins.go`).
pub(super) fn require_tls_port(address: ServerAddress) -> Result<ServerAddress, String> {
    match address.port {
        15010 => Err("is the plaintext port of istiod: use its TLS port, 15012".to_owned()),
        _ => Ok(address),
    }
}
