//! The address of an east-west gateway.

use crate::yaml::kubernetes::Labels;

/// One address of an east-west gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NetworkGateway {
    pub(crate) network: String,
    pub(crate) cluster: String,
    /// An IP address or a name that istiod resolves.
    pub(crate) address: String,
    pub(crate) port: u16,
    /// The namespace of the gateway, which decides what it may see.
    pub(crate) namespace: String,
    /// The labels of its workload; unknown where only an address is written.
    pub(crate) labels: Option<Labels>,
    /// Where the workload listens: the target port behind [`Self::port`].
    pub(crate) target_port: u16,
}
