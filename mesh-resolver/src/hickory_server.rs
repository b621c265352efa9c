//! An adapter for hickory's `Server` (feature `hickory-server`).

use std::slice;

use async_trait::async_trait;
use hickory_resolver::{
    net::{DnsError, NetError, NoRecords, runtime::Time},
    proto::op::{DnsRequest, DnsRequestOptions, Message, MessageType, Metadata, OpCode, ResponseCode},
};
use hickory_server::{
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};

use crate::{
    hickory::{answer::answer, mesh_upstream},
    policy::Asker,
    resolver::MeshResolver,
};

/// A request handler for a `hickory_server::Server`. It answers mesh names from the name table and all other names
/// through the upstream DNS of the mesh resolver.
///
/// Use it in a program that already runs such a server, or to serve DNS over TLS, HTTPS or QUIC. A
/// [`DnsListener`](crate::listener::DnsListener) needs less CPU time.
///
/// The handler resolves names outside the mesh for every client. Restrict the clients with `Server::with_access`.
///
/// ```
/// use hickory_server::Server;
/// use mesh_resolver::{MeshResolver, SearchScope, Upstream, hickory_server::MeshHandler};
/// use tokio::net::UdpSocket;
/// # use nds_client::{health::Health, watch::WatchSender, resources::name_table::NameTable};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (names, health) = (WatchSender::new(NameTable::default()), WatchSender::new(Health::default()));
/// // In a program: MeshResolver::new(&NdsClient::join(config).await?)?
/// let scope = SearchScope::new("vms", "svc.cluster.local");
/// let mesh = MeshResolver::builder(names.subscribe(), health.subscribe(), scope)
///     .with_upstream(Upstream::none())
///     .build()?;
/// let mut server = Server::new(MeshHandler::new(mesh));
/// server.register_socket(UdpSocket::bind("127.0.0.1:0").await?);
/// server.shutdown_gracefully().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MeshHandler {
    mesh: MeshResolver,
}

impl MeshHandler {
    /// Creates a handler that uses `mesh`.
    #[must_use]
    pub fn new(mesh: MeshResolver) -> Self {
        Self { mesh }
    }

    async fn answer(&self, request: &Request) -> Message {
        let failure = |code| Message::error_msg(request.metadata.id, request.metadata.op_code, code);
        if request.metadata.message_type != MessageType::Query || request.metadata.op_code != OpCode::Query {
            return failure(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return failure(ResponseCode::FormErr) };
        let mut asked = Message::query();
        asked.metadata.id = request.metadata.id;
        asked.metadata.recursion_desired = request.metadata.recursion_desired;
        asked.metadata.checking_disabled = request.metadata.checking_disabled;
        asked.add_query(info.query.original().clone());
        let asked = DnsRequest::new(asked, DnsRequestOptions::default());
        let upstream = mesh_upstream(self.mesh.clone());
        match answer(self.mesh.clone(), upstream, asked, Asker::Unknown).await {
            Ok(response) => response.into_message(),
            Err(NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. }))) => {
                failure(response_code)
            }
            Err(error) => {
                tracing::debug!(%error, "upstream DNS failed: the query is answered with SERVFAIL");
                failure(ResponseCode::ServFail)
            }
        }
    }
}

#[async_trait]
impl RequestHandler for MeshHandler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut to: R,
    ) -> ResponseInfo {
        let answer = self.answer(request).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = answer.metadata.response_code;
        metadata.authoritative = answer.metadata.authoritative;
        metadata.recursion_available = true;
        let none = slice::Iter::default();
        let response = MessageResponseBuilder::from_message_request(request).build(
            metadata,
            answer.answers.iter(),
            answer.authorities.iter(),
            none.clone(),
            none,
        );
        let sent = to.send_response(response).await;
        sent.unwrap_or_else(|error| {
            tracing::debug!(%error, "a DNS response cannot be sent");
            failed(metadata)
        })
    }
}

/// Builds the `ResponseInfo` that the handler returns if a response could not be sent.
fn failed(metadata: Metadata) -> ResponseInfo {
    let counts = Default::default();
    ResponseInfo::from(hickory_resolver::proto::op::Header { metadata, counts })
}
