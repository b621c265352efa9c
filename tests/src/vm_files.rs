//! The files that `istioctl x workload entry configure` writes, for a mesh without Kubernetes.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The identity of a VM, and its mesh.
#[derive(Clone, Debug)]
pub struct Vm {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The Kubernetes service account.
    pub service_account: String,
    /// `ISTIO_META_NETWORK`.
    pub network: String,
    /// `ISTIO_META_CLUSTER_ID`.
    pub cluster: String,
}

impl Default for Vm {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            namespace: text("legacy"),
            service_account: text("vm"),
            network: text("vm-network"),
            cluster: text("cluster1"),
        }
    }
}

impl Vm {
    /// Writes the files. `hosts` contains the address of istiod under the name in its certificate.
    pub fn write(&self, dir: &Path, istiod: SocketAddr, root_pem: &str) -> PathBuf {
        fs::create_dir_all(dir).expect("the folder of VM files");
        let Self { namespace, service_account, network, cluster } = self;
        let env = format!(
            "CANONICAL_SERVICE='{service_account}'\nISTIO_METAJSON_LABELS='{{\"app\":\"{service_account}\"}}'\n\
             ISTIO_META_CLUSTER_ID='{cluster}'\nISTIO_META_DNS_CAPTURE='true'\nISTIO_META_NETWORK='{network}'\n\
             ISTIO_NAMESPACE='{namespace}'\nPOD_NAMESPACE='{namespace}'\nSERVICE_ACCOUNT='{service_account}'\nTRUST_DOMAIN=''\n"
        );
        let name = "istiod.istio-system.svc";
        let write = |file: &str, text: &str| fs::write(dir.join(file), text).expect("a VM file");
        write("cluster.env", &env);
        write("mesh.yaml", &format!("defaultConfig:\n  discoveryAddress: {name}:{}\n", istiod.port()));
        write("hosts", &format!("{} {name}\n", istiod.ip()));
        write("root-cert.pem", root_pem);
        write("istio-token", &self.token("istio-ca", Duration::from_secs(3600)));
        dir.to_owned()
    }

    /// Returns a service account token that the API server of the peers accepts, which checks only the claims.
    pub fn token(&self, audience: &str, lifetime: Duration) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        let claims = serde_json::json!({
            "aud": [audience],
            "exp": (now + lifetime).as_secs(),
            "sub": format!("system:serviceaccount:{}:{}", self.namespace, self.service_account),
        });
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        format!(
            "{header}.{}.{}",
            URL_SAFE_NO_PAD.encode(claims.to_string()),
            URL_SAFE_NO_PAD.encode("unsigned")
        )
    }
}
