//! From a DNS request to a DNS response: records made of the table, or whatever upstream says.

use std::{net::IpAddr, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use hickory_resolver::{
    net::NetError,
    proto::{
        op::{DnsRequest, DnsResponse, Message, OpCode, Query, ResponseCode},
        rr::{DNSClass, Name, RData, Record, RecordType, rdata::CNAME},
    },
};

use crate::{MeshResolver, answer::shuffle, fallback::Missing, lookup::Answer, mode::Given};

pub(super) type Response = Result<DnsResponse, NetError>;

/// Who answers what the mesh does not.
pub(super) type Ask = Arc<dyn Fn(DnsRequest) -> BoxFuture<'static, Response> + Send + Sync>;

/// The table first, upstream second, in the order of [`MeshResolver::lookup_ip`]. Records of the mesh have this TTL.
pub(super) async fn answer(mesh: MeshResolver, upstream: Ask, request: DnsRequest, ttl: u32) -> Response {
    let Some(query) = request.queries.first().filter(|query| is_for_addresses(query)).cloned() else {
        return upstream(request).await;
    };
    let id = request.id;
    let host = query.name().to_ascii();
    let ready = mesh.is_ready();
    let look = || mesh_response(&mesh, &host, &query, id, ttl);
    if let Some(response) = look() {
        return response;
    }
    let asked = upstream(request);
    if ready {
        return asked.await;
    }
    // A name that does not exist upstream may be the mesh's. One that exists without this family is upstream's.
    let asked = asked.map(|response| match response {
        Ok(response) if response.response_code != ResponseCode::NXDomain => Ok(Ok(response)),
        Err(error) if error.is_no_records_found() && !error.is_nx_domain() => Ok(Err(error)),
        unknown => Err(Box::new(unknown)),
    });
    match mesh.before_first_table(&host, asked, look, look).await {
        Ok(response) => response,
        Err(Missing::Upstream(response)) => *response,
        Err(Missing::NotReady(error)) => Err(NetError::Msg(error.report())),
    }
}

fn is_for_addresses(query: &Query) -> bool {
    query.query_class() == DNSClass::IN && matches!(query.query_type(), RecordType::A | RecordType::AAAA)
}

/// What Istio's proxy answers to a question for a mesh name; `None` where the mesh does not know the name.
fn mesh_response(mesh: &MeshResolver, host: &str, query: &Query, id: u16, ttl: u32) -> Option<Response> {
    let names = mesh.names();
    let given = names.given(host)?;
    let answer = &given.answer;
    let addresses = addresses(&given, query.query_type());
    mesh.inner().recent.record(answer.name(), &addresses);
    let mut message = Message::response(id, OpCode::Query);
    message.metadata.authoritative = true;
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_query(query.clone());
    // A known name without the family asked for: no data, and no CNAME record either.
    if !addresses.is_empty() {
        match records(answer, host, query.name(), &addresses, ttl) {
            Ok(records) => message.add_answers(records),
            Err(error) => return Some(Err(error)),
        };
    }
    Some(DnsResponse::from_message(message).map_err(NetError::from))
}

fn addresses(answer: &Given<'_>, family: RecordType) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = match family {
        RecordType::A => answer.ipv4().iter().copied().map(IpAddr::V4).collect(),
        _ => answer.ipv6().iter().copied().map(IpAddr::V6).collect(),
    };
    shuffle(&mut addresses);
    addresses
}

fn records(
    answer: &Answer<'_>,
    host: &str,
    asked: &Name,
    addresses: &[IpAddr],
    ttl: u32,
) -> Result<Vec<Record>, NetError> {
    let asked = asked.to_lowercase();
    let bare = host.strip_suffix('.').unwrap_or(host);
    let (alias, owner) = match answer.alias(bare) {
        Some(target) => {
            let target = Name::from_ascii(target + ".")?;
            let alias = Record::from_rdata(asked, ttl, RData::CNAME(CNAME(target.clone())));
            (Some(alias), target)
        }
        None => (None, asked),
    };
    let found = addresses.iter().map(|ip| Record::from_rdata(owner.clone(), ttl, RData::from(*ip)));
    Ok(alias.into_iter().chain(found).collect())
}
