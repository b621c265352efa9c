//! The files that `istioctl x workload entry configure` writes (istio `istioctl/pkg/workload/workload.go`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::model::Group;

/// A temporary folder with the files of a VM, which is removed when this value is dropped.
#[derive(Debug)]
pub struct VmFiles(TempDir);

impl VmFiles {
    /// Creates an empty temporary folder, for [`Sandbox::write_vm_files`](crate::Sandbox::write_vm_files).
    ///
    /// # Errors
    ///
    /// The folder cannot be created.
    pub fn empty() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("vm-files-").tempdir();
        folder.map(Self).map_err(|source| {
            Error::file(&std::env::temp_dir(), "cannot create a folder in this directory", source)
        })
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The values that are written to the files of a VM.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    pub(crate) group: &'a Group,
    pub(crate) cluster: &'a str,
    pub(crate) trust_domain: &'a str,
    pub(crate) istiod_port: u16,
    pub(crate) token: &'a str,
    pub(crate) root_pem: &'a str,
}

/// The host name of istiod for VMs.
const ISTIOD: &str = "istiod.istio-system.svc";

/// Writes the five files of a VM into `folder`, which is created if necessary.
pub(crate) fn write(folder: &Path, contents: &Contents<'_>) -> Result<()> {
    let file = |path: PathBuf, action| move |source| Error::file(&path, action, source);
    fs::create_dir_all(folder).map_err(file(folder.to_owned(), "cannot be created"))?;
    let metadata = contents.proxy_metadata();
    let files = [
        ("cluster.env", contents.cluster_env(&metadata)),
        ("hosts", format!("127.0.0.1 {ISTIOD}\n")),
        ("istio-token", contents.token.to_owned()),
        ("mesh.yaml", contents.mesh_yaml(&metadata)),
        ("root-cert.pem", contents.root_pem.to_owned()),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(file(path, "cannot be written"))?;
    }
    Ok(())
}

impl Contents<'_> {
    /// Returns the proxy metadata, which is written to `mesh.yaml` and again to `cluster.env` (istio
    /// `istioctl/pkg/workload/workload.go`).
    fn proxy_metadata(&self) -> BTreeMap<&'static str, String> {
        let template = &self.group.object.spec.template;
        let name = &self.group.name;
        let mut labels = template.labels.clone();
        labels.extend(self.group.object.spec.metadata.labels.clone());
        let canonical = |labels: &BTreeMap<String, String>, keys: [&str; 3], default: &str| {
            keys.iter().find_map(|key| labels.get(*key).cloned()).unwrap_or_else(|| default.to_owned())
        };
        let service =
            canonical(&labels, ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"], name);
        let revision = canonical(
            &labels,
            ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"],
            "latest",
        );
        labels.insert("service.istio.io/canonical-name".to_owned(), service.clone());
        labels.insert("service.istio.io/canonical-revision".to_owned(), revision.clone());
        let mut metadata = BTreeMap::from([
            ("CANONICAL_SERVICE", service),
            ("CANONICAL_REVISION", revision),
            ("POD_NAMESPACE", self.group.namespace.clone()),
            ("SERVICE_ACCOUNT", self.service_account().to_owned()),
            ("TRUST_DOMAIN", self.trust_domain.to_owned()),
            ("ISTIO_META_CLUSTER_ID", self.cluster.to_owned()),
            ("ISTIO_META_MESH_ID", String::new()),
            ("ISTIO_META_NETWORK", template.network.clone()),
            ("ISTIO_META_WORKLOAD_NAME", name.clone()),
            ("ISTIO_METAJSON_LABELS", json!(labels).to_string()),
            ("ISTIO_META_DNS_CAPTURE", "true".to_owned()),
        ]);
        if !template.ports.is_empty() {
            let ports: Vec<Value> = template
                .ports
                .iter()
                .map(|(name, port)| json!({ "name": name, "containerPort": port, "protocol": "" }))
                .collect();
            metadata.insert("ISTIO_META_POD_PORTS", Value::Array(ports).to_string());
        }
        metadata
    }

    fn service_account(&self) -> &str {
        match self.group.object.spec.template.service_account.as_str() {
            "" => "default",
            account => account,
        }
    }

    /// Returns `cluster.env`: the proxy metadata, and variables, which override metadata of the same name. The lines
    /// are sorted and quoted for a shell (istio `istioctl/pkg/workload/workload.go`).
    fn cluster_env(&self, metadata: &BTreeMap<&'static str, String>) -> String {
        let template = &self.group.object.spec.template;
        let ports: Vec<String> = template.ports.values().map(u16::to_string).collect();
        let mut env = metadata.clone();
        env.extend([
            ("ISTIO_INBOUND_PORTS", if ports.is_empty() { "*".to_owned() } else { ports.join(",") }),
            ("ISTIO_LOCAL_EXCLUDE_PORTS", "22,15090,15021,15020".to_owned()),
            ("ISTIO_NAMESPACE", self.group.namespace.clone()),
            ("ISTIO_SERVICE", format!("{}.{}", self.group.name, self.group.namespace)),
            ("ISTIO_SERVICE_CIDR", "*".to_owned()),
            ("SERVICE_ACCOUNT", self.service_account().to_owned()),
        ]);
        env.into_iter().map(|(key, value)| format!("{key}={}\n", quoted(&value))).collect()
    }

    /// Returns `mesh.yaml` (istio `istioctl/pkg/workload/workload.go`). The strings are JSON, which is valid YAML and
    /// needs no other quoting.
    fn mesh_yaml(&self, metadata: &BTreeMap<&'static str, String>) -> String {
        let mut yaml =
            format!("defaultConfig:\n  discoveryAddress: {ISTIOD}:{}\n  proxyMetadata:\n", self.istiod_port);
        for (key, value) in metadata {
            yaml.push_str(&format!("    {key}: {}\n", json!(value)));
        }
        if let Some(probe) = &self.group.object.spec.probe {
            yaml.push_str(&format!("  readinessProbe: {probe}\n"));
        }
        yaml
    }
}

/// Quotes a value in single quotes as istioctl does (istio `workload.go:603`).
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\"'\"'"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_reads_a_quoted_value_unchanged() {
        assert_eq!(quoted(r#"{"a":"it's"}"#), r#"'{"a":"it'"'"'s"}'"#);
    }
}
