//! Answers one DNS query: with records, with NODATA, or with NXDOMAIN and an SOA record.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::hosts::Hosts;

/// The transport of a query, which decides the maximum length of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

const TTL: u32 = 60;
/// The TTL of negative answers. It is short because a reload of the YAML may add the name.
const NEGATIVE_TTL: u32 = 5;
/// The maximum length of a UDP answer to a query without EDNS.
const PLAIN_UDP: usize = 512;

/// Returns the queried name and the answer, or `None` if `query` is not a DNS query.
pub(crate) fn answer(hosts: &Hosts, query: &[u8], transport: Transport) -> Option<(String, Vec<u8>)> {
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    let mut limit = if transport == Transport::Udp { PLAIN_UDP } else { usize::from(u16::MAX) };
    if let Some(edns) = &query.edns {
        if transport == Transport::Udp {
            limit = usize::from(edns.max_payload()).max(PLAIN_UDP);
        }
        response.set_edns(Edns::new());
    }
    let Some(question) = query.queries.first().filter(|_| query.metadata.op_code == OpCode::Query) else {
        response.metadata.response_code = ResponseCode::NotImp;
        return Some((String::new(), response.to_vec().ok()?));
    };
    response.add_query(question.clone());
    let name = question.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    match hosts.get(&name) {
        None => response.metadata.response_code = ResponseCode::NXDomain,
        Some(addresses) => {
            let records = addresses
                .iter()
                .filter_map(|address| record(question.name(), question.query_type(), *address));
            response.add_answers(records);
        }
    }
    if response.answers.is_empty() {
        response.add_authority(authority());
    }
    let bytes = response.to_vec().ok()?;
    let bytes = if bytes.len() > limit { response.truncate().to_vec().ok()? } else { bytes };
    Some((name, bytes))
}

fn record(name: &Name, kind: RecordType, address: IpAddr) -> Option<Record> {
    let data = match (kind, address) {
        (RecordType::A, IpAddr::V4(address)) => RData::A(A(address)),
        (RecordType::AAAA, IpAddr::V6(address)) => RData::AAAA(AAAA(address)),
        _ => return None,
    };
    Some(Record::from_rdata(name.clone(), TTL, data))
}

fn authority() -> Record {
    let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86400, NEGATIVE_TTL);
    Record::from_rdata(Name::root(), NEGATIVE_TTL, RData::SOA(soa))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hickory_proto::op::{Message, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};

    use super::{Transport, answer};
    use crate::dns::hosts;

    fn ask(name: &str, kind: RecordType) -> Message {
        let hosts = hosts::parse(Path::new("h"), "192.0.2.1 intranet.example.com\n").unwrap();
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        let (_, bytes) = answer(&hosts, &query.to_vec().unwrap(), Transport::Udp).unwrap();
        Message::from_vec(&bytes).unwrap()
    }

    #[test]
    fn a_known_name_is_answered_in_any_case() {
        let response = ask("Intranet.Example.com.", RecordType::A);
        assert_eq!(response.answers.len(), 1);
        assert_eq!(response.metadata.response_code, ResponseCode::NoError);
    }

    #[test]
    fn a_missing_family_is_nodata_and_an_unknown_name_is_nxdomain_each_with_an_soa() {
        let nodata = ask("intranet.example.com.", RecordType::AAAA);
        assert_eq!((nodata.answers.len(), nodata.authorities.len()), (0, 1));
        assert_eq!(nodata.metadata.response_code, ResponseCode::NoError);
        let unknown = ask("nobody.example.com.", RecordType::A);
        assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(unknown.authorities.len(), 1);
    }
}
