//! The folder that `istioctl x workload entry configure` writes (istio `istioctl/pkg/workload/workload.go`).

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{Config, ServerAddress, env_file, host::Host, mesh_yaml};
use crate::{KeyType, Problem, clock::Clock, duration::parse_go, transport};

const META: &str = "ISTIO_META_";
const META_JSON: &str = "ISTIO_METAJSON_";

/// Metadata of the VM files that an outbound client must not repeat.
const NEVER_SENT: &[&str] = &[
    // Would make this process an endpoint that serves nothing.
    "AUTO_REGISTER_GROUP",
    "WORKLOAD_ENTRY",
    // Would hide endpoints of other networks.
    "REQUESTED_NETWORK_VIEW",
    // Would replace the Envoy generator by one without SNI, ALPN and mTLS.
    "GENERATOR",
];

/// Reads the folder; all problems together.
pub(super) fn read(dir: &Path, host: &Host) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader { dir, problems: Vec::new() };
    let environment = reader.environment();
    let roots = reader.roots();
    let hosts = reader.hosts();
    let token_file = reader.token_file();
    let config = reader.config(&environment, host);
    match config {
        Some(config) if reader.problems.is_empty() => {
            let roots_file = Some(dir.join("root-cert.pem"));
            Ok(Config { roots, roots_file, hosts, token_file: Some(token_file), ..config })
        }
        _ => Err(reader.problems),
    }
}

struct Reader<'a> {
    dir: &'a Path,
    problems: Vec<Problem>,
}

/// The variables of `cluster.env` over the `proxyMetadata` of `mesh.yaml`, as istioctl writes each into both.
struct Environment {
    variables: BTreeMap<String, String>,
    discovery_address: Option<String>,
}

impl Environment {
    /// A variable that is set to something.
    fn get(&self, key: &str) -> Option<&str> {
        self.variables.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl Reader<'_> {
    fn text(&mut self, name: &str, required: bool) -> (PathBuf, Option<String>) {
        let path = self.dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => (path, Some(text)),
            Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => (path, None),
            Err(error) => {
                let what = format!(
                    "cannot be read ({error}): write it anew with `istioctl x workload entry configure`"
                );
                self.problems.push(Problem::new(what).in_file(&path));
                (path, None)
            }
        }
    }

    fn environment(&mut self) -> Environment {
        let (path, text) = self.text("cluster.env", true);
        let (variables, problems) = env_file::parse(&text.unwrap_or_default());
        self.problems.extend(problems.into_iter().map(|problem| problem.in_file(&path)));

        let (path, text) = self.text("mesh.yaml", false);
        let proxy_config = mesh_yaml::parse(&text.unwrap_or_default()).unwrap_or_else(|problem| {
            self.problems.push(problem.in_file(&path));
            mesh_yaml::ProxyConfig::default()
        });
        let mut all = proxy_config.proxy_metadata;
        all.extend(variables);
        Environment { variables: all, discovery_address: proxy_config.discovery_address }
    }

    fn roots(&mut self) -> Vec<CertificateDer<'static>> {
        let (path, text) = self.text("root-cert.pem", true);
        let Some(text) = text else { return Vec::new() };
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match roots {
            Ok(roots) if !roots.is_empty() => return roots,
            Ok(_) => self.problems.push(Problem::new("holds no certificate in PEM").in_file(path)),
            Err(error) => self.problems.push(Problem::new(format!("is not PEM: {error}")).in_file(path)),
        }
        Vec::new()
    }

    fn hosts(&mut self) -> BTreeMap<String, Vec<IpAddr>> {
        let (path, text) = self.text("hosts", false);
        let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for (index, line) in text.unwrap_or_default().lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next() else { continue };
            match address.parse() {
                Ok(ip) => words.for_each(|name| hosts.entry(name.to_ascii_lowercase()).or_default().push(ip)),
                Err(_) => self.problems.push(
                    Problem::new(format!("`{address}` is not an IP address"))
                        .in_file(&path)
                        .at_line(index + 1),
                ),
            }
        }
        hosts
    }

    fn token_file(&mut self) -> PathBuf {
        let (path, text) = self.text("istio-token", true);
        if text.is_some_and(|text| text.trim().is_empty()) {
            let what = "is empty: write a token with `istioctl x workload entry configure` or `kubectl create token --audience istio-ca`";
            self.problems.push(Problem::new(what).in_file(&path));
        }
        path
    }

    fn config(&mut self, environment: &Environment, host: &Host) -> Option<Config> {
        let file = self.dir.join("cluster.env");
        let namespace = environment.get("POD_NAMESPACE").or_else(|| environment.get("ISTIO_NAMESPACE"));
        if namespace.is_none() {
            let what = "is not set: it must name the namespace of the WorkloadGroup";
            self.problems.push(Problem::new(what).in_file(&file).about("POD_NAMESPACE"));
        }
        let service_account = environment.get("SERVICE_ACCOUNT").unwrap_or("default");
        let discovery = self.address(
            environment,
            &["PILOT_ADDRESS"],
            environment.discovery_address.as_deref(),
            ServerAddress::istiod(),
        );
        let ca = self.address(environment, &["CA_ADDR", "PILOT_ADDRESS"], None, discovery.clone());
        let (metadata, labels) = self.metadata(environment);
        let namespace = namespace?;
        Some(Config {
            discovery: vec![discovery],
            ca: vec![ca],
            istiod_name: environment.get("ISTIOD_SAN").map(str::to_owned),
            hosts: BTreeMap::new(),
            roots: Vec::new(),
            roots_file: None,
            token_file: None,
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            cluster_id: environment.get("ISTIO_META_CLUSTER_ID").unwrap_or("Kubernetes").to_owned(),
            network: environment.get("ISTIO_META_NETWORK").unwrap_or_default().to_owned(),
            dns_domain: format!("{namespace}.svc.cluster.local"),
            name: environment.get("POD_NAME").or(host.name.as_deref()).unwrap_or("vm").to_owned(),
            addresses: self.addresses(environment, host),
            locality: None,
            labels,
            metadata,
            certificate_ttl: self.certificate_ttl(environment),
            join_timeout: Duration::from_secs(15),
            provider: None,
            trust_domain: environment.get("TRUST_DOMAIN").map(str::to_owned),
            key_type: KeyType::default(),
            certificate_files: None,
            state_dir: None,
            clock: Clock::system(),
            transport: Arc::new(transport::System),
        })
    }

    fn address(
        &mut self,
        environment: &Environment,
        keys: &[&str],
        from_mesh_yaml: Option<&str>,
        default: ServerAddress,
    ) -> ServerAddress {
        let variable =
            keys.iter().find_map(|key| environment.get(key).map(|value| ("cluster.env", *key, value)));
        let yaml = from_mesh_yaml.map(|value| ("mesh.yaml", "defaultConfig.discoveryAddress", value));
        let Some((file, key, value)) = variable.or(yaml) else {
            return default;
        };
        let problem = match value.parse::<ServerAddress>() {
            // istiod's plaintext port (istio `pkg/istio-agent/plugins.go`): it issues no certificate there.
            Ok(address) if address.port == 15010 => {
                Problem::new("is istiod's plaintext port: name its TLS port, 15012")
            }
            Ok(address) => return address,
            Err(error) => Problem::new(error.to_string()),
        };
        self.problems.push(problem.in_file(self.dir.join(file)).about(key));
        default
    }

    fn addresses(&mut self, environment: &Environment, host: &Host) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for key in ["ISTIO_SVC_IP", "INSTANCE_IP"] {
            let Some(value) = environment.get(key) else {
                continue;
            };
            match value.parse() {
                Ok(ip) => addresses.push(ip),
                Err(_) => self.problems.push(
                    Problem::new(format!("`{value}` is not an IP address"))
                        .in_file(self.dir.join("cluster.env"))
                        .about(key),
                ),
            }
        }
        addresses.extend(&host.addresses);
        if addresses.is_empty() {
            addresses.push(IpAddr::from([127, 0, 0, 1]));
        }
        let mut seen = Vec::new();
        addresses.retain(|ip| {
            !seen.contains(ip) && {
                seen.push(*ip);
                true
            }
        });
        addresses
    }

    /// `SECRET_TTL` as Go writes durations, in whole units: `24h`, `30m`, `90s`, `1h30m`.
    fn certificate_ttl(&mut self, environment: &Environment) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let Some(text) = environment.get("SECRET_TTL") else {
            return DAY;
        };
        parse_go(text).filter(|ttl| !ttl.is_zero()).unwrap_or_else(|| {
            let what = format!("`{text}` is not a duration such as 24h or 30m");
            let file = self.dir.join("cluster.env");
            self.problems.push(Problem::new(what).in_file(file).about("SECRET_TTL"));
            DAY
        })
    }

    /// Node metadata and labels, as the agent makes them from its variables (istio `pkg/bootstrap/config.go`,
    /// `GetNodeMetaData`): `ISTIO_META_X` is the text `X`; the object in any `ISTIO_METAJSON_*` is merged at the top,
    /// and that of `ISTIO_METAJSON_LABELS` are the labels.
    fn metadata(
        &mut self,
        environment: &Environment,
    ) -> (BTreeMap<String, serde_json::Value>, BTreeMap<String, String>) {
        let (mut metadata, mut labels) = (BTreeMap::new(), BTreeMap::new());
        for (key, value) in &environment.variables {
            if let Some(name) = key.strip_prefix(META) {
                metadata.insert(name.to_owned(), value.as_str().into());
            } else if key.starts_with(META_JSON) && !value.is_empty() {
                let problem = |error: serde_json::Error| {
                    let file = self.dir.join("cluster.env");
                    Problem::new(format!("is not a JSON object: {error}")).in_file(file).about(key)
                };
                if key == "ISTIO_METAJSON_LABELS" {
                    match serde_json::from_str(value) {
                        Ok(texts) => labels = texts,
                        Err(error) => self.problems.push(problem(error)),
                    }
                } else {
                    match serde_json::from_str::<BTreeMap<String, serde_json::Value>>(value) {
                        Ok(object) => metadata.extend(object),
                        Err(error) => self.problems.push(problem(error)),
                    }
                }
            }
        }
        metadata.retain(|key, _| !NEVER_SENT.contains(&key.as_str()));
        (metadata, labels)
    }
}
