//! Connections to istiod: the certificate authority and the xDS server behind one TLS port.

pub(crate) mod ca;
mod channel;
mod connect;
mod credentials;
mod refusal;
mod tls;

pub(crate) use self::{
    channel::Connection, connect::Connector, credentials::Credentials, refusal::is_certificate_refused,
};
