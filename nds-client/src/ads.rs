//! The aggregated discovery stream (ADS, delta) to istiod: NDS always, CDS and EDS on demand.
//!
//! [`session`] is the protocol without IO; [`driver`] connects, retries and publishes.

pub(crate) mod driver;
mod node;
mod publish;
pub(crate) mod session;
mod stream;
mod wanted;
mod watchdog;

pub(crate) use self::wanted::{Used, WantedNow};

#[cfg(test)]
mod tests;
