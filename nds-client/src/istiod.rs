//! Connections to istiod: its certificate authority and its xDS server on one TLS port.

pub(crate) mod ca;
mod channel;
mod connect;
mod headers;
mod rejection;
mod status;
mod tls;

pub(crate) use self::{
    channel::Connection, connect::Connector, headers::authorize, rejection::is_certificate_rejected,
    status::status_error,
};
