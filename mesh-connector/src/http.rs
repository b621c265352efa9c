//! HTTP connections: the pools of one cluster.

mod body;
mod connection;
mod connections;
mod exchange;
mod first_read;
mod head;
mod lease;
mod limits;
mod pool;
mod response;

pub use self::response::ResponseBody;
pub(crate) use self::{
    body::RequestBody,
    exchange::{Leased, Leasing, Source, exchange},
    head::host,
    pool::{HttpPools, Upstream},
};

#[cfg(test)]
mod tests;
