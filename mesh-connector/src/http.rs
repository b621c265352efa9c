//! HTTP over the mesh's connections: one pool per cluster and protocol.

mod body;
mod connection;
mod connections;
mod first_read;
mod head;
mod lease;
mod limits;
mod pool;
mod response;

pub use self::response::ResponseBody;
#[cfg_attr(not(test), expect(unused_imports, reason = "HttpClient moves onto these pools next"))]
pub(crate) use self::{
    body::RequestBody,
    pool::{HttpPool, Upstream},
};

#[cfg(test)]
mod tests;
