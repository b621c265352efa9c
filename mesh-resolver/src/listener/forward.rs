//! What happens to a query that the table does not answer at once: upstream, and the time before the first table.

use std::io;

use futures_util::FutureExt as _;

use super::{
    packet::Query,
    reply::{self, Code},
    respond::{self, PACKET, Transport, Verdict},
};
use crate::{
    MeshResolver,
    fallback::Missing,
    upstream::{NoAnswer, Transport as UpstreamTransport},
};

/// Answers queries by way of upstream DNS.
#[derive(Clone)]
pub(super) struct Forwarder {
    pub(super) resolver: MeshResolver,
}

impl Forwarder {
    /// The answer to a query, whoever has it; SERVFAIL where nobody does.
    pub(super) async fn answer(&self, message: &[u8], query: &Query, transport: Transport) -> Vec<u8> {
        if self.resolver.is_ready() || !query.is_for_addresses() {
            return self.upstream_or_failure(message, query, transport).await;
        }
        // A name that does not exist upstream may be the mesh's. One that exists without this family is upstream's.
        let upstream = self.upstream(message, query, transport).map(|answer| match answer {
            Ok(answer) if !is_nx_domain(&answer) => Ok(answer),
            unknown => Err(unknown),
        });
        let look = || self.mesh(message, transport);
        match self.resolver.before_first_table(query.name(), upstream, look, look).await {
            Ok(answer) | Err(Missing::Upstream(Ok(answer))) => answer,
            Err(Missing::Upstream(Err(error))) => self.failed(message, query, &error),
            Err(Missing::NotReady(error)) => {
                tracing::debug!(error = %error.report(), "a query is answered SERVFAIL");
                failure(message, query, Code::ServFail)
            }
        }
    }

    async fn upstream_or_failure(&self, message: &[u8], query: &Query, transport: Transport) -> Vec<u8> {
        match self.upstream(message, query, transport).await {
            Ok(answer) => answer,
            Err(error) => self.failed(message, query, &error),
        }
    }

    async fn upstream(
        &self,
        message: &[u8],
        query: &Query,
        transport: Transport,
    ) -> Result<Vec<u8>, NoAnswer> {
        let state = self.resolver.inner().upstream.state();
        let asker = state.asker().map_err(|unusable| {
            NoAnswer::Unreachable(io::Error::new(io::ErrorKind::NotFound, unusable.clone()).into())
        })?;
        let over = match transport {
            Transport::Tcp => UpstreamTransport::Tcp,
            Transport::Udp { .. } => UpstreamTransport::Udp,
        };
        let answer = asker.ask(message, over).await?.message;
        if answer.len() <= transport.limit(query) {
            return Ok(answer);
        }
        let mut packet = message.to_vec();
        let len = reply::truncated(&mut packet, query);
        packet.truncate(len);
        Ok(packet)
    }

    /// What the table says by now.
    fn mesh(&self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let mut packet = vec![0; PACKET];
        packet.get_mut(..message.len())?.copy_from_slice(message);
        match respond::respond(&self.resolver.names(), &mut packet, message.len(), transport) {
            Verdict::Answer(len) => {
                packet.truncate(len);
                packet.shrink_to_fit();
                Some(packet)
            }
            Verdict::Forward(_) | Verdict::Unfit(_) => None,
        }
    }

    fn failed(&self, message: &[u8], query: &Query, error: &NoAnswer) -> Vec<u8> {
        let code = match error {
            // Another record type of a mesh name: the name exists.
            NoAnswer::Nobody if self.resolver.names().lookup(query.name()).is_some() => Code::NoError,
            NoAnswer::Nobody => Code::NxDomain,
            NoAnswer::Loop => {
                tracing::warn!("the only upstream name server is this listener itself");
                Code::ServFail
            }
            NoAnswer::Unreachable(_) => {
                tracing::debug!(%error, "a query is answered SERVFAIL");
                Code::ServFail
            }
        };
        failure(message, query, code)
    }
}

/// The reply without records to a query. It is never longer: where it has an OPT record, the query had one.
pub(super) fn failure(message: &[u8], query: &Query, code: Code) -> Vec<u8> {
    let mut packet = message.to_vec();
    let len = reply::empty(&mut packet, query, code);
    packet.truncate(len);
    packet
}

fn is_nx_domain(answer: &[u8]) -> bool {
    answer.get(3).is_some_and(|flags| flags & 0x0f == 3)
}
