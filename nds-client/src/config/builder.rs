//! Combines files, variables and values into a configuration.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    CertificateFiles, Config, KeyType, ServerAddress,
    environment::Environment,
    host::Host,
    overrides::Overrides,
    sources::{Files, Need, Reader, provisioned},
    values::Values,
};
use crate::{
    error::{ConfigProblem, Error},
    resources::locality::Locality,
};

/// Collects the sources of a [`Config`]; [`build`](Self::build) reads them and reports all problems together.
///
/// If several sources contain a setting, the first one in this list is used:
///
/// 1. values set by name ([`with_namespace`](Self::with_namespace), …);
/// 2. variables ([`with_env`](Self::with_env));
/// 3. `cluster.env`, then `sidecar.env`;
/// 4. the annotation `proxy.istio.io/config`, the variable `PROXY_CONFIG`, then `mesh.yaml`: their `discoveryAddress`,
///    and their `proxyMetadata` as variables;
/// 5. the defaults of [`Config`].
///
/// # Examples
///
/// ```no_run
/// use nds_client::{Config, config::ServerAddress};
///
/// let config = Config::builder()
///     .with_namespace("vms")
///     .with_service_account("edge-app")
///     .with_env([("ISTIO_META_CLUSTER_ID", "cluster1"), ("ISTIO_META_NETWORK", "vm-network")])
///     .with_roots_file("/etc/mesh/root-cert.pem")
///     .with_token_file("/run/secrets/istio-token")
///     .with_istiod_address(ServerAddress::new("istiod.example", 15012))
///     .build()?;
/// # Ok::<(), nds_client::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ConfigBuilder {
    named: BTreeMap<String, String>,
    variables: BTreeMap<String, OsString>,
    files: Files,
    roots_pem: Option<Vec<u8>>,
    certificate_files: Option<[PathBuf; 3]>,
    overrides: Overrides,
}

impl Config {
    /// Reads a directory that `istioctl x workload entry configure` wrote: `cluster.env`, `mesh.yaml`, `istio-token`,
    /// `root-cert.pem` and `hosts`. Variables of the form `ISTIO_META_X` and `ISTIO_METAJSON_X` are sent to istiod as
    /// node metadata; other unknown keys are ignored.
    ///
    /// The token file is read again each time the token is used, so that another program can replace the token.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with all problems of all files.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let config = nds_client::Config::from_vm_files("/var/lib/sidestep")?;
    /// # Ok::<(), nds_client::Error>(())
    /// ```
    pub fn from_vm_files(dir: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().with_vm_files(dir).build()
    }

    /// Reads the files of Istio's package for VMs below the directory `root`, as [`ConfigBuilder::with_installed`]
    /// does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with all problems of all files.
    pub fn from_installed(root: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder().with_installed(root).build()
    }

    /// Reads the given environment variables, and the files of Istio's package for VMs if they exist.
    ///
    /// `SIDESTEP_VM_FILES`, `SIDESTEP_TOKEN_FILE`, `ISTIO_CLUSTER_CONFIG`, `ISTIO_SIDECAR_CONFIG` and `PROV_CERT`
    /// contain the paths of files that are in other places.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with all problems of all sources.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// // `std::env::vars` panics if any variable of the process is not UTF-8.
    /// let config = nds_client::Config::from_env(std::env::vars_os())?;
    /// # Ok::<(), nds_client::Error>(())
    /// ```
    pub fn from_env<K: Into<OsString>, V: Into<OsString>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error> {
        Self::builder().with_installed_if_present("/").with_env(variables).build()
    }

    /// Returns a builder, which combines files, variables and values.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }
}

impl ConfigBuilder {
    /// Reads a directory that `istioctl x workload entry configure` wrote.
    pub fn with_vm_files(self, dir: impl AsRef<Path>) -> Self {
        Self { files: Files::vm_files(dir.as_ref()), ..self }
    }

    /// Reads the files at the paths of Istio's package for VMs: `/var/lib/istio/envoy/cluster.env` and `sidecar.env`,
    /// `/etc/istio/config/mesh`, `/var/run/secrets/tokens/istio-token`, `/etc/certs`, `/etc/istio/pod`.
    ///
    /// `root` is prepended to the paths: `/`, or the root of a copy of another machine's files.
    pub fn with_installed(self, root: impl AsRef<Path>) -> Self {
        Self { files: Files::installed(root.as_ref(), Need::Required), ..self }
    }

    pub(super) fn with_installed_if_present(self, root: impl AsRef<Path>) -> Self {
        Self { files: Files::installed(root.as_ref(), Need::Optional), ..self }
    }

    /// Adds variables with the names that Istio's agent reads from its environment. A variable that is passed here
    /// replaces the variable with the same name in a file.
    ///
    /// The environment of the process is not read unless the program passes it here, for example with
    /// [`std::env::vars_os`]. A value may contain any bytes: paths are used as they are. A variable that must be a text
    /// and is not UTF-8 is reported as a problem if the configuration reads it, and is ignored otherwise.
    pub fn with_env<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        // All variables that are read have ASCII names.
        let named = |(key, value): (K, V)| Some((key.into().into_string().ok()?, value.into()));
        self.variables.extend(variables.into_iter().filter_map(named));
        self
    }

    /// Sets the namespace of the workload.
    pub fn with_namespace(self, namespace: impl Into<String>) -> Self {
        self.named("POD_NAMESPACE", namespace)
    }

    /// Sets the service account of the workload.
    pub fn with_service_account(self, service_account: impl Into<String>) -> Self {
        self.named("SERVICE_ACCOUNT", service_account)
    }

    /// Sets the path of the bootstrap token. The file is read again each time the token is used.
    pub fn with_token_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.files.token = Some(file.into());
        self
    }

    /// Sets the path of the mesh roots in PEM. The file is read again before each certificate request and each stream.
    ///
    /// Revocation lists are not used. istiod distributes the list of a plugged-in CA (`ca-crl.pem`) to pods as a
    /// ConfigMap, and sends it neither with certificates nor over xDS.
    pub fn with_roots_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.files.roots = Some(file.into());
        self
    }

    /// Sets the mesh roots as PEM text instead of a file.
    pub fn with_roots_pem(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { roots_pem: Some(pem.into()), ..self }
    }

    /// Uses a certificate that another program (a SPIRE agent, cert-manager) issues and renews, instead of a
    /// certificate from istiod's CA and a token.
    ///
    /// The files are in PEM: the chain with the leaf first, the private key, and the roots of the mesh. They are read
    /// every few seconds. A new pair is used once key and certificate match; until then the previous pair is used.
    pub fn with_certificate_files(
        self,
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        roots: impl Into<PathBuf>,
    ) -> Self {
        Self { certificate_files: Some([chain.into(), key.into(), roots.into()]), ..self }
    }

    /// Sets the DNS name that the certificate of istiod must contain. The name applies to connections to the CA and to
    /// the xDS server of istiod. The name is required if the configured address is not a name in that certificate.
    pub fn with_istiod_name(mut self, name: impl Into<String>) -> Self {
        self.overrides.istiod_name = Some(name.into());
        self
    }

    /// Sets the address of istiod, for its CA and its xDS server.
    ///
    /// If this is an IP address and the other sources contain a host name, the certificate of istiod must still contain
    /// that host name.
    pub fn with_istiod_address(self, address: ServerAddress) -> Self {
        self.with_istiod_addresses([address])
    }

    /// Sets several addresses of istiod, tried in this order. After a failure the next attempt starts with another
    /// address. An empty list has no effect.
    pub fn with_istiod_addresses(mut self, addresses: impl IntoIterator<Item = ServerAddress>) -> Self {
        self.overrides.istiod_addresses = addresses.into_iter().collect();
        self
    }

    /// Sets the maximum time that [`NdsClient::join`](crate::NdsClient::join) and [`ready`](crate::NdsClient::ready)
    /// wait.
    pub fn with_join_timeout(mut self, timeout: Duration) -> Self {
        self.overrides.join_timeout = Some(timeout);
        self
    }

    /// Sets the time, in whole seconds, between the last use of the endpoints of a cluster and the end of their
    /// subscription. The client then drops these endpoints. It drops none while istiod cannot be reached.
    pub fn with_idle_endpoints(mut self, time: Duration) -> Self {
        self.overrides.idle_endpoints = Some(time);
        self
    }

    /// Sets the certificate lifetime to request, in whole seconds. If the CA rejects it, the default lifetime of the CA
    /// is requested.
    pub fn with_certificate_ttl(mut self, ttl: Duration) -> Self {
        self.overrides.certificate_ttl = Some(ttl);
        self
    }

    /// Sets the directory that persists the private key, the certificate, the roots and a snapshot of the resources.
    ///
    /// With a state directory, a VM joins again after a restart although its token has expired, and can resolve names
    /// before istiod answers. The directory is created if it does not exist, with access for the current user only.
    /// Only one client writes to the directory at a time: a second client, of the same or of another process, reports the
    /// conflict in [`Health::storage`](crate::health::Health::storage) and starts to write when the first one has ended.
    /// A forked child does not hold the lock of its parent.
    ///
    /// The contents of the directory decide which endpoints and policies are used before istiod answers. Therefore the
    /// directory is used only if no other user can change them: the directory, its files and the directories above it must
    /// belong to the current user or to root, and must not be writable for group and others. A directory above it may be
    /// writable for others if its sticky bit is set, as in `/tmp`. The directory itself must not be a symbolic link.
    /// Otherwise it is neither read nor written, and [`Health::storage`](crate::health::Health::storage) contains the
    /// reason. Roots in the directory are used in addition to the configured ones, never in their place.
    pub fn with_state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.overrides.state_dir = Some(dir.into());
        self
    }

    /// Sets the maximum age of a snapshot in the state directory that is used before istiod answers. Zero disables
    /// snapshots.
    ///
    /// A snapshot contains the names, the clusters if they were subscribed to, and the endpoints in use.
    pub fn with_snapshot_age(mut self, maximum: Duration) -> Self {
        self.overrides.snapshot_age = Some(maximum);
        self
    }

    /// Sets the maximum size of one message of istiod, in bytes. istiod sends all clusters, and all names, in one message
    /// each.
    ///
    /// The limit bounds the memory that a defective control plane can use. A larger message is not read: the stream ends,
    /// the previous values stay in use, and [`Health::rejected`](crate::health::Health::rejected) names the limit. A
    /// `Sidecar` resource reduces the number of services that istiod sends.
    pub fn with_max_push_bytes(mut self, maximum: usize) -> Self {
        self.overrides.max_push_bytes = Some(maximum);
        self
    }

    /// Sets the type of the workload's private key.
    pub fn with_key_type(mut self, key_type: KeyType) -> Self {
        self.overrides.key_type = Some(key_type);
        self
    }

    /// Sets the locality of this process. If neither this setting nor a label contains the locality, locality failover
    /// has no effect.
    pub fn with_locality(mut self, locality: Locality) -> Self {
        self.overrides.locality = Some(locality);
        self
    }

    /// Sets the DNS domain of the workload. The default is `<namespace>.svc.cluster.local`.
    pub fn with_dns_domain(mut self, domain: impl Into<String>) -> Self {
        self.overrides.dns_domain = Some(domain.into());
        self
    }

    /// Sets the name of the Istio network in which this process runs, for example `vm-network`.
    pub fn with_network(mut self, network: impl Into<String>) -> Self {
        self.overrides.network = Some(network.into());
        self
    }

    fn named(mut self, key: &str, value: impl Into<String>) -> Self {
        self.named.insert(key.to_owned(), value.into());
        self
    }

    /// Reads all sources and builds the configuration.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with all problems of all sources. If the directory with the
    /// files does not exist, no other problem is reported.
    pub fn build(self) -> Result<Config, Error> {
        self.read(&Host::here()).map_err(Error::config)
    }

    pub(super) fn read(mut self, host: &Host) -> Result<Config, Vec<ConfigProblem>> {
        self.apply_paths();
        let Self { named, variables, files, roots_pem, certificate_files, overrides } = self;
        files.missing_dir().map_or(Ok(()), |problem| Err(vec![problem]))?;
        let mut reader = Reader { problems: overrides.problems() };
        let mut environment = Environment::default();
        environment.add(None, named);
        environment.add_passed(variables);
        let (file_labels, discovery_address) = reader.variables(&files, &mut environment);

        let mut values = Values { environment: &environment, problems: std::mem::take(&mut reader.problems) };
        let config = values.config(host, discovery_address.as_ref(), file_labels);
        if certificate_files.is_none() {
            values.ca_provider();
        }
        let istiod_roots = values.istiod_roots();
        reader.problems = values.problems;
        reader.problems.extend(environment.problems());

        let own_roots = certificate_files.as_ref().map(|[_, _, roots]| roots.clone());
        let roots_file = if roots_pem.is_some() { None } else { own_roots.or(files.roots) };
        let roots = match roots_pem {
            Some(pem) => reader.roots_of(&pem),
            None => reader.mesh_roots(roots_file.as_deref(), istiod_roots.is_empty()),
        };
        let istiod_roots = istiod_roots.iter().flat_map(|file| reader.roots(file, Need::Required)).collect();
        let hosts = files.hosts.map(|path| reader.hosts(&path)).unwrap_or_default();
        let bootstrap = files.certificates.filter(|files| files.key.exists());
        let need =
            if bootstrap.is_some() || certificate_files.is_some() { Need::Optional } else { Need::Required };
        let token_file = reader.token_file(files.token, need);
        match config {
            Some(config) if reader.problems.is_empty() => {
                let certificate_files = certificate_files.map(|[chain, key, roots]| CertificateFiles {
                    chain,
                    key,
                    roots: Some(roots),
                });
                let config = Config {
                    roots,
                    roots_file,
                    istiod_roots,
                    hosts,
                    token_file,
                    bootstrap,
                    certificate_files,
                    ..config
                };
                Ok(overrides.apply(config))
            }
            _ => Err(reader.problems),
        }
    }

    /// Applies the variables that contain paths of files.
    fn apply_paths(&mut self) {
        let path = |key: &str| self.variables.get(key).filter(|path| !path.is_empty()).map(PathBuf::from);
        let [vm, token] = ["SIDESTEP_VM_FILES", "SIDESTEP_TOKEN_FILE"].map(path);
        let [cluster, sidecar, provided] =
            ["ISTIO_CLUSTER_CONFIG", "ISTIO_SIDECAR_CONFIG", "PROV_CERT"].map(path);
        if let Some(dir) = vm {
            self.files = Files::vm_files(&dir);
        }
        if let Some(file) = cluster {
            self.files.variables.insert(0, (file, Need::Required));
        }
        if let Some(file) = sidecar {
            self.files.variables.push((file, Need::Required));
        }
        if let Some(dir) = provided {
            self.files.certificates = Some(provisioned(&dir));
        }
        self.files.token = token.or(self.files.token.take());
        // Paths need not be UTF-8.
        if self.overrides.state_dir.is_none() {
            self.overrides.state_dir = path("SIDESTEP_STATE_DIR");
            if self.overrides.state_dir.is_some() {
                self.variables.remove("SIDESTEP_STATE_DIR");
            }
        }
    }
}
