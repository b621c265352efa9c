mod sources;

use std::{collections::BTreeMap, fs, net::IpAddr};

use tempfile::TempDir;

use super::*;
use crate::error::ErrorKind;

impl Config {
    /// Changes some fields.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Returns a configuration with defaults and empty values.
    pub(crate) fn for_tests() -> Self {
        Self {
            discovery: vec![ServerAddress::istiod()],
            ca: vec![ServerAddress::istiod()],
            istiod_name: None,
            hosts: BTreeMap::new(),
            roots: Vec::new(),
            roots_file: None,
            istiod_roots: Vec::new(),
            token_file: None,
            bootstrap: None,
            namespace: String::new(),
            service_account: String::new(),
            cluster_id: String::new(),
            network: String::new(),
            dns_domain: String::new(),
            name: String::new(),
            addresses: Vec::new(),
            locality: None,
            labels: BTreeMap::new(),
            metadata: BTreeMap::new(),
            ca_headers: Vec::new(),
            xds_headers: Vec::new(),
            certificate_ttl: Duration::from_secs(3600),
            renewal: Renewal::default(),
            cert_signer: None,
            join_timeout: Duration::from_secs(15),
            idle_endpoints: ENDPOINT_IDLE_TIMEOUT,
            trust_domain: None,
            key_type: KeyType::default(),
            certificate_files: None,
            state_dir: None,
            snapshot_age: SNAPSHOT_AGE,
            max_push_bytes: MAX_PUSH_BYTES,
        }
    }
}

const CLUSTER_ENV: &str = "CA_ADDR='istiod.istio-system.svc:15012'
CANONICAL_SERVICE='edge-app'
ISTIO_METAJSON_LABELS='{\"app\":\"edge\",\"service.istio.io/canonical-name\":\"edge-app\"}'
ISTIO_META_AUTO_REGISTER_GROUP='edge-app'
ISTIO_META_CLUSTER_ID='cluster1'
ISTIO_META_DNS_CAPTURE='true'
ISTIO_META_MESH_ID=''
ISTIO_META_NETWORK='vm-network'
ISTIO_NAMESPACE='vms'
ISTIO_SVC_IP='10.9.8.7'
POD_NAMESPACE='vms'
SERVICE_ACCOUNT='edge-app'
TRUST_DOMAIN=''
";
const MESH_YAML: &str = "defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
  proxyMetadata:
    ISTIO_META_WORKLOAD_NAME: edge-app
    ISTIO_META_CLUSTER_ID: other
  readinessProbe:
    httpGet: {port: 8080}
";

fn root() -> String {
    rcgen::generate_simple_self_signed(["root".to_owned()]).unwrap().cert.pem()
}

fn vm_files() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("cluster.env", CLUSTER_ENV);
    write("mesh.yaml", MESH_YAML);
    write("istio-token", "a.b.c\n");
    write("root-cert.pem", &root());
    write("hosts", "192.0.2.1 istiod.istio-system.svc\n");
    dir
}

fn problems(dir: &TempDir) -> Vec<String> {
    let error = Config::from_vm_files(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let shown =
        |problem: &ConfigProblem| problem.to_string().replace(&format!("{}/", dir.path().display()), "");
    error.problems().iter().map(shown).collect()
}

#[test]
fn the_directory_written_by_istioctl_is_a_configuration() {
    let config = Config::from_vm_files(vm_files().path()).unwrap();
    assert_eq!((config.namespace(), config.service_account()), ("vms", "edge-app"));
    assert_eq!((config.cluster_id(), config.network()), ("cluster1", "vm-network"));
    assert_eq!(config.dns_domain(), "vms.svc.cluster.local");
    assert_eq!(config.discovery, [ServerAddress::new("istiod.istio-system.svc", 15012)]);
    assert_eq!(config.hosts["istiod.istio-system.svc"], ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(config.addresses[0], "10.9.8.7".parse::<IpAddr>().unwrap());
    assert_eq!(config.labels["app"], "edge");
    assert_eq!(config.metadata["WORKLOAD_NAME"], "edge-app", "from mesh.yaml");
    assert_eq!(config.metadata["CLUSTER_ID"], "cluster1", "cluster.env takes precedence over mesh.yaml");
    assert!(!config.metadata.contains_key("AUTO_REGISTER_GROUP"));
}

#[test]
fn all_problems_of_all_files_are_reported_together() {
    let dir = vm_files();
    fs::write(dir.path().join("cluster.env"), "nonsense\nISTIO_SVC_IP=here\nCA_ADDR=istiod:15010\n").unwrap();
    fs::write(dir.path().join("mesh.yaml"), "defaultConfig: [").unwrap();
    fs::write(dir.path().join("istio-token"), " \n").unwrap();
    fs::write(dir.path().join("root-cert.pem"), "no certificate").unwrap();
    fs::write(dir.path().join("hosts"), "istiod 192.0.2.1\n").unwrap();
    let problems = problems(&dir);
    let starts = [
        "cluster.env:1: the line is not of the form KEY=value",
        "mesh.yaml:1: not a mesh configuration",
        "root-cert.pem: contains no certificate",
        "hosts:1: `istiod` is not an IP address",
        "istio-token: is empty",
        "cluster.env: POD_NAMESPACE: is not set",
        "cluster.env: CA_ADDR: is the plaintext port of istiod",
    ];
    for start in starts {
        assert!(problems.iter().any(|problem| problem.starts_with(start)), "{start} in {problems:#?}");
    }
}

#[test]
fn comments_between_roots_are_ignored_and_each_root_must_be_usable() {
    let dir = vm_files();
    let file = dir.path().join("root-cert.pem");
    let [first, second] = [root(), root()];
    let noted = [b"Aussteller: M\xfcller\n", first.as_bytes(), b"\n# the next one\n", second.as_bytes()];
    fs::write(&file, noted.concat()).unwrap();
    assert_eq!(Config::from_vm_files(dir.path()).unwrap().roots.len(), 2);
    let nonsense = "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n";
    fs::write(&file, root() + nonsense).unwrap();
    assert!(
        problems(&dir)[0].starts_with("root-cert.pem: a root certificate cannot be used"),
        "{:?}",
        problems(&dir)
    );
}

#[test]
fn every_yaml_form_of_the_mesh_file_is_accepted() {
    let dir = vm_files();
    let variables = "cluster.env";
    fs::write(dir.path().join(variables), "POD_NAMESPACE=vms\n").unwrap();
    let ways = [
        "---\n# a comment\ndefaultConfig: {proxyMetadata: {ISTIO_META_NETWORK: net-1}}\n",
        "x: &metadata\n  ISTIO_META_NETWORK: net-1\ndefaultConfig:\n  proxyMetadata: *metadata\n",
        "x: &metadata\n  ISTIO_META_NETWORK: net-1\ndefaultConfig:\n  proxyMetadata:\n    <<: *metadata\n",
        "{\"defaultConfig\": {\"proxyMetadata\": {\"ISTIO_META_NETWORK\": \"net-1\", \"A\": \"true\"}}}",
        "defaultConfig:\r\n  discoveryAddress: ''\r\n  proxyMetadata:\r\n    ISTIO_META_NETWORK: net-1\r\n    B: true\r\n    C: 15012\r\n",
    ];
    for way in ways {
        fs::write(dir.path().join("mesh.yaml"), way).unwrap();
        let config = Config::from_vm_files(dir.path()).unwrap_or_else(|error| panic!("{way}: {error}"));
        assert_eq!(config.network(), "net-1", "{way}");
    }
    for nothing in [
        "",
        "# nothing\n",
        "---\n",
        "defaultConfig:\n",
        "defaultConfig:\n  proxyMetadata:\n  discoveryAddress:\n",
    ] {
        fs::write(dir.path().join("mesh.yaml"), nothing).unwrap();
        let config = Config::from_vm_files(dir.path()).unwrap_or_else(|error| panic!("{nothing:?}: {error}"));
        assert_eq!(config.network(), "", "{nothing:?}");
    }
}

#[test]
fn a_missing_token_is_a_problem_with_its_file_and_the_next_step() {
    let dir = vm_files();
    fs::remove_file(dir.path().join("istio-token")).unwrap();
    let problems = problems(&dir);
    assert!(problems[0].starts_with("istio-token: cannot be read"), "{problems:?}");
    assert!(problems[0].contains("istioctl x workload entry configure"));
}

#[test]
fn optional_files_can_be_empty_or_missing() {
    let dir = vm_files();
    fs::remove_file(dir.path().join("mesh.yaml")).unwrap();
    fs::write(dir.path().join("hosts"), "").unwrap();
    let config = Config::from_vm_files(dir.path()).unwrap();
    assert_eq!(config.istiod_address().to_string(), "istiod.istio-system.svc:15012");
}

#[test]
fn unknown_keys_and_special_characters_in_values_are_accepted() {
    let dir = vm_files();
    fs::write(dir.path().join("cluster.env"), format!("{CLUSTER_ENV}SOMETHING_NEW='ü \"x\" #'\n")).unwrap();
    assert!(Config::from_vm_files(dir.path()).is_ok());
}

#[test]
fn debug_prints_no_secret() {
    let config = Config::from_vm_files(vm_files().path()).unwrap();
    assert!(!format!("{config:?}").contains("a.b.c"));
}

#[test]
fn a_missing_directory_is_one_problem() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("nowhere");
    for error in [Config::from_vm_files(&missing), Config::from_installed(&missing)] {
        let error = error.unwrap_err();
        assert_eq!(error.problems().len(), 1, "{error}");
        assert!(error.to_string().starts_with(&missing.display().to_string()), "{error}");
    }
}

#[test]
fn several_problems_are_on_separate_lines() {
    let dir = vm_files();
    fs::write(dir.path().join("istio-token"), "").unwrap();
    fs::write(dir.path().join("root-cert.pem"), "").unwrap();
    let error = Config::from_vm_files(dir.path()).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 3, "{error}");
    assert_eq!(format!("{error:?}"), error.to_string());
}
