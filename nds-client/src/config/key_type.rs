//! Kinds of private keys.

/// The kind of key to make.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyType {
    /// ECDSA on P-256: small and fast.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of 2048 bits, as Istio's agent makes by default. Needs the feature `aws-lc-rs`.
    Rsa2048,
    /// RSA of 3072 bits. Needs the feature `aws-lc-rs`.
    Rsa3072,
    /// RSA of 4096 bits. Needs the feature `aws-lc-rs`.
    Rsa4096,
}
