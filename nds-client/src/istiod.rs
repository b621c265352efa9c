//! Connections to istiod: the certificate authority and the xDS server behind one TLS port.

pub(crate) mod ca;
mod channel;
mod connect;
mod headers;
mod refusal;
mod status;
mod tls;

pub(crate) use self::{
    channel::Connection, connect::Connector, headers::authorize, refusal::is_certificate_refused,
    status::status_error,
};
