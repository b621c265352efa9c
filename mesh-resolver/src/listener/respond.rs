//! Answers one packet from the name table: bytes in, bytes out, no IO.
//!
//! The rules are those of Istio's DNS proxy (`pkg/dns/client/dns.go`, `ServeDNS`). Where the proxy relies on its DNS
//! library, the rules are those of the RFCs.

use crate::{
    dns::{header::Code, query::Query, reply},
    names::{NameTableRef, NotMesh},
    policy::Asker,
};

/// The result of handling a packet that a client sent to the listener.
#[derive(Debug)]
pub(super) enum Disposition {
    /// The response replaced the packet and has this length.
    Answer(usize),
    /// The table has no answer. The packet is unchanged.
    Forward(Box<ForwardedQuery>),
    /// The name is a mesh name without a loopback address for this client. The response replaced the packet and has
    /// this length.
    NoLocalAddress(usize),
    /// The packet is not a valid query. The response replaced the packet and has this length; `None` if there is no
    /// response.
    Invalid(Option<usize>),
}

/// A query that upstream DNS must answer.
#[derive(Debug)]
pub(super) struct ForwardedQuery {
    pub(super) query: Query,
    pub(super) asker: Asker,
    /// True if istiod has not sent a name table yet, so the name may be a mesh name.
    pub(super) before_first_table: bool,
}

/// The transport of a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Tcp,
    /// UDP, with the largest response that the listener sends to this client.
    Udp {
        max_size: u16,
    },
}

impl Transport {
    /// Returns the maximum size of the response to a query.
    pub(super) fn limit(self, query: &Query) -> usize {
        match self {
            Self::Tcp => usize::from(u16::MAX),
            Self::Udp { max_size } => usize::from(query.udp_size().min(max_size)),
        }
    }
}

/// Answers the query in the first `len` bytes of `packet`, in place. `asker` is the origin of the query. `packet` must
/// have space for a message of the maximum size.
pub(super) fn respond(
    names: &NameTableRef<'_>,
    packet: &mut [u8],
    len: usize,
    transport: Transport,
    asker: Asker,
) -> Disposition {
    let query = match Query::parse(packet.get(..len).unwrap_or_default()) {
        Ok(query) => query,
        Err(error) => return Disposition::Invalid(reply::query_error(packet, error)),
    };
    let local = query.is_for_addresses().then(|| names.classify_for(query.name(), asker));
    match local {
        Some(Ok(answer)) => {
            let limit = transport.limit(&query).min(packet.len());
            let alias = answer.alias(query.name());
            let found = reply::Addresses {
                alias: alias.as_deref(),
                ipv4: answer.ipv4(),
                ipv6: answer.ipv6(),
                ttl: answer.ttl_seconds(),
            };
            Disposition::Answer(reply::addresses(&mut packet[..limit], &query, &found, limit))
        }
        Some(Err(NotMesh::NoLocalAddress(reason))) => {
            tracing::debug!(name = query.name(), ?asker, %reason, "a DNS query for a mesh name is not answered");
            let code = if reason.is_refused() { Code::Refused } else { Code::ServFail };
            Disposition::NoLocalAddress(reply::empty(packet, &query, code))
        }
        other => {
            let before_first_table = matches!(other, Some(Err(NotMesh::NotReady)));
            Disposition::Forward(Box::new(ForwardedQuery { query, asker, before_first_table }))
        }
    }
}

/// Returns the responses to a packet over each transport, for the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn responses(names: &NameTableRef<'_>, bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = &bytes[..bytes.len().min(crate::dns::MAX_MESSAGE)];
    let transports =
        [Transport::Tcp, Transport::Udp { max_size: u16::MAX }, Transport::Udp { max_size: 1232 }];
    let answered = transports.into_iter().filter_map(|transport| {
        let mut packet = vec![0; crate::dns::MAX_MESSAGE];
        packet[..bytes.len()].copy_from_slice(bytes);
        let len = match respond(names, &mut packet, bytes.len(), transport, Asker::Unknown) {
            Disposition::NoLocalAddress(len) => len,
            Disposition::Answer(len) => {
                assert!(transport != Transport::Udp { max_size: 1232 } || len <= 1232);
                len
            }
            Disposition::Invalid(Some(len)) => len,
            Disposition::Invalid(None) | Disposition::Forward(_) => {
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
