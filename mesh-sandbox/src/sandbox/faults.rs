//! Breaking things on purpose.

use std::time::Duration;

use super::Sandbox;
use crate::error::{Error, Result};
use crate::pki::spiffe;
use crate::workload::{Presented, Validity};

impl Sandbox {
    /// Ends istiod as a deleted pod ends: connections break, the port refuses. Names and endpoints keep changing
    /// behind its back.
    pub async fn stop_istiod(&self) {
        self.istiod.stop().await;
    }

    /// Starts istiod again on the same port, after [`Sandbox::stop_istiod`] or after a client crashed it. Does
    /// nothing while it runs.
    ///
    /// # Errors
    ///
    /// The port was taken by someone else meanwhile.
    pub async fn start_istiod(&self) -> Result<()> {
        self.istiod.run().map(|_| ())
    }

    /// istiod takes this much longer for every response and every certificate; zero ends it.
    pub fn slow_istiod(&self, delay: Duration) {
        *self.istiod.shared().delay.lock() = delay;
    }

    /// No token issued so far is good any more. Streams that are open stay open, as with a real istiod: a token is
    /// looked at once per stream.
    pub fn revoke_tokens(&self) {
        self.istiod.shared().tokens.revoke_all();
    }

    /// Pushes a name table that does not decode to every connected client, once.
    pub fn push_broken_names(&self) {
        self.pushes.break_names();
    }

    /// Workloads of a service account present the identity of another account of the same namespace, from the next
    /// connection on. `None` ends this, and [`Sandbox::expire_workload`] too.
    ///
    /// # Errors
    ///
    /// A listener that the current mesh needs cannot be bound.
    pub fn impersonate(&self, namespace: &str, service_account: &str, instead: Option<&str>) -> Result<()> {
        self.present(namespace, service_account, instead.map(|account| (account, Validity::Current)))
    }

    /// Workloads of a service account present a certificate that has expired, from the next connection on, until
    /// [`Sandbox::impersonate`] with `None`.
    ///
    /// # Errors
    ///
    /// A listener that the current mesh needs cannot be bound.
    pub fn expire_workload(&self, namespace: &str, service_account: &str) -> Result<()> {
        self.present(namespace, service_account, Some((service_account, Validity::Expired)))
    }

    fn present(&self, namespace: &str, account: &str, instead: Option<(&str, Validity)>) -> Result<()> {
        let mesh = self.pushes.mesh();
        let identity = |account: &str| spiffe::identity(&mesh.config.trust_domain, namespace, account);
        let instead = instead.map(|(account, validity)| Presented { identity: identity(account), validity });
        self.plane.present(identity(account), instead, &mesh)
    }

    /// Closes the east-west gateways of a network, with the connections through them.
    ///
    /// # Errors
    ///
    /// No gateway leads into that network.
    pub async fn stop_gateway(&self, network: &str) -> Result<()> {
        if self.plane.stop_gateway(network).await { Ok(()) } else { Err(self.unknown_gateway(network)) }
    }

    /// The east-west gateways into a network read what a client says first, and take this long before they do anything
    /// about it: an hour is a black hole. Zero ends it, for connections that wait, too.
    ///
    /// # Errors
    ///
    /// No gateway leads into that network.
    pub fn slow_gateway(&self, network: &str, delay: Duration) -> Result<()> {
        if self.plane.slow_gateway(network, delay) { Ok(()) } else { Err(self.unknown_gateway(network)) }
    }

    fn unknown_gateway(&self, network: &str) -> Error {
        let known: Vec<_> = self.gateways().into_iter().map(|gateway| gateway.network).collect();
        Error::NotFound { what: "gateway into network", name: network.to_owned(), known: known.join(", ") }
    }

    /// Opens the gateways into a network again after [`Sandbox::stop_gateway`], on the same ports.
    ///
    /// # Errors
    ///
    /// A port was taken by someone else meanwhile.
    pub fn start_gateway(&self, network: &str) -> Result<()> {
        self.plane.start_gateway(network)
    }
}
