//! DNS messages as bytes, read and written in place (RFC 1035 §4.1): no IO, no clock.
//!
//! The listener's answers are written over the query, and whole messages of upstream servers are cached. Messages that are
//! only read or only composed once are hickory's.

#![cfg_attr(
    not(all(feature = "listener", unix)),
    allow(dead_code, reason = "some constants are for the listener alone")
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

/// The longest message over UDP without EDNS (RFC 1035 §4.2.1).
pub(crate) const PLAIN_UDP_SIZE: u16 = 512;

/// The longest message over UDP with EDNS: no fragments on any network (DNS flag day 2020).
pub(crate) const EDNS_UDP_SIZE: u16 = 1232;

/// The longest message over TCP (RFC 1035 §4.2.2).
pub(crate) const MAX_MESSAGE: usize = 0xffff;
