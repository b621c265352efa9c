//! Plain applications to run behind a sidecar.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use xds_proto::istio::v1::auth::{
    IstioCertificateRequest, IstioCertificateResponse,
    istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer},
};

/// An application on a loopback port. Dropping it stops it.
#[derive(Debug)]
pub struct App {
    /// The address on which the application listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl App {
    pub(crate) fn new(address: SocketAddr, task: JoinHandle<()>) -> Self {
        Self { address, task }
    }

    /// Serves each connection in a task.
    async fn serve<F>(connection: impl Fn(BufReader<TcpStream>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(BufReader::new(stream)));
            }
        });
        Self { address, task }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts an application that answers each line with `NAME: LINE`.
pub async fn echo(name: &str) -> App {
    let name: Arc<str> = name.into();
    App::serve(move |mut stream| {
        let name = name.clone();
        async move {
            let mut line = String::new();
            while stream.read_line(&mut line).await? > 0 {
                stream.get_mut().write_all(format!("{name}: {line}").as_bytes()).await?;
                line.clear();
            }
            Ok(())
        }
    })
    .await
}

/// Starts an application that answers every HTTP/1.1 request with its name.
pub async fn http(name: &str) -> App {
    let name: Arc<str> = name.into();
    App::serve(move |mut stream| {
        let name = name.clone();
        async move {
            while asked(&mut stream).await.is_some() {
                stream.get_mut().write_all(&response(name.as_bytes())).await?;
            }
            Ok(())
        }
    })
    .await
}

/// Starts an application that answers HTTP/1.1 requests with the caller that the sidecar reports
/// (`x-forwarded-client-cert`), and `/bytes/N` with N bytes.
pub async fn caller() -> App {
    App::serve(|mut stream| async move {
        while let Some(body) = asked(&mut stream).await {
            stream.get_mut().write_all(&response(&body)).await?;
        }
        Ok(())
    })
    .await
}

fn response(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Reads the head of a request without a body and returns the answer of [`caller`], or `None` at the end of the
/// connection.
async fn asked(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let (mut line, mut bytes, mut caller) = (String::new(), None, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
            let path = line.strip_prefix("GET /bytes/").and_then(|path| path.split(' ').next());
            bytes = bytes.or_else(|| path.and_then(|count| count.parse().ok()));
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("x-forwarded-client-cert") => {
                    caller = value.to_owned()
                }
                _ if line.trim().is_empty() => break,
                _ => {}
            }
        } else {
            return None;
        }
    }
    Some(bytes.map_or_else(|| format!("{caller}\n").into_bytes(), |count| vec![b'x'; count]))
}

/// Starts a gRPC server without TLS. Its only method, [`CreateCertificate`], returns the text of the request.
///
/// [`CreateCertificate`]: IstioCertificateService::create_certificate
pub async fn grpc() -> App {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let address = listener.local_addr().expect("its address");
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server =
        tonic::transport::Server::builder().add_service(IstioCertificateServiceServer::new(HandBack));
    let task = tokio::spawn(async move {
        server.serve_with_incoming(incoming).await.expect("the gRPC application serves");
    });
    App { address, task }
}

struct HandBack;

#[tonic::async_trait]
impl IstioCertificateService for HandBack {
    async fn create_certificate(
        &self,
        request: tonic::Request<IstioCertificateRequest>,
    ) -> Result<tonic::Response<IstioCertificateResponse>, tonic::Status> {
        let cert_chain = vec![request.into_inner().csr];
        Ok(tonic::Response::new(IstioCertificateResponse { cert_chain }))
    }
}
