//! What an answer of upstream DNS says about the addresses of a name.

use std::{cmp::min, net::IpAddr, time::Duration};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, RecordType},
};

use super::failure::Failure;

/// Addresses, and at the end of which chain of aliases they are.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) ips: Vec<IpAddr>,
    pub(super) owner: Name,
    pub(super) ttl: Duration,
    /// For how long they have been out of date, where they are.
    pub(super) stale: Option<Duration>,
}

impl Found {
    /// Both families as one.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.ips.extend(other.ips);
        Self { ttl: min(self.ttl, other.ttl), stale: self.stale.max(other.stale), ..self }
    }
}

/// Reads the answer to a question for `kind` of `name`. Aliases are followed within it, and no further, as by glibc: a
/// recursive server gives the whole chain (RFC 1034 §4.3.2).
pub(super) fn read(
    message: &[u8],
    name: &Name,
    kind: RecordType,
    stale: Option<Duration>,
) -> Result<Found, Failure> {
    let message = Message::from_vec(message).map_err(|_| Failure::Unreadable)?;
    match message.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Err(Failure::Unknown),
        code => return Err(Failure::Refused(code)),
    }
    let (mut owner, mut ttl, mut ips) = (name.clone(), u32::MAX, Vec::new());
    for record in message.answers.iter().filter(|record| record.record_type() != RecordType::OPT) {
        // Names are compared without their case.
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
        false => Ok(Found { ips, owner, ttl: Duration::from_secs(ttl.into()), stale }),
    }
}
