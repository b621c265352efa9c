//! Istio's metadata exchange: a server that selects `istio-peer-exchange` sends a preamble, and expects a preamble from
//! the client (istio `pilot/pkg/xds/filters/filters.go`). A client that offers the protocol without supporting it reads
//! the preamble as application data.

/// The magic number of the metadata exchange, the length of the message, and an empty message.
pub(crate) const PREAMBLE: [u8; 8] = [0x3d, 0x23, 0x04, 0x67, 0, 0, 0, 0];
