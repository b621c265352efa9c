//! The files that describe a VM.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use rustls_pki_types::CertificateDer;
use sidestep_util::{
    error,
    pem::{self, PemError},
};

use super::{CertificateFiles, env_file, environment::Environment, labels, mesh_yaml};
use crate::error::ConfigProblem;

/// The paths of the files that a configuration is read from. A required file that does not exist is a problem.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// The directory of the files, if it must exist. If it does not exist, no other problem is reported.
    pub(super) dir: Option<PathBuf>,
    /// Files with variables. If several contain a variable, the first one is used.
    pub(super) variables: Vec<(PathBuf, Need)>,
    pub(super) mesh: Option<PathBuf>,
    pub(super) hosts: Option<PathBuf>,
    pub(super) token: Option<PathBuf>,
    pub(super) roots: Option<PathBuf>,
    pub(super) labels: Option<PathBuf>,
    pub(super) annotations: Option<PathBuf>,
    /// A provided private key and certificate for the first request to istiod: `PROV_CERT`.
    pub(super) certificates: Option<CertificateFiles>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    Optional,
    Required,
}

impl Files {
    /// Returns the paths in a directory written by `istioctl x workload entry configure` (istio
    /// `istioctl/pkg/workload/workload.go`).
    pub(super) fn vm_files(dir: &Path) -> Self {
        Self {
            dir: Some(dir.to_owned()),
            variables: vec![(dir.join("cluster.env"), Need::Required)],
            mesh: Some(dir.join("mesh.yaml")),
            hosts: Some(dir.join("hosts")),
            token: Some(dir.join("istio-token")),
            roots: Some(dir.join("root-cert.pem")),
            ..Self::default()
        }
    }

    /// Returns the paths of Istio's package (istio `tools/packaging/common/istio-start.sh`, `pkg/config/constants`).
    /// The script sources `cluster.env` after `sidecar.env`, so the variables of `cluster.env` take precedence over
    /// those of `sidecar.env`.
    pub(super) fn installed(root: &Path, need: Need) -> Self {
        let certificates = root.join("etc/certs");
        Self {
            dir: (need == Need::Required).then(|| root.to_owned()),
            variables: vec![
                (root.join("var/lib/istio/envoy/cluster.env"), need),
                (root.join("var/lib/istio/envoy/sidecar.env"), Need::Optional),
            ],
            mesh: Some(root.join("etc/istio/config/mesh")),
            hosts: None,
            token: Some(root.join("var/run/secrets/tokens/istio-token")),
            roots: Some(certificates.join("root-cert.pem")),
            labels: Some(root.join("etc/istio/pod/labels")),
            annotations: Some(root.join("etc/istio/pod/annotations")),
            certificates: Some(provisioned(&certificates)),
        }
    }

    /// Returns a problem if the directory does not exist; `None` if it exists or need not exist.
    pub(super) fn missing_dir(&self) -> Option<ConfigProblem> {
        let dir = self.dir.as_ref().filter(|dir| !dir.is_dir())?;
        let what = "is not a directory: write the VM files to it with `istioctl x workload entry configure`, or correct the path";
        Some(ConfigProblem::new(what).in_file(dir))
    }
}

/// Returns the paths of the certificate and the private key in a directory of Istio's agent (istio
/// `security/pkg/nodeagent/util/util.go`).
pub(super) fn provisioned(dir: &Path) -> CertificateFiles {
    CertificateFiles { chain: dir.join("cert-chain.pem"), key: dir.join("key.pem"), roots: None }
}

/// The `discoveryAddress` of a `ProxyConfig`.
#[derive(Clone, Debug)]
pub(super) struct DiscoveryAddress {
    pub(super) text: String,
    file: Option<PathBuf>,
}

impl DiscoveryAddress {
    fn new(proxy: &mesh_yaml::ProxyConfig, file: Option<&Path>) -> Option<Self> {
        let text = proxy.discovery_address.clone().filter(|text| !text.is_empty())?;
        Some(Self { text, file: file.map(Path::to_owned) })
    }

    pub(super) fn problem(&self, what: String) -> ConfigProblem {
        let problem = ConfigProblem::new(what).about("defaultConfig.discoveryAddress");
        match &self.file {
            Some(file) => problem.in_file(file),
            None => problem,
        }
    }
}

/// Reads files and collects their problems.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<ConfigProblem>,
}

impl Reader {
    /// Returns the text of a file. If it cannot be read, adds a problem and returns `None`; a missing optional file is
    /// not a problem.
    pub(super) fn text(&mut self, path: &Path, need: Need) -> Option<String> {
        self.content(path, need, |path| fs::read_to_string(path))
    }

    fn content<T>(
        &mut self,
        path: &Path,
        need: Need,
        read: impl FnOnce(&Path) -> io::Result<T>,
    ) -> Option<T> {
        match read(path) {
            Ok(content) => Some(content),
            Err(error) if need == Need::Optional && error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let what = format!(
                    "cannot be read ({error}): write it again with `istioctl x workload entry configure`"
                );
                self.problems.push(ConfigProblem::new(what).in_file(path));
                None
            }
        }
    }

    /// Adds the variables of the files to `environment`, with lower precedence than its existing variables. Returns the
    /// labels of the workload and the discovery address.
    pub(super) fn variables(
        &mut self,
        files: &Files,
        environment: &mut Environment,
    ) -> (BTreeMap<String, String>, Option<DiscoveryAddress>) {
        for (path, need) in &files.variables {
            if let Some(text) = self.text(path, *need) {
                let (variables, problems) = env_file::parse(&text);
                self.problems.extend(problems.into_iter().map(|problem| problem.in_file(path)));
                environment.add(Some(path.clone()), variables);
            }
        }
        let annotations = self.pairs(files.annotations.as_deref());
        // Each source takes precedence over the following ones (istio `pilot/cmd/pilot-agent/config/config.go`).
        let annotation = annotations.get("proxy.istio.io/config").cloned();
        let variable = environment.text("PROXY_CONFIG").map(str::to_owned);
        let mut discovery = None;
        for (path, text) in [(&files.annotations, annotation), (&None, variable)] {
            if let Some(proxy) = text.and_then(|text| self.proxy_config(path.as_deref(), &text)) {
                discovery = discovery.or(DiscoveryAddress::new(&proxy, path.as_deref()));
                environment.add(path.clone(), proxy.proxy_metadata.unwrap_or_default());
            }
        }
        if let Some(path) = &files.mesh
            && let Some(text) = self.text(path, Need::Optional)
        {
            match mesh_yaml::parse(&text) {
                Ok(proxy) => {
                    discovery = discovery.or(DiscoveryAddress::new(&proxy, Some(path)));
                    environment.add(Some(path.clone()), proxy.proxy_metadata.unwrap_or_default());
                }
                Err(problem) => self.problems.push(problem.in_file(path)),
            }
        }
        (self.pairs(files.labels.as_deref()), discovery)
    }

    fn proxy_config(&mut self, file: Option<&Path>, text: &str) -> Option<mesh_yaml::ProxyConfig> {
        let problem = match mesh_yaml::parse_proxy_config(text) {
            Ok(proxy) => return Some(proxy),
            Err(problem) => problem,
        };
        self.problems.push(match file {
            Some(file) => problem.about("proxy.istio.io/config").in_file(file),
            None => problem.about("PROXY_CONFIG"),
        });
        None
    }

    fn pairs(&mut self, path: Option<&Path>) -> BTreeMap<String, String> {
        let text = path.and_then(|path| self.text(path, Need::Optional));
        labels::parse(&text.unwrap_or_default())
    }

    /// Returns the certificates of a PEM file; none, with a problem, if they cannot be used as roots. Text outside PEM
    /// blocks is ignored and may be in any encoding.
    pub(super) fn roots(&mut self, path: &Path, need: Need) -> Vec<CertificateDer<'static>> {
        let Some(pem) = self.content(path, need, |path| fs::read(path)) else { return Vec::new() };
        let roots = usable_roots(&pem);
        roots.map_err(|what| self.problems.push(ConfigProblem::new(what).in_file(path))).unwrap_or_default()
    }

    /// Parses a file in the format of `/etc/hosts`.
    pub(super) fn hosts(&mut self, path: &Path) -> BTreeMap<String, Vec<IpAddr>> {
        let text = self.text(path, Need::Optional);
        let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for (index, line) in text.unwrap_or_default().lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next() else { continue };
            match address.parse() {
                Ok(ip) => words.for_each(|name| hosts.entry(name.to_ascii_lowercase()).or_default().push(ip)),
                Err(_) => self.problems.push(
                    ConfigProblem::new(format!("`{address}` is not an IP address"))
                        .in_file(path)
                        .at_line(index + 1),
                ),
            }
        }
        hosts
    }

    /// Checks the token file and returns whether it can be read. The token itself is not stored, because it is read
    /// again each time it is used.
    pub(super) fn token(&mut self, path: &Path, need: Need) -> bool {
        let Some(text) = self.text(path, need) else { return false };
        if text.trim().is_empty() {
            let what = "is empty: write a token with `istioctl x workload entry configure` or `kubectl create token --audience istio-ca`";
            self.problems.push(ConfigProblem::new(what).in_file(path));
        }
        true
    }

    /// Returns the certificates of a PEM text that the program set.
    pub(super) fn roots_of(&mut self, pem: &[u8]) -> Vec<CertificateDer<'static>> {
        let roots = usable_roots(pem);
        roots
            .map_err(|what| self.problems.push(ConfigProblem::new(what).about("the roots")))
            .unwrap_or_default()
    }

    /// Returns the mesh roots in `file`. They are not required if additional roots for the certificate of istiod are
    /// configured, because istiod sends the mesh roots with the first certificate.
    pub(super) fn mesh_roots(&mut self, file: Option<&Path>, required: bool) -> Vec<CertificateDer<'static>> {
        let need = if required { Need::Required } else { Need::Optional };
        match file {
            Some(file) => self.roots(file, need),
            None => {
                if required {
                    self.problems.push(
                        ConfigProblem::new("are not configured: set the path of a file").about("the roots"),
                    );
                }
                Vec::new()
            }
        }
    }

    /// Returns the path of the token file. If the file is required and cannot be read, adds a problem and returns
    /// `None`. It is not required if other credentials are configured.
    pub(super) fn token_file(&mut self, file: Option<PathBuf>, need: Need) -> Option<PathBuf> {
        if file.is_none() && need == Need::Required {
            self.problems
                .push(ConfigProblem::new("is not configured: set the path of a file").about("the token"));
        }
        file.filter(|file| self.token(file, need) || need == Need::Optional)
    }
}

/// Returns the certificates of a PEM text. If it contains none, or one cannot be used as a root, returns the reason as
/// `Err`.
fn usable_roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let roots = pem::certificates(pem).map_err(|error| match error {
        PemError::NoCertificate => "contains no certificate in PEM".to_owned(),
        error => format!("is {}", error::report(&error)),
    })?;
    let unusable = |error| format!("a root certificate cannot be used: {error}");
    pem::root_store(&roots).map_err(unusable)?;
    Ok(roots)
}
