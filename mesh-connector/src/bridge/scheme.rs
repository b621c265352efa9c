//! A listener that stands for a name without a port: what a client speaks tells which port is meant.

use std::sync::Arc;

use tokio::{net::TcpStream, time::timeout};

use super::{Shared, listen, local_socket::LocalSocket as _};
use crate::target::Target;

/// The first byte of a TLS record that begins a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// The targets that the schemes of URLs without a port stand for, as far as the service has these ports.
#[derive(Clone, Debug)]
pub(super) struct Schemes {
    /// Port 80.
    pub(super) http: Option<Target>,
    /// Port 443.
    pub(super) https: Option<Target>,
}

impl Schemes {
    fn target(&self, first: u8) -> Option<&Target> {
        if first == TLS_HANDSHAKE { self.https.as_ref() } else { self.http.as_ref() }
    }
}

/// Serves a client whose first byte tells what it wants: clients of both schemes speak first.
pub(super) async fn serve(client: TcpStream, shared: Arc<Shared>, schemes: Schemes) {
    let mut first = [0];
    let told = timeout(shared.settings.handshake_timeout, client.peek(&mut first)).await;
    if !matches!(told, Ok(Ok(1))) {
        // It said nothing, or left.
        return;
    }
    if let Some(target) = schemes.target(first[0]) {
        listen::to(client, shared, target.clone()).await;
    } else {
        tracing::warn!(?schemes, "a client of the bridge wants a port that the service does not have");
        client.reset();
    }
}
