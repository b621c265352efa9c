//! Installed paths, environment and builder, and their precedence.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;
use crate::config::{KeyType, builder::ConfigBuilder};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Creates the files of Istio's package for VMs as in Istio's documentation.
fn installed() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| write(root.path(), path, text);
    write("var/lib/istio/envoy/cluster.env", CLUSTER_ENV);
    write(
        "var/lib/istio/envoy/sidecar.env",
        "ISTIO_META_NETWORK=other\nISTIO_META_MESH_ID=mesh9\nSECRET_TTL=2h\n",
    );
    write("etc/istio/config/mesh", MESH_YAML);
    write("etc/istio/pod/labels", "app=\"edge-2\"\nversion=\"v1\"\n");
    write("var/run/secrets/tokens/istio-token", "a.b.c");
    write("etc/certs/root-cert.pem", &super::root());
    root
}

fn host() -> host::Host {
    host::Host { name: Some("vm-7".into()), addresses: vec![[192, 0, 2, 7].into()] }
}

fn build(builder: ConfigBuilder) -> Config {
    builder.read(&host()).unwrap()
}

fn problems(builder: ConfigBuilder) -> Vec<String> {
    builder.read(&host()).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn the_paths_of_istios_package_are_a_configuration() {
    let root = installed();
    let config = Config::from_installed(root.path()).unwrap();
    assert_eq!((config.namespace(), config.service_account()), ("vms", "edge-app"));
    assert_eq!(config.network(), "vm-network", "cluster.env takes precedence over sidecar.env");
    assert_eq!(config.certificate_ttl, Duration::from_secs(7200), "sidecar.env");
    assert_eq!(config.metadata["WORKLOAD_NAME"], "edge-app", "the mesh file");
    assert_eq!(
        (&config.labels["app"][..], &config.labels["version"][..]),
        ("edge-2", "v1"),
        "the labels file"
    );
    assert!(config.bootstrap.is_none());
    let token = root.path().join("var/run/secrets/tokens/istio-token");
    assert_eq!(config.token_file(), Some(&*token));
}

#[test]
fn a_certificate_of_istios_agent_replaces_the_token() {
    let root = installed();
    write(root.path(), "etc/certs/key.pem", "");
    write(root.path(), "etc/certs/cert-chain.pem", "");
    fs::remove_file(root.path().join("var/run/secrets/tokens/istio-token")).unwrap();
    let config = Config::from_installed(root.path()).unwrap();
    assert_eq!(config.bootstrap.unwrap().key, root.path().join("etc/certs/key.pem"));
}

#[test]
fn each_missing_file_of_the_package_is_a_problem() {
    let root = tempfile::tempdir().unwrap();
    let problems = problems(Config::builder().with_installed(root.path()));
    for file in ["cluster.env", "root-cert.pem", "istio-token", "POD_NAMESPACE"] {
        assert!(problems.iter().any(|problem| problem.contains(file)), "{file} in {problems:#?}");
    }
}

#[test]
fn values_take_precedence_over_variables_and_variables_over_files() {
    let root = installed();
    let variables = [("SERVICE_ACCOUNT", "from-env"), ("POD_NAMESPACE", "env"), ("ISTIO_META_NETWORK", "")];
    let config =
        build(Config::builder().with_installed(root.path()).with_env(variables).with_namespace("named"));
    assert_eq!((config.namespace(), config.service_account()), ("named", "from-env"));
    assert_eq!(config.network(), "", "an empty variable replaces the value of a file");
    assert_eq!(config.cluster_id(), "cluster1", "from a file");
}

#[test]
fn an_environment_with_the_paths_of_files_is_a_configuration() {
    let dir = vm_files();
    let vm_files = dir.path().display().to_string();
    let config =
        Config::from_env([("SIDESTEP_VM_FILES", &vm_files[..]), ("SIDESTEP_STATE_DIR", "/state")]).unwrap();
    assert_eq!(config.namespace(), "vms");
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/state")));
}

#[test]
fn a_variable_that_is_not_utf_8_is_a_problem_only_if_it_is_read() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};
    let dir = vm_files();
    let not_text = || OsString::from_vec(vec![b'/', 0xff]);
    let of = |name: &str| (OsString::from(name), not_text());
    let builder = || Config::builder().with_vm_files(dir.path());
    let others = [of("LESSOPEN"), of("XISTIO_META_A"), (not_text(), not_text())];
    assert_eq!(build(builder().with_env(others)).namespace(), "vms");
    let needed =
        ["SERVICE_ACCOUNT", "ISTIO_META_A", "ISTIO_METAJSON_A", "CA_HEADER_A", "PROXY_CONFIG", "SECRET_TTL"];
    for name in needed {
        let problems = problems(builder().with_env([of(name)]));
        assert_eq!(problems, [format!("{name}: the value is not UTF-8: correct or unset the variable")]);
    }
    let config = build(builder().with_env([of("SIDESTEP_STATE_DIR")]));
    assert_eq!(config.state_dir, Some(PathBuf::from(not_text())), "a path may have any bytes");
}

#[test]
fn a_builder_works_without_files_of_istioctl() {
    let dir = vm_files();
    let token = dir.path().join("istio-token");
    let builder = Config::builder().with_namespace("vms").with_roots_pem(root());
    let config = build(builder.clone().with_token_file(&token));
    assert_eq!((config.service_account(), &config.name[..]), ("default", "vm-7"));
    assert_eq!(config.roots.len(), 1);
    let files = ["chain.pem", "key.pem", "root-cert.pem"].map(|name| dir.path().join(name));
    let [chain, key, roots] = files;
    let config = build(builder.with_certificate_files(chain, key, roots));
    assert!(config.certificate_files.is_some() && config.token_file().is_none());
}

#[test]
fn an_empty_builder_reports_everything_that_is_missing() {
    let problems = problems(Config::builder());
    for part in ["POD_NAMESPACE", "the roots", "the token"] {
        assert!(problems.iter().any(|problem| problem.starts_with(part)), "{part} in {problems:#?}");
    }
}

#[test]
fn each_supported_variable_of_istios_agent_is_used() {
    let dir = vm_files();
    let roots = dir.path().join("root-cert.pem").display().to_string();
    let variables = [
        ("CA_ADDR", "istiod-canary.istio-system.svc:15012"),
        ("ISTIO_PILOT_PORT", "16012"),
        ("ISTIO_SYSTEM_NAMESPACE", "mesh-system"),
        ("ISTIOD_SAN", "istiod.example"),
        ("SECRET_TTL", "90m"),
        ("SECRET_GRACE_PERIOD_RATIO", "0.25"),
        ("SECRET_GRACE_PERIOD_RATIO_JITTER", "0.1"),
        ("ISTIO_META_CERT_SIGNER", "clusterissuers.cert-manager.io/mesh"),
        ("CA_PROVIDER", "Citadel"),
        ("WORKLOAD_RSA_KEY_SIZE", "2048"),
        ("TRUST_DOMAIN", "prod.example"),
        ("CA_HEADER_X-Tenant", "one"),
        ("XDS_HEADER_X-Tenant", "two"),
        ("XDS_ROOT_CA", &roots),
        ("ISTIO_METAJSON_EXTRA", r#"{"OWNER":{"team":"edge"}}"#),
        ("POD_NAME", "vm-9"),
        ("PROXY_CONFIG", "discoveryAddress: ignored:15012\nproxyMetadata: {ISTIO_META_MESH_ID: m2}"),
    ];
    let config = build(Config::builder().with_vm_files(dir.path()).with_env(variables));
    assert_eq!(config.ca[0].to_string(), "istiod-canary.istio-system.svc:15012");
    assert_eq!(config.istiod_address().to_string(), "istiod.mesh-system.svc:16012");
    assert_eq!(config.istiod_name.as_deref(), Some("istiod.example"));
    assert_eq!(config.certificate_ttl.as_secs(), 5400);
    assert_eq!((config.renewal.grace, config.renewal.jitter), (0.25, 0.1));
    assert_eq!(config.cert_signer.as_deref(), Some("clusterissuers.cert-manager.io/mesh"));
    assert_eq!(config.key_type, KeyType::Rsa2048);
    assert_eq!(config.trust_domain.as_deref(), Some("prod.example"));
    assert_eq!(config.ca_headers, [("x-tenant".to_owned(), "one".to_owned())]);
    assert_eq!(config.xds_headers, [("x-tenant".to_owned(), "two".to_owned())]);
    assert_eq!(config.istiod_roots.len(), 1);
    assert_eq!(config.metadata["OWNER"]["team"], "edge");
    assert_eq!(config.name, "vm-9");
}

#[test]
fn the_discovery_address_of_a_proxy_configuration_takes_precedence() {
    let dir = vm_files();
    let proxy = [("PROXY_CONFIG", "discoveryAddress: istiod-rev.istio-system.svc:15012")];
    let config = build(Config::builder().with_vm_files(dir.path()).with_env(proxy));
    assert_eq!(config.istiod_address().host, "istiod-rev.istio-system.svc");
}

#[test]
fn invalid_values_are_reported_with_their_variables() {
    let dir = vm_files();
    let variables = [
        ("PILOT_ADDRESS", "istiod:15010"),
        ("SECRET_TTL", "soon"),
        ("SECRET_GRACE_PERIOD_RATIO", "2"),
        ("SECRET_GRACE_PERIOD_RATIO_JITTER", "-0.1"),
        ("CA_PROVIDER", "GoogleCA"),
        ("ECC_SIGNATURE_ALGORITHM", "ED25519"),
        ("CA_HEADER_a b", "c"),
        ("ISTIO_METAJSON_LABELS", "[]"),
        ("PROXY_CONFIG", "["),
        ("INSTANCE_IP", "here"),
    ];
    let problems = problems(Config::builder().with_vm_files(dir.path()).with_env(variables));
    for (key, _) in variables {
        assert!(problems.iter().any(|problem| problem.starts_with(key)), "{key} in {problems:#?}");
    }
}

#[test]
fn the_roots_of_the_system_can_verify_istiod() {
    let dir = vm_files();
    let with = |value: &str| Config::builder().with_vm_files(dir.path()).with_env([("XDS_ROOT_CA", value)]);
    match with("SYSTEM").build() {
        Ok(config) => assert!(crate::identity::root_store(&config.istiod_roots).unwrap().len() > 10),
        Err(error) => assert!(error.to_string().contains("XDS_ROOT_CA"), "a system without roots: {error}"),
    }
    assert!(problems(with("/nowhere/roots.pem"))[0].starts_with("/nowhere/roots.pem"));
}

#[test]
fn an_ip_address_keeps_the_verified_name_of_the_replaced_address() {
    let dir = vm_files();
    let builder = Config::builder().with_vm_files(dir.path());
    let gateway = [ServerAddress::new("192.0.2.9", 15012), ServerAddress::new("192.0.2.10", 15012)];
    let moved = build(builder.clone().with_istiod_addresses(gateway));
    assert_eq!(moved.istiod_name.as_deref(), Some("istiod.istio-system.svc"));
    assert_eq!(moved.discovery.len(), 2);
    let renamed = build(builder.with_istiod_address(ServerAddress::new("istiod.example", 15012)));
    assert_eq!(renamed.istiod_name, None, "a host name is verified itself");
}

#[test]
fn values_set_by_the_program_replace_those_of_the_sources() {
    let dir = vm_files();
    let config = build(
        Config::builder()
            .with_vm_files(dir.path())
            .with_istiod_address(ServerAddress::new("192.0.2.9", 15012))
            .with_network("network9")
            .with_join_timeout(Duration::from_secs(3))
            .with_state_dir("/var/lib/edge")
            .with_locality("region1/zone1".into()),
    );
    assert_eq!(config.istiod_address().to_string(), "192.0.2.9:15012");
    assert_eq!(config.istiod_name.as_deref(), Some("istiod.istio-system.svc"), "still verified");
    assert_eq!((config.network(), config.join_timeout()), ("network9", Duration::from_secs(3)));
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/var/lib/edge")));
    assert_eq!(config.locality.unwrap().zone, "zone1");
}

#[test]
fn invalid_values_set_by_the_program_are_problems() {
    let dir = vm_files();
    let builder = Config::builder()
        .with_vm_files(dir.path())
        .with_istiod_name("not a name")
        .with_istiod_addresses([ServerAddress::new("istiod", 15010), ServerAddress::new("", 1)])
        .with_dns_domain("a..b")
        .with_certificate_ttl(Duration::ZERO)
        .with_state_dir("");
    let problems = problems(builder);
    let keys = [
        "istiod name",
        "istiod address",
        "istiod address",
        "DNS domain",
        "certificate TTL",
        "state directory",
    ];
    assert_eq!(problems.len(), keys.len(), "{problems:?}");
    for (problem, key) in problems.iter().zip(keys) {
        assert!(problem.starts_with(key), "{problem}");
    }
}
