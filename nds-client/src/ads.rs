//! The aggregated discovery stream (ADS, delta) to istiod: NDS always, CDS and EDS on demand.
//!
//! [`session`] is the protocol without IO; [`driver`] connects, retries and publishes.

pub(crate) mod driver;
mod endpoints_watch;
mod node;
mod publish;
pub(crate) mod session;
mod stream;
pub(crate) mod subscriptions;
mod watchdog;

pub use self::endpoints_watch::EndpointsWatch;

#[cfg(test)]
mod tests;
