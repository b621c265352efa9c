//! Answers the queries that the name table cannot answer. They go to upstream DNS, or wait for the first name table.

use std::{io, pin::pin};

use futures_util::FutureExt as _;

use super::{
    respond::{Disposition, ForwardedQuery, Transport, respond},
    warnings::{Cause, Warnings},
};
use crate::{
    dns::{MAX_MESSAGE, header::Code, query::Query, reply},
    names::FirstAnswer,
    policy::Asker,
    resolver::MeshResolver,
    upstream::{NoAnswer, Transport as UpstreamTransport},
};

/// Forwards queries to upstream DNS.
#[derive(Clone)]
pub(super) struct Forwarder {
    pub(super) resolver: MeshResolver,
}

impl Forwarder {
    /// Returns the response to a query; SERVFAIL if neither the mesh nor upstream DNS answers.
    pub(super) async fn answer(
        &self,
        message: &[u8],
        asked: &ForwardedQuery,
        transport: Transport,
        warnings: &Warnings,
    ) -> Vec<u8> {
        match asked.before_first_table {
            true => self.before_first_table(message, asked, transport, warnings).await,
            false => {
                let answer = self.upstream(message, &asked.query, transport).await;
                answer.unwrap_or_else(|error| self.failed(message, &asked.query, &error, warnings))
            }
        }
    }

    async fn before_first_table(
        &self,
        message: &[u8],
        asked: &ForwardedQuery,
        transport: Transport,
        warnings: &Warnings,
    ) -> Vec<u8> {
        let query = &asked.query;
        // A name that does not exist upstream may be a mesh name. A name that exists upstream without addresses of the
        // requested family is not a mesh name.
        let mut upstream = pin!(self.upstream(message, query, transport).map(|answer| match answer {
            Ok(answer) if Code::from_message(&answer) != Some(Code::NxDomain) => Ok(answer),
            unknown => Err(unknown),
        }));
        let mesh = || self.mesh(message, transport, asked.asker);
        let answer =
            match self.resolver.inner().mesh.wait_for_first_table(query.name(), upstream.as_mut()).await {
                Ok(FirstAnswer::Upstream(answer)) => Ok(answer),
                Ok(FirstAnswer::Table) => match mesh() {
                    Some(answer) => Ok(answer),
                    None => upstream.await,
                },
                Ok(FirstAnswer::NoUpstreamAnswer(unknown)) => mesh().ok_or(unknown),
                Err(not_ready) => {
                    tracing::debug!(
                        name = query.name(),
                        error = %not_ready.report(),
                        "a DNS query is answered with SERVFAIL"
                    );
                    return failure(message, query, Code::ServFail);
                }
            };
        match answer {
            Ok(answer) | Err(Ok(answer)) => answer,
            Err(Err(error)) => self.failed(message, query, &error, warnings),
        }
    }

    async fn upstream(
        &self,
        message: &[u8],
        query: &Query,
        transport: Transport,
    ) -> Result<Vec<u8>, NoAnswer> {
        let state = self.resolver.inner().upstream.state();
        let client = state.client().map_err(|unusable| {
            NoAnswer::Unreachable(io::Error::new(io::ErrorKind::NotFound, unusable.clone()).into())
        })?;
        let over = match transport {
            Transport::Tcp => UpstreamTransport::Tcp,
            Transport::Udp { .. } => UpstreamTransport::Udp,
        };
        let answer = client.query(message, over).await?.message;
        if answer.len() <= transport.limit(query) {
            return Ok(answer);
        }
        let mut packet = message.to_vec();
        let len = reply::truncated(&mut packet, query);
        packet.truncate(len);
        Ok(packet)
    }

    /// Returns the answer of the current name table; `None` if the table has no answer.
    fn mesh(&self, message: &[u8], transport: Transport, asker: Asker) -> Option<Vec<u8>> {
        let mut packet = vec![0; MAX_MESSAGE];
        packet.get_mut(..message.len())?.copy_from_slice(message);
        match respond(&self.resolver.inner().mesh.load(), &mut packet, message.len(), transport, asker) {
            Disposition::Answer(len) | Disposition::NoLocalAddress(len) => {
                packet.truncate(len);
                packet.shrink_to_fit();
                Some(packet)
            }
            Disposition::Forward(_) | Disposition::Invalid(_) => None,
        }
    }

    fn is_mesh_name(&self, query: &Query) -> bool {
        self.resolver.inner().mesh.load().lookup(query.name()).is_some()
    }

    fn failed(&self, message: &[u8], query: &Query, error: &NoAnswer, warnings: &Warnings) -> Vec<u8> {
        let code = match error {
            // The query is for another record type of a mesh name, so the name exists.
            NoAnswer::Disabled if !query.is_for_addresses() && self.is_mesh_name(query) => Code::NoError,
            NoAnswer::Disabled => Code::NxDomain,
            NoAnswer::LocalResource(_) | NoAnswer::NoSocket(_) => {
                if let Some(times) = warnings.occurred(Cause::LocalResource) {
                    tracing::warn!(%error, times, "DNS queries are answered with SERVFAIL");
                }
                Code::ServFail
            }
            NoAnswer::Loop if warnings.occurred(Cause::OwnUpstream).is_some() => {
                tracing::warn!(
                    "the only upstream DNS server is this listener: configure another one with \
                     Upstream::servers or in resolv.conf"
                );
                Code::ServFail
            }
            NoAnswer::Loop | NoAnswer::Unreachable(_) => {
                tracing::debug!(%error, "a DNS query is answered with SERVFAIL");
                Code::ServFail
            }
        };
        failure(message, query, code)
    }
}

/// Builds a response without records. It is never longer than the query.
pub(super) fn failure(message: &[u8], query: &Query, code: Code) -> Vec<u8> {
    let mut packet = message.to_vec();
    let len = reply::empty(&mut packet, query, code);
    packet.truncate(len);
    packet
}
