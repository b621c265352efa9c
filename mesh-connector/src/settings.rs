//! Settings of connections.

use std::time::Duration;

use crate::{
    error::{Error, ErrorKind},
    target::Target,
};

/// Whether connections without mesh mTLS are allowed.
///
/// This is the client side of PeerAuthentication: [`AsConfigured`](Self::AsConfigured) corresponds to mode PERMISSIVE,
/// [`Required`](Self::Required) to mode STRICT.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Mtls {
    /// The control plane decides: mesh mTLS, or plaintext if its configuration clearly requests plaintext.
    #[default]
    AsConfigured,
    /// Only mesh mTLS is allowed. Plaintext connections are refused, including those to hosts outside the mesh.
    Required,
}

/// Whether connections to hosts outside the mesh (passthrough) are allowed.
///
/// The variants correspond to `outboundTrafficPolicy` in Istio's mesh configuration. istiod does not send this setting
/// of the mesh to this client, so the program sets its own policy with
/// [`with_outbound_traffic_policy`](crate::MeshBuilder::with_outbound_traffic_policy).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum OutboundTrafficPolicy {
    /// `ALLOW_ANY`: upstream DNS resolves the host, and the connection is direct, without mTLS.
    #[default]
    AllowAny,
    /// `REGISTRY_ONLY`: connections to hosts outside the mesh are refused.
    RegistryOnly,
}

/// Settings of a [`Mesh`](crate::Mesh) handle.
///
/// # Defaults
///
/// mTLS as the control plane configures it, passthrough allowed except to names of the mesh, a connect deadline of 10 s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) mtls: Mtls,
    pub(crate) outbound_traffic_policy: OutboundTrafficPolicy,
    pub(crate) connect_deadline: Duration,
    /// Whether names that belong or belonged to the mesh may be reached in plaintext, at an address from upstream DNS.
    pub(crate) plaintext_to_mesh_names: bool,
}

impl Settings {
    /// Returns an error if a connection to a host outside the mesh is not allowed.
    pub(crate) fn check_passthrough(&self, target: &Target) -> Result<(), Error> {
        match (self.outbound_traffic_policy, self.mtls) {
            (OutboundTrafficPolicy::RegistryOnly, _) => Err(Error::new(
                ErrorKind::UnknownHost,
                format!(
                    "the mesh does not know {target}, and this program refuses hosts outside the mesh \
                     (OutboundTrafficPolicy::RegistryOnly)"
                ),
            )),
            (OutboundTrafficPolicy::AllowAny, Mtls::Required) => Err(Error::new(
                ErrorKind::PlaintextRefused,
                format!(
                    "the mesh does not know {target}: the connection would be plaintext, but this program requires mTLS"
                ),
            )),
            (OutboundTrafficPolicy::AllowAny, Mtls::AsConfigured) => Ok(()),
        }
    }

    /// Returns an error if a connection to a host outside the mesh is not allowed because `name` belongs or belonged to
    /// the mesh (`is_mesh_name`).
    pub(crate) fn check_name(&self, name: &str, is_mesh_name: bool) -> Result<(), Error> {
        if !is_mesh_name || self.plaintext_to_mesh_names {
            return Ok(());
        }
        Err(Error::with_possible_causes(
            ErrorKind::PlaintextRefused,
            format!(
                "`{name}` is a name of the mesh, but istiod does not list it now: a connection would be plaintext, to an \
                 address from upstream DNS. If this is intended, allow it with \
                 `MeshBuilder::with_plaintext_to_mesh_names`"
            ),
            None,
            &[
                "the service or ServiceEntry was deleted",
                "a Sidecar resource or exportTo hides the service from this workload",
                "the name is in the domain of the cluster, and no such service exists",
            ],
        ))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mtls: Mtls::default(),
            outbound_traffic_policy: OutboundTrafficPolicy::default(),
            connect_deadline: Duration::from_secs(10),
            plaintext_to_mesh_names: false,
        }
    }
}
