//! The address of an east-west gateway.

use crate::yaml::kubernetes::Labels;

/// One address of an east-west gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NetworkGateway {
    pub(crate) network: String,
    pub(crate) cluster: String,
    /// An IP address, or a name that istiod resolves.
    pub(crate) address: String,
    pub(crate) port: u16,
    /// The namespace of the gateway, which decides which services are visible to it.
    pub(crate) namespace: String,
    /// The labels of the gateway's workload; `None` if `meshNetworks.yaml` configures only its address.
    pub(crate) labels: Option<Labels>,
    /// The port on which the workload listens, that is the target port of [`Self::port`].
    pub(crate) target_port: u16,
}
