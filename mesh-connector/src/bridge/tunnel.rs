//! Tunnels between clients and services.

mod relay;

pub use self::relay::relay;
use super::{BridgeState, client::Client, protocol_detection, services};
use crate::{error::Error, stream::MeshStream, target::Target};

/// Connects a client to `target`, and relays bytes until both directions have ended.
pub(super) async fn to<C: Client>(mut client: C, state: &BridgeState, target: &Target) {
    let mut read = Vec::new();
    let opened = match services::detects_protocol(&state.mesh, target).await {
        Ok(true) => detected(&mut client, state, target, &mut read).await,
        Ok(false) => state.mesh.connect_to(target).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok(stream) => pass_on(client, stream, &read).await,
        Err(error) => failed(&client, target, &error),
    }
}

/// Connects to `target` with the protocol of the client's first bytes. Appends these bytes to `read`.
pub(super) async fn detected<C: Client>(
    client: &mut C,
    state: &BridgeState,
    target: &Target,
    read: &mut Vec<u8>,
) -> Result<MeshStream, Error> {
    let protocol = protocol_detection::detect(client, read, state.settings.detection_timeout).await;
    state.mesh.connect_to(&target.clone().with_protocol(protocol)).await
}

/// Logs the error and resets the client, which can no longer receive an error message.
pub(super) fn failed<C: Client>(client: &C, target: &Target, error: &Error) {
    tracing::warn!(%target, error = error.report(), "the bridge cannot connect to the target of a client");
    client.reset();
}

/// Sends `read` to the service, and relays bytes in both directions until both have ended.
pub(super) async fn pass_on<C: Client>(client: C, stream: MeshStream, read: &[u8]) {
    let connection = stream.connection().clone();
    if let Err(error) = relay::relay_after(read, client, stream).await {
        tracing::debug!(%error, endpoint = connection.endpoint(), "a connection through the bridge failed");
    }
}
