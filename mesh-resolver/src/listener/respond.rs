//! What a DNS server of the mesh says to one packet: bytes in, bytes out, no IO.
//!
//! The rules are those of Istio's DNS proxy (`pkg/dns/client/dns.go`, `ServeDNS`) and, where it leaves a packet to its
//! DNS library, of the RFCs.

use super::{packet::Query, reply};
use crate::resolver::Names;

/// What becomes of a packet.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The answer has taken its place, and is so long.
    Answer(usize),
    /// It is a question for somebody else. The packet is as it was.
    Forward(Box<Query>),
    /// It was no query that can be answered. The reply has taken its place; without a length there is none.
    Unfit(Option<usize>),
}

/// How a query came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Tcp,
    /// With the longest answer that may be sent to this asker, whatever it says that it takes.
    Udp {
        most: u16,
    },
}

impl Transport {
    /// The longest answer to a query.
    pub(super) fn limit(self, query: &Query) -> usize {
        match self {
            Self::Tcp => usize::from(u16::MAX),
            Self::Udp { most } => usize::from(query.udp_size().min(most)),
        }
    }
}

/// Room for any packet.
pub(super) const PACKET: usize = 0xffff;

/// Answers the query in the first `len` bytes of `packet`, in place. `packet` has room for [`PACKET`] bytes.
pub(super) fn respond(names: &Names<'_>, packet: &mut [u8], len: usize, transport: Transport) -> Verdict {
    let query = match Query::parse(packet.get(..len).unwrap_or_default()) {
        Ok(query) => query,
        Err(unfit) => return Verdict::Unfit(reply::unfit(packet, unfit)),
    };
    if query.is_for_addresses()
        && let Some(given) = names.given(query.name())
    {
        let limit = transport.limit(&query).min(packet.len());
        return Verdict::Answer(reply::addresses(&mut packet[..limit], &query, &given, limit));
    }
    Verdict::Forward(Box::new(query))
}

/// The answers to a packet over each transport, checked: for the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn answers(names: &Names<'_>, bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = &bytes[..bytes.len().min(PACKET)];
    let transports = [Transport::Tcp, Transport::Udp { most: u16::MAX }, Transport::Udp { most: 1232 }];
    let answered = transports.into_iter().filter_map(|transport| {
        let mut packet = vec![0; PACKET];
        packet[..bytes.len()].copy_from_slice(bytes);
        let len = match respond(names, &mut packet, bytes.len(), transport) {
            Verdict::Answer(len) => {
                assert!(transport != Transport::Udp { most: 1232 } || len <= 1232);
                len
            }
            Verdict::Unfit(Some(len)) => len,
            Verdict::Unfit(None) | Verdict::Forward(_) => {
                assert_eq!(&packet[..bytes.len()], bytes);
                return None;
            }
        };
        packet.truncate(len);
        Some(packet)
    });
    answered.collect()
}

#[cfg(test)]
mod tests;
