//! From a client's connection to one of the mesh, and bytes between them.

mod relay;

pub use self::relay::relay;
use super::{Shared, client::Client, services, sniff};
use crate::{error::Error, stream::MeshStream, target::Target};

/// Serves a client whose target is known.
pub(super) async fn to<C: Client>(mut client: C, shared: &Shared, target: &Target) {
    let mut read = Vec::new();
    let opened = match services::detects_protocol(&shared.mesh, target).await {
        Ok(true) => detected(&mut client, shared, target, &mut read).await,
        Ok(false) => shared.mesh.connect_to(target).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok(stream) => pass_on(client, stream, &read).await,
        Err(error) => failed(&client, target, &error),
    }
}

/// Connects for the protocol that the client's first bytes tell. What was read of them is appended to `read`.
pub(super) async fn detected<C: Client>(
    client: &mut C,
    shared: &Shared,
    target: &Target,
    read: &mut Vec<u8>,
) -> Result<MeshStream, Error> {
    let protocol = sniff::detect(client, read, shared.settings.detection_timeout).await;
    shared.mesh.connect_to(&target.clone().with_protocol(protocol)).await
}

/// A client that can no longer be told why.
pub(super) fn failed<C: Client>(client: &C, target: &Target, error: &Error) {
    tracing::warn!(%target, error = error.report(), "the bridge cannot connect a client");
    client.reset();
}

/// Passes bytes on in both directions until both have ended, `read` before all others of the client's.
pub(super) async fn pass_on<C: Client>(client: C, stream: MeshStream, read: &[u8]) {
    let connection = stream.connection().clone();
    if let Err(error) = relay::relay_after(read, client, stream).await {
        tracing::debug!(%error, endpoint = connection.endpoint(), "a connection of the bridge broke");
    }
}
