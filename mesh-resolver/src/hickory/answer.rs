//! Answers a DNS request of hickory's from the name table or from upstream DNS.

use std::{net::IpAddr, sync::Arc};

use futures_util::{FutureExt as _, future::BoxFuture};
use hickory_resolver::{
    net::NetError,
    proto::{
        op::{DnsRequest, DnsResponse, Message, OpCode, Query, ResponseCode},
        rr::{DNSClass, Name, RData, Record, RecordType, rdata::CNAME},
    },
};

use crate::{
    answer::Ips,
    error::{self, Error},
    lookup::Answer,
    names::{FirstAnswer, NotMesh},
    policy::{Asker, NoLocalAddress},
    resolver::MeshResolver,
};

pub(crate) type Response = Result<DnsResponse, NetError>;

/// A function that forwards a request to upstream DNS.
pub(crate) type UpstreamFn = Arc<dyn Fn(DnsRequest) -> BoxFuture<'static, Response> + Send + Sync>;

/// Answers a request in the order of [`MeshResolver::lookup_ip`]: the name table, then upstream DNS. `asker` is
/// the origin of the request.
pub(crate) async fn answer(
    mesh: MeshResolver,
    upstream: UpstreamFn,
    request: DnsRequest,
    asker: Asker,
) -> Response {
    let Some(query) = request.queries.first().filter(|query| is_for_addresses(query)).cloned() else {
        return upstream(request).await;
    };
    let asked = AddressQuery { host: query.name().to_ascii(), query, id: request.id, asker };
    match asked.answer(&mesh) {
        Ok(response) => response,
        Err(NotMesh::Literal(_) | NotMesh::Unknown) => upstream(request).await,
        Err(NotMesh::NoLocalAddress(reason)) => asked.without_local_address(reason),
        Err(NotMesh::NotReady) => before_first_table(&mesh, &asked, upstream(request)).await,
    }
}

async fn before_first_table(
    mesh: &MeshResolver,
    asked: &AddressQuery,
    upstream: BoxFuture<'static, Response>,
) -> Response {
    // A name that does not exist upstream may be a mesh name. A name that exists upstream without addresses of the
    // requested family is not a mesh name.
    let mut upstream = upstream.map(|response| match response {
        Ok(response) if response.response_code != ResponseCode::NXDomain => Ok(Ok(response)),
        Err(error) if error.is_no_records_found() && !error.is_nx_domain() => Ok(Err(error)),
        unknown => Err(Box::new(unknown)),
    });
    match mesh.inner().mesh.wait_for_first_table(&asked.host, &mut upstream).await {
        Ok(FirstAnswer::Upstream(response)) => response,
        Ok(FirstAnswer::Table) => match asked.answer(mesh) {
            Ok(response) => response,
            Err(NotMesh::NoLocalAddress(reason)) => asked.without_local_address(reason),
            Err(_) => upstream.await.unwrap_or_else(|unknown| *unknown),
        },
        Ok(FirstAnswer::NoUpstreamAnswer(unknown)) => match asked.answer(mesh) {
            Ok(response) => response,
            Err(NotMesh::NoLocalAddress(reason)) => asked.without_local_address(reason),
            Err(_) => *unknown,
        },
        Err(not_ready) => Err(NetError::Msg(Error::of_lookup(&asked.host, not_ready).report())),
    }
}

fn is_for_addresses(query: &Query) -> bool {
    query.query_class() == DNSClass::IN && matches!(query.query_type(), RecordType::A | RecordType::AAAA)
}

/// An A or AAAA query, and its origin.
struct AddressQuery {
    host: String,
    query: Query,
    id: u16,
    asker: Asker,
}

impl AddressQuery {
    /// Returns the answer that Istio's DNS proxy would give, if the name is a mesh name.
    fn answer(&self, mesh: &MeshResolver) -> Result<Response, NotMesh> {
        let inner = mesh.inner();
        inner.mesh.load().classify_for(&self.host, self.asker).map(|answer| {
            let addresses = self.addresses(&answer);
            inner.reverse_index.record(answer.name(), &addresses);
            self.response(&answer, &addresses)
        })
    }

    /// Returns the response to a query for a mesh name that has no loopback address for the origin of the query.
    fn without_local_address(&self, reason: NoLocalAddress) -> Response {
        if !reason.is_refused() {
            let error = Error::of_lookup(&self.host, error::no_local_address(reason));
            return Err(NetError::Msg(error.report()));
        }
        let mut message = Message::error_msg(self.id, OpCode::Query, ResponseCode::Refused);
        message.add_query(self.query.clone());
        DnsResponse::from_message(message).map_err(NetError::from)
    }

    /// Returns the TTL of the answer. hickory's resolver must not cache mesh answers, so that a change of the name table
    /// is visible immediately.
    fn ttl(&self, answer: &Answer<'_>) -> u32 {
        if self.asker == Asker::ThisProcess { 0 } else { answer.ttl_seconds() }
    }

    /// Returns the addresses of the requested family.
    fn addresses(&self, answer: &Answer<'_>) -> Ips {
        match self.query.query_type() {
            RecordType::A => Ips::shuffled(answer.ipv4(), &[]),
            _ => Ips::shuffled(&[], answer.ipv6()),
        }
    }

    fn response(&self, answer: &Answer<'_>, addresses: &[IpAddr]) -> Response {
        let mut message = Message::response(self.id, OpCode::Query);
        message.metadata.authoritative = true;
        message.metadata.recursion_desired = true;
        message.metadata.recursion_available = true;
        message.add_query(self.query.clone());
        // A known name without addresses of the requested family is NODATA, without a CNAME record.
        if !addresses.is_empty() {
            message.add_answers(self.records(answer, addresses)?);
        }
        DnsResponse::from_message(message).map_err(NetError::from)
    }

    fn records(&self, answer: &Answer<'_>, addresses: &[IpAddr]) -> Result<Vec<Record>, NetError> {
        let (asked, ttl) = (self.query.name().to_lowercase(), self.ttl(answer));
        let bare = self.host.strip_suffix('.').unwrap_or(&self.host);
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
}
