//! A listener for URLs without a port: the first byte of the client selects port 80 or 443.

use std::sync::Arc;

use tokio::{net::TcpStream, time::timeout};

use super::{BridgeState, listen, local_socket::LocalSocket as _};
use crate::target::Target;

/// The first byte of a TLS handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// The targets of the schemes `http` and `https`, if the service has their default ports.
#[derive(Clone, Debug)]
pub(super) struct Schemes {
    /// The target with port 80. `None` if the service has no port 80.
    pub(super) http: Option<Target>,
    /// The target with port 443. `None` if the service has no port 443.
    pub(super) https: Option<Target>,
}

impl Schemes {
    fn target(&self, first: u8) -> Option<&Target> {
        if first == TLS_HANDSHAKE { self.https.as_ref() } else { self.http.as_ref() }
    }
}

/// Serves a client. Its first byte selects the target. With `http` and with `https`, the client sends before the
/// server.
pub(super) async fn serve(client: TcpStream, state: Arc<BridgeState>, schemes: Schemes) {
    let mut first = [0];
    let peeked = timeout(state.settings.handshake_timeout, client.peek(&mut first)).await;
    if !matches!(peeked, Ok(Ok(1))) {
        // The client sent nothing or has closed the connection.
        return;
    }
    if let Some(target) = schemes.target(first[0]) {
        listen::to(client, state, target.clone()).await;
    } else {
        state.warnings.no_default_port(&schemes);
        client.reset();
    }
}
