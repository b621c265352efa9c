//! The mesh as a tower service from targets to streams.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{error::Error, mesh::Mesh, stream::MeshStream, target::Target};

/// Connects to targets, like [`Mesh::connect_to`].
impl Service<Target> for Mesh {
    type Response = MeshStream;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<MeshStream, Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Target) -> Self::Future {
        let mesh = self.clone();
        Box::pin(async move { mesh.connect_to(&target).await })
    }
}
