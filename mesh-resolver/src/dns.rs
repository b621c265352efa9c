//! DNS messages as bytes, read and written in place (RFC 1035 §4.1): no IO, no clock.
//!
//! The listener writes each answer over its query, and the upstream cache stores whole messages. Messages that are
//! only read, or composed once, use hickory's types.

#![cfg_attr(
    not(all(feature = "listener", unix)),
    allow(dead_code, reason = "some constants are used only by the listener")
)]

pub(crate) mod header;
pub(crate) mod lifetime;
mod name;
#[cfg(all(feature = "listener", unix))]
pub(crate) mod query;
pub(crate) mod question;
mod record;
#[cfg(all(feature = "listener", unix))]
pub(crate) mod reply;

/// The maximum size of a UDP message without EDNS (RFC 1035 §4.2.1).
pub(crate) const PLAIN_UDP_SIZE: u16 = 512;

/// The maximum size of a UDP message with EDNS. It avoids fragmentation on all networks (DNS flag day 2020).
pub(crate) const EDNS_UDP_SIZE: u16 = 1232;

/// The maximum size of a TCP message (RFC 1035 §4.2.2).
pub(crate) const MAX_MESSAGE: usize = 0xffff;
