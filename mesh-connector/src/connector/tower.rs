//! The connector as a tower service from targets to streams.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tower_service::Service;

use super::MeshConnector;
use crate::{error::Error, stream::MeshStream, target::Target};

/// The target says everything: the connector's own protocol and subset are for URIs, which cannot.
impl Service<Target> for MeshConnector {
    type Response = MeshStream;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<MeshStream, Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Target) -> Self::Future {
        let mesh = self.mesh.clone();
        Box::pin(async move { mesh.connect_to(&target).await })
    }
}
