//! Certificate authorities for istiod.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// A root, and an intermediate below it that issues workload certificates.
#[derive(Debug)]
pub struct PluggedCa {
    root: Certificate,
    intermediate: Certificate,
    key: KeyPair,
}

impl PluggedCa {
    /// Creates a root and an intermediate.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let (root_key, key) = (key(), key());
        let root_params = params(&format!("{name} root"));
        let root = root_params.self_signed(&root_key).expect("a root");
        let issuer = Issuer::new(root_params, root_key);
        let intermediate =
            params(&format!("{name} intermediate")).signed_by(&key, &issuer).expect("an intermediate");
        Self { root, intermediate, key }
    }

    /// Returns the root as PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// Returns the intermediate as DER.
    #[must_use]
    pub fn intermediate_der(&self) -> &[u8] {
        self.intermediate.der()
    }

    /// Returns the files that istiod reads, by name, with these roots as the trust bundle.
    #[must_use]
    pub fn files(&self, roots: &[&Self]) -> [(&'static str, String); 4] {
        [
            ("ca-cert.pem", self.intermediate.pem()),
            ("ca-key.pem", self.key.serialize_pem()),
            ("cert-chain.pem", self.intermediate.pem() + &self.root.pem()),
            ("root-cert.pem", roots.iter().map(|ca| ca.root.pem()).collect()),
        ]
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
