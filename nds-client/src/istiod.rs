//! Connections to istiod: the certificate authority and the xDS server behind one TLS port.

pub(crate) mod ca;
mod connect;
mod refusal;

pub(crate) use self::{
    connect::{Connector, Credentials},
    refusal::{is_certificate_refused, status_error},
};
