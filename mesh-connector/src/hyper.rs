//! HTTP clients (feature `hyper`).
//!
//! [`HttpClient`] sends requests over the HTTP connection pools of the mesh; `Mesh::http_client` returns one.
//! [`MeshConnector`](crate::MeshConnector) implements `tower_service::Service<http::Uri>`, for the clients of
//! hyper-util.

pub use crate::{http::ResponseBody, http_client::HttpClient};
