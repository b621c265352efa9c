//! Faults that tests can inject.

use std::time::Duration;

use super::Sandbox;
use crate::error::{Error, Result};
use crate::pki::spiffe;
use crate::workload::{Presented, Validity};

impl Sandbox {
    /// Stops istiod abruptly, as when its pod is deleted: connections break and the port refuses connections. The mesh
    /// can still change. [`Sandbox::restore_istiod`] ends the fault.
    pub async fn stop_istiod(&self) {
        self.istiod.stop().await;
    }

    /// Delays every response and every certificate of istiod. [`Sandbox::restore_istiod`] ends the fault.
    pub fn slow_istiod(&self, delay: Duration) {
        *self.istiod.shared().delay.lock() = delay;
    }

    /// Ends all faults of istiod: removes the delay, and starts istiod again on the same port if it was stopped or if a
    /// client crashed it.
    ///
    /// # Errors
    ///
    /// Another process has taken the port.
    pub fn restore_istiod(&self) -> Result<()> {
        self.slow_istiod(Duration::ZERO);
        self.istiod.run().map(|_| ())
    }

    /// Revokes all tokens issued so far. Open streams stay open, as with a real istiod, which checks a token once per
    /// stream. New tokens are valid.
    pub fn revoke_tokens(&self) {
        self.istiod.shared().tokens.revoke_all();
    }

    /// Pushes an invalid name table to every connected client, once.
    pub fn push_invalid_name_table(&self) {
        self.pushes.break_names();
    }

    /// Makes the workloads of a service account present the identity of another service account of the same namespace,
    /// from the next connection on. [`Sandbox::restore_workload`] ends the fault.
    ///
    /// # Errors
    ///
    /// A listener that the mesh needs cannot be bound.
    pub fn impersonate(&self, namespace: &str, service_account: &str, other_account: &str) -> Result<()> {
        self.present(namespace, service_account, Some((other_account, Validity::Current)))
    }

    /// Makes the workloads of a service account present an expired certificate, from the next connection on.
    /// [`Sandbox::restore_workload`] ends the fault.
    ///
    /// # Errors
    ///
    /// A listener that the mesh needs cannot be bound.
    pub fn expire_workload(&self, namespace: &str, service_account: &str) -> Result<()> {
        self.present(namespace, service_account, Some((service_account, Validity::Expired)))
    }

    /// Ends all faults of the workloads of a service account: they present their own, valid certificates, from the next
    /// connection on.
    ///
    /// # Errors
    ///
    /// A listener that the mesh needs cannot be bound.
    pub fn restore_workload(&self, namespace: &str, service_account: &str) -> Result<()> {
        self.present(namespace, service_account, None)
    }

    fn present(&self, namespace: &str, account: &str, instead: Option<(&str, Validity)>) -> Result<()> {
        let mesh = self.pushes.mesh();
        let identity = |account: &str| spiffe::identity(&mesh.config.trust_domain, namespace, account);
        let instead = instead.map(|(account, validity)| Presented { identity: identity(account), validity });
        self.plane.present(identity(account), instead, &mesh)
    }

    /// Stops the east-west gateways of a network and closes the connections through them.
    /// [`Sandbox::restore_gateway`] ends the fault.
    ///
    /// # Errors
    ///
    /// No gateway leads into the network.
    pub async fn stop_gateway(&self, network: &str) -> Result<()> {
        if self.plane.stop_gateway(network).await { Ok(()) } else { Err(self.unknown_gateway(network)) }
    }

    /// Delays the east-west gateways into a network: they read the ClientHello and wait before they forward the
    /// connection. A delay of an hour makes the gateways a black hole. [`Sandbox::restore_gateway`] ends the fault.
    ///
    /// # Errors
    ///
    /// No gateway leads into the network.
    pub fn slow_gateway(&self, network: &str, delay: Duration) -> Result<()> {
        if self.plane.slow_gateway(network, delay) { Ok(()) } else { Err(self.unknown_gateway(network)) }
    }

    /// Ends all faults of the east-west gateways of a network: starts them again on the same ports if they were
    /// stopped, and removes the delay, also for waiting connections.
    ///
    /// # Errors
    ///
    /// No gateway leads into the network, or another process has taken a port.
    pub fn restore_gateway(&self, network: &str) -> Result<()> {
        self.plane.start_gateway(network)?;
        self.slow_gateway(network, Duration::ZERO)
    }

    fn unknown_gateway(&self, network: &str) -> Error {
        let known: Vec<_> = self.gateways().into_iter().map(|gateway| gateway.network).collect();
        Error::not_found("gateway into network", network, &known)
    }
}
