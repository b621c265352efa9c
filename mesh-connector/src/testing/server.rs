//! A workload that requires mTLS, selects ALPN like Envoy, and echoes each byte.

use std::{io, net::SocketAddr, sync::Arc};

use nds_client::Identity;
use rustls::{
    HandshakeKind, ServerConfig, SupportedProtocolVersion,
    pki_types::CertificateDer,
    server::{Acceptor, ClientHello, WebPkiClientVerifier},
    sign::SingleCertAndKey,
    version,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy, split},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::provider;
use crate::tls;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
}

/// The properties of a connection on the server side.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) sni: String,
    pub(crate) offered: Vec<String>,
    pub(crate) client: Vec<String>,
    pub(crate) resumed: bool,
    pub(crate) version: rustls::ProtocolVersion,
}

impl Server {
    /// Starts a workload with this identity and its roots.
    pub(crate) async fn start(identity: &Identity) -> Self {
        Self::start_with(identity, &[&version::TLS13, &version::TLS12]).await
    }

    pub(crate) async fn start_with(
        identity: &Identity,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots().clone(), provider());
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified_key().clone())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, seen) = mpsc::unbounded_channel();
        tokio::spawn(serve(listener, config, tell));
        Self { address, seen }
    }

    /// Returns the properties of the next connection with a successful handshake.
    pub(crate) async fn seen(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    /// Returns whether no further handshake has succeeded.
    pub(crate) fn has_seen_nothing(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }

    /// Returns an address that refuses connections.
    pub(crate) async fn nobody() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }
}

async fn serve(listener: TcpListener, config: ServerConfig, tell: mpsc::UnboundedSender<Seen>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (config, tell) = (config.clone(), tell.clone());
        tokio::spawn(async move {
            if let Ok((seen, stream)) = handshake(tcp, config).await {
                let _ = tell.send(seen);
                let _ = echo(stream).await;
            }
        });
    }
}

async fn handshake(tcp: TcpStream, mut config: ServerConfig) -> io::Result<(Seen, TlsStream<TcpStream>)> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), tcp).await?;
    let (sni, offered) = read(&start.client_hello());
    // Without a common protocol Envoy continues without ALPN; rustls would fail.
    if offered.iter().any(|name| name == "h2" || name == "http/1.1") {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    let stream = start.into_stream(Arc::new(config)).await?;
    let session = stream.get_ref().1;
    let client = session.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
    let seen = Seen {
        sni,
        offered,
        client: client.map(tls::uri_names).unwrap_or_default(),
        resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        version: session.protocol_version().unwrap(),
    };
    Ok((seen, stream))
}

fn read(hello: &ClientHello<'_>) -> (String, Vec<String>) {
    let offered =
        hello.alpn().map(|names| names.map(|name| String::from_utf8_lossy(name).into_owned()).collect());
    (hello.server_name().unwrap_or_default().to_owned(), offered.unwrap_or_default())
}

async fn echo(stream: impl AsyncRead + AsyncWrite) -> io::Result<u64> {
    let (mut read, mut write) = split(stream);
    copy(&mut read, &mut write).await
}
