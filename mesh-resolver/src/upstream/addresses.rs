//! Reads the addresses of a name from an upstream answer.

use std::{cmp::min, net::IpAddr, time::Duration};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, RecordType},
};

use super::failure::Failure;

/// The addresses of a name, and the end of its CNAME chain.
#[derive(Debug)]
pub(super) struct ResolvedAddresses {
    pub(super) ips: Vec<IpAddr>,
    pub(super) owner: Name,
    pub(super) ttl: Duration,
    /// The time since the TTL of a stale answer expired; `None` for an answer that is not stale.
    pub(super) stale: Option<Duration>,
}

impl ResolvedAddresses {
    /// Merges IPv4 and IPv6 addresses.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.ips.extend(other.ips);
        Self { ttl: min(self.ttl, other.ttl), stale: self.stale.max(other.stale), ..self }
    }
}

/// Reads the answer to a query for `kind` records of `name`. CNAME records are followed within the answer only, as in
/// glibc, because a recursive server returns the whole chain (RFC 1034 §4.3.2).
pub(super) fn read(
    message: &[u8],
    name: &Name,
    kind: RecordType,
    stale: Option<Duration>,
) -> Result<ResolvedAddresses, Failure> {
    let message = Message::from_vec(message).map_err(|_| Failure::Unreadable)?;
    match message.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Err(Failure::Unknown),
        code => return Err(Failure::Refused(code)),
    }
    let (mut owner, mut ttl, mut ips) = (name.clone(), u32::MAX, Vec::new());
    for record in message.answers.iter().filter(|record| record.record_type() != RecordType::OPT) {
        // Names compare without regard to case.
        if record.name != owner {
            continue;
        }
        match &record.data {
            RData::CNAME(target) => owner = target.0.clone(),
            data if record.record_type() == kind => ips.extend(data.ip_addr()),
            _ => continue,
        }
        ttl = ttl.min(record.ttl);
    }
    match ips.is_empty() {
        true => Err(Failure::NoRecords),
        false => Ok(ResolvedAddresses { ips, owner, ttl: Duration::from_secs(ttl.into()), stale }),
    }
}
