//! Types of private keys.

/// The type of the private key of the workload.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyType {
    /// ECDSA on P-256.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA with 2048 bits, the default of Istio's agent. Requires the feature `aws-lc-rs`.
    Rsa2048,
    /// RSA with 3072 bits. Requires the feature `aws-lc-rs`.
    Rsa3072,
    /// RSA with 4096 bits. Requires the feature `aws-lc-rs`.
    Rsa4096,
}
