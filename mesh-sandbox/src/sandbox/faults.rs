//! Faults that tests can inject.

use std::time::Duration;

use super::Sandbox;
use crate::error::{Error, Result};
use crate::pki::spiffe;
use crate::workload::{Presented, Validity};

impl Sandbox {
    /// Stops istiod abruptly, as when its pod is deleted: connections break and the port refuses connections. The mesh
    /// can still change.
    pub async fn stop_istiod(&self) {
        self.istiod.stop().await;
    }

    /// Starts istiod again on the same port, after [`Sandbox::stop_istiod`] or after a client crashed it. Does nothing
    /// while istiod runs.
    ///
    /// # Errors
    ///
    /// Another process has taken the port.
    pub async fn start_istiod(&self) -> Result<()> {
        self.istiod.run().map(|_| ())
    }

    /// Delays every response and every certificate of istiod. Zero removes the delay.
    pub fn slow_istiod(&self, delay: Duration) {
        *self.istiod.shared().delay.lock() = delay;
    }

    /// Revokes all tokens issued so far. Open streams stay open, as with a real istiod, which checks a token once per
    /// stream.
    pub fn revoke_tokens(&self) {
        self.istiod.shared().tokens.revoke_all();
    }

    /// Pushes an invalid name table to every connected client, once.
    pub fn push_broken_names(&self) {
        self.pushes.break_names();
    }

    /// Makes the workloads of a service account present the identity of another account of the same namespace, from the
    /// next connection on. `None` ends this fault, and that of [`Sandbox::expire_workload`].
    ///
    /// # Errors
    ///
    /// A listener that the mesh needs cannot be bound.
    pub fn impersonate(&self, namespace: &str, service_account: &str, instead: Option<&str>) -> Result<()> {
        self.present(namespace, service_account, instead.map(|account| (account, Validity::Current)))
    }

    /// Makes the workloads of a service account present an expired certificate, from the next connection on, until
    /// [`Sandbox::impersonate`] is called with `None`.
    ///
    /// # Errors
    ///
    /// A listener that the mesh needs cannot be bound.
    pub fn expire_workload(&self, namespace: &str, service_account: &str) -> Result<()> {
        self.present(namespace, service_account, Some((service_account, Validity::Expired)))
    }

    fn present(&self, namespace: &str, account: &str, instead: Option<(&str, Validity)>) -> Result<()> {
        let mesh = self.pushes.mesh();
        let identity = |account: &str| spiffe::identity(&mesh.config.trust_domain, namespace, account);
        let instead = instead.map(|(account, validity)| Presented { identity: identity(account), validity });
        self.plane.present(identity(account), instead, &mesh)
    }

    /// Stops the east-west gateways of a network and closes the connections through them.
    ///
    /// # Errors
    ///
    /// No gateway leads into the network.
    pub async fn stop_gateway(&self, network: &str) -> Result<()> {
        if self.plane.stop_gateway(network).await { Ok(()) } else { Err(self.unknown_gateway(network)) }
    }

    /// Delays the east-west gateways into a network: they read the ClientHello and wait before they forward the
    /// connection. An hour makes the gateway a black hole. Zero removes the delay, also for waiting connections.
    ///
    /// # Errors
    ///
    /// No gateway leads into the network.
    pub fn slow_gateway(&self, network: &str, delay: Duration) -> Result<()> {
        if self.plane.slow_gateway(network, delay) { Ok(()) } else { Err(self.unknown_gateway(network)) }
    }

    fn unknown_gateway(&self, network: &str) -> Error {
        let known: Vec<_> = self.gateways().into_iter().map(|gateway| gateway.network).collect();
        Error::NotFound { what: "gateway into network", name: network.to_owned(), known: known.join(", ") }
    }

    /// Starts the gateways into a network again after [`Sandbox::stop_gateway`], on the same ports.
    ///
    /// # Errors
    ///
    /// Another process has taken a port.
    pub fn start_gateway(&self, network: &str) -> Result<()> {
        self.plane.start_gateway(network)
    }
}
