//! The proxy: one port for SOCKS5 and HTTP. The first byte of a client selects the protocol.

use std::sync::Arc;

use tokio::{net::TcpStream, time::timeout};

use super::{BridgeState, admission::Admission, http, socks};

/// The first byte of a SOCKS5 client (RFC 1928 §3). No HTTP method starts with this byte.
const SOCKS5: u8 = 5;

pub(super) async fn serve(client: TcpStream, admission: Admission, state: Arc<BridgeState>) {
    let mut first = [0];
    let time_left = admission.time_left(state.settings.handshake_timeout);
    match timeout(time_left, client.peek(&mut first)).await {
        Ok(Ok(1)) if first[0] == SOCKS5 => socks::serve(client, admission, &state).await,
        Ok(Ok(1)) => http::serve(client, admission, &state).await,
        // The client sent nothing or has closed the connection.
        _ => {}
    }
}
