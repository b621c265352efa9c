//! What a program decides about its connections.

use std::time::Duration;

use crate::{
    error::{Error, ErrorKind},
    target::Target,
};

/// What protects connections into the mesh.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mtls {
    /// As the control plane says: mesh mTLS, or plaintext where it asks for plaintext in a way that cannot mean
    /// anything else.
    #[default]
    AsConfigured,
    /// Mesh mTLS or nothing: whatever leads to plaintext is refused, hosts outside of the mesh included.
    Required,
}

/// What happens with hosts that the mesh does not know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Outside {
    /// They are resolved by upstream DNS and connected to directly, without protection by the mesh (Istio's
    /// `outboundTrafficPolicy: ALLOW_ANY`). Whether the mesh says otherwise is not visible to this client.
    #[default]
    Allowed,
    /// They are refused (`REGISTRY_ONLY`).
    Refused,
}

/// Settings of a [`Mesh`](crate::Mesh) handle.
///
/// # Defaults
///
/// mTLS as the control plane configures it, hosts outside allowed, 10 s per connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) mtls: Mtls,
    pub(crate) outside: Outside,
    pub(crate) connect_deadline: Duration,
}

impl Settings {
    /// Whether a target that the mesh does not know may be connected to.
    pub(crate) fn allow_outside(&self, target: &Target) -> Result<(), Error> {
        match (self.outside, self.mtls) {
            (Outside::Refused, _) => Err(Error::new(
                ErrorKind::UnknownHost,
                format!("the mesh does not know {target}, and hosts outside of it are refused here"),
            )),
            (Outside::Allowed, Mtls::Required) => Err(Error::new(
                ErrorKind::PlaintextRefused,
                format!(
                    "the mesh does not know {target}, only plaintext leads there, and mTLS is required here"
                ),
            )),
            (Outside::Allowed, Mtls::AsConfigured) => Ok(()),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { mtls: Mtls::default(), outside: Outside::default(), connect_deadline: Duration::from_secs(10) }
    }
}
