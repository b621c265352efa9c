//! The files that describe a VM, wherever they are.

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
use crate::error::Problem;

/// Where to look. What is required and not there is a problem.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    /// Files of variables, the one that counts first.
    pub(super) variables: Vec<(PathBuf, Need)>,
    pub(super) mesh: Option<PathBuf>,
    pub(super) hosts: Option<PathBuf>,
    pub(super) token: Option<PathBuf>,
    pub(super) roots: Option<PathBuf>,
    pub(super) labels: Option<PathBuf>,
    pub(super) annotations: Option<PathBuf>,
    /// A key and certificate from elsewhere, to be shown to istiod at the first time: `PROV_CERT`.
    pub(super) certificates: Option<CertificateFiles>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    Optional,
    Required,
}

impl Files {
    /// The folder that `istioctl x workload entry configure` writes (istio `istioctl/pkg/workload/workload.go`).
    pub(super) fn vm_folder(dir: &Path) -> Self {
        Self {
            variables: vec![(dir.join("cluster.env"), Need::Required)],
            mesh: Some(dir.join("mesh.yaml")),
            hosts: Some(dir.join("hosts")),
            token: Some(dir.join("istio-token")),
            roots: Some(dir.join("root-cert.pem")),
            ..Self::default()
        }
    }

    /// The paths of Istio's package (istio `tools/packaging/common/istio-start.sh`, `pkg/config/constants`).
    /// `cluster.env` is sourced after `sidecar.env`, so it counts first.
    pub(super) fn installed(root: &Path, need: Need) -> Self {
        let certificates = root.join("etc/certs");
        Self {
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
}

/// The pair in a folder of Istio's agent (istio `security/pkg/nodeagent/util/util.go`).
pub(super) fn provisioned(dir: &Path) -> CertificateFiles {
    CertificateFiles { chain: dir.join("cert-chain.pem"), key: dir.join("key.pem"), roots: None }
}

/// The `discoveryAddress` of a proxy configuration.
#[derive(Clone, Debug)]
pub(super) struct DiscoveryAddress {
    pub(super) text: String,
    file: Option<PathBuf>,
}

impl DiscoveryAddress {
    fn of(proxy: &mesh_yaml::ProxyConfig, file: Option<&Path>) -> Option<Self> {
        let text = proxy.discovery_address.clone().filter(|text| !text.is_empty())?;
        Some(Self { text, file: file.map(Path::to_owned) })
    }

    pub(super) fn problem(&self, what: String) -> Problem {
        let problem = Problem::new(what).about("defaultConfig.discoveryAddress");
        match &self.file {
            Some(file) => problem.in_file(file),
            None => problem,
        }
    }
}

/// Reads files and collects what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    /// A file's text. One that is not there is no problem where it is optional.
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
                    "cannot be read ({error}): write it anew with `istioctl x workload entry configure`"
                );
                self.problems.push(Problem::new(what).in_file(path));
                None
            }
        }
    }

    /// The variables of the files, after those that `environment` has already; and the labels of the workload.
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
        // Later ones override what they say (istio `pilot/cmd/pilot-agent/config/config.go`).
        let annotation = annotations.get("proxy.istio.io/config").cloned();
        let variable = environment.text("PROXY_CONFIG").map(str::to_owned);
        let mut discovery = None;
        for (path, text) in [(&files.annotations, annotation), (&None, variable)] {
            if let Some(proxy) = text.and_then(|text| self.proxy_config(path.as_deref(), &text)) {
                discovery = discovery.or(DiscoveryAddress::of(&proxy, path.as_deref()));
                environment.add(path.clone(), proxy.proxy_metadata.unwrap_or_default());
            }
        }
        if let Some(path) = &files.mesh
            && let Some(text) = self.text(path, Need::Optional)
        {
            match mesh_yaml::parse(&text) {
                Ok(proxy) => {
                    discovery = discovery.or(DiscoveryAddress::of(&proxy, Some(path)));
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

    /// The certificates of a PEM file. What else is in it, notes of any encoding too, does not count.
    pub(super) fn roots(&mut self, path: &Path, need: Need) -> Vec<CertificateDer<'static>> {
        let Some(pem) = self.content(path, need, |path| fs::read(path)) else { return Vec::new() };
        let roots = usable_roots(&pem);
        roots.map_err(|what| self.problems.push(Problem::new(what).in_file(path))).unwrap_or_default()
    }

    /// Names and their addresses, as in `/etc/hosts`.
    pub(super) fn hosts(&mut self, path: &Path) -> BTreeMap<String, Vec<IpAddr>> {
        let text = self.text(path, Need::Optional);
        let mut hosts: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for (index, line) in text.unwrap_or_default().lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(address) = words.next() else { continue };
            match address.parse() {
                Ok(ip) => words.for_each(|name| hosts.entry(name.to_ascii_lowercase()).or_default().push(ip)),
                Err(_) => self.problems.push(
                    Problem::new(format!("`{address}` is not an IP address"))
                        .in_file(path)
                        .at_line(index + 1),
                ),
            }
        }
        hosts
    }

    /// Whether there is a token. It is read again at each use.
    pub(super) fn token(&mut self, path: &Path, need: Need) -> bool {
        let Some(text) = self.text(path, need) else { return false };
        if text.trim().is_empty() {
            let what = "is empty: write a token with `istioctl x workload entry configure` or `kubectl create token --audience istio-ca`";
            self.problems.push(Problem::new(what).in_file(path));
        }
        true
    }

    /// The certificates of a PEM text that was given.
    pub(super) fn roots_of(&mut self, pem: &[u8]) -> Vec<CertificateDer<'static>> {
        let roots = usable_roots(pem);
        roots.map_err(|what| self.problems.push(Problem::new(what).about("the roots"))).unwrap_or_default()
    }

    /// The mesh's roots; where istiod's own are given, they may as well come with the first certificate.
    pub(super) fn mesh_roots(&mut self, file: Option<&Path>, required: bool) -> Vec<CertificateDer<'static>> {
        let need = if required { Need::Required } else { Need::Optional };
        match file {
            Some(file) => self.roots(file, need),
            None => {
                if required {
                    self.problems.push(Problem::new("are not given: name a file").about("the roots"));
                }
                Vec::new()
            }
        }
    }

    /// A token, or something else to begin with.
    pub(super) fn token_file(&mut self, file: Option<PathBuf>, need: Need) -> Option<PathBuf> {
        if file.is_none() && need == Need::Required {
            self.problems.push(Problem::new("is not given: name a file").about("the token"));
        }
        file.filter(|file| self.token(file, need) || need == Need::Optional)
    }
}

/// The certificates of a PEM text, each of which can be a root.
fn usable_roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let roots = pem::certificates(pem).map_err(|error| match error {
        PemError::NoCertificate => "holds no certificate in PEM".to_owned(),
        error => format!("is {}", error::report(&error)),
    })?;
    let unusable = |error| format!("a root certificate cannot be used: {error}");
    pem::root_store(&roots).map_err(unusable)?;
    Ok(roots)
}
