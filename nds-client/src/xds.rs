//! The delta ADS stream to istiod: names always, clusters and endpoints on demand.
//!
//! [`session`] is the protocol without IO; [`driver`] connects, retries and publishes.

pub(crate) mod driver;
mod node;
mod publish;
pub(crate) mod session;
mod stream;
mod watchdog;

#[cfg(test)]
mod tests;
