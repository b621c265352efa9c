//! An HTTP server on loopback that answers every request with one text.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

/// A running server, which stops when it is dropped.
#[cfg_attr(
    not(any(feature = "reqwest", feature = "hyper")),
    allow(dead_code, reason = "only the HTTP clients use it")
)]
pub(crate) struct HttpServer {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

#[cfg_attr(
    not(any(feature = "reqwest", feature = "hyper")),
    allow(dead_code, reason = "only the HTTP clients use it")
)]
impl HttpServer {
    pub(crate) async fn start(body: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                if stream.read(&mut request).await.is_ok_and(|len| len > 0) {
                    let len = body.len();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}"
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        Self { address, _tasks: tasks }
    }
}
