//! Tunnels between clients and services.

mod relay;

pub use self::relay::relay;
use super::{BridgeState, client::Client, own_listeners, protocol_detection, services};
use crate::{error::Error, stream::MeshStream, target::Target};

/// Connects a client to `target`, and relays bytes until both directions have ended.
pub(super) async fn to<C: Client>(mut client: C, state: &BridgeState, target: &Target) {
    let mut read = Vec::new();
    let opened = match detects_protocol(state, target).await {
        Ok(true) => detected(&mut client, state, target, &mut read).await,
        Ok(false) => connect(state, target).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok(stream) => pass_on(client, stream, &read).await,
        Err(error) => failed(&client, state, target, &error),
    }
}

/// Returns whether the first bytes of the client determine the protocol of the connection. Returns an error if the
/// target is the bridge itself.
pub(super) async fn detects_protocol(state: &BridgeState, target: &Target) -> Result<bool, Error> {
    state.own_listeners.refuse(&state.mesh, target).await?;
    services::detects_protocol(&state.mesh, target).await
}

/// Connects to `target`.
pub(super) async fn connect(state: &BridgeState, target: &Target) -> Result<MeshStream, Error> {
    let stream = state.mesh.connect_to(target).await?;
    // Check the real peer address: the name may have changed its address since the first check, or an endpoint of the
    // mesh may be a listener of this bridge.
    let peer = stream.connection().peer_addr();
    if state.own_listeners.contains(peer.ip(), peer.port()) {
        return Err(own_listeners::loop_detected(target));
    }
    Ok(stream)
}

/// Reads the first bytes of the client, detects their protocol, and connects to `target` with it. Appends these bytes
/// to `read`.
pub(super) async fn detected<C: Client>(
    client: &mut C,
    state: &BridgeState,
    target: &Target,
    read: &mut Vec<u8>,
) -> Result<MeshStream, Error> {
    let protocol = protocol_detection::detect(client, read, state.settings.detection_timeout).await;
    connect(state, &target.clone().with_protocol(protocol)).await
}

/// Logs the error and resets the client, which can no longer receive an error message.
pub(super) fn failed<C: Client>(client: &C, state: &BridgeState, target: &Target, error: &Error) {
    state.warnings.cannot_connect(target, error);
    client.reset();
}

/// Sends `read` to the service, and relays bytes in both directions until both have ended.
pub(super) async fn pass_on<C: Client>(client: C, stream: MeshStream, read: &[u8]) {
    let connection = stream.connection().clone();
    if let Err(error) = relay::relay_after(read, client, stream).await {
        tracing::debug!(%error, endpoint = connection.endpoint(), "a connection through the bridge failed");
    }
}
