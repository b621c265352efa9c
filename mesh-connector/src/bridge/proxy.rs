//! The proxy: one port for SOCKS5 and HTTP, told apart by the first byte.

use tokio::{net::TcpStream, time::timeout};

use super::{Shared, http, socks};

/// The first byte of a SOCKS5 client (RFC 1928 §3). No HTTP method begins with it.
const SOCKS5: u8 = 5;

pub(super) async fn serve(client: TcpStream, shared: &Shared) {
    let mut first = [0];
    match timeout(shared.settings.handshake_timeout, client.peek(&mut first)).await {
        Ok(Ok(1)) if first[0] == SOCKS5 => socks::serve(client, shared).await,
        Ok(Ok(1)) => http::serve(client, shared).await,
        // It said nothing, or left.
        _ => {}
    }
}
