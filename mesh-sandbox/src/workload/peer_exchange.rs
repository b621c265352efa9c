//! What a server does to a client that offered `istio-peer-exchange` (facts E.3, trap 2): it selects it, sends a
//! preamble and expects one. A client that does not speak the exchange reads the preamble as its peer's data.

/// The magic number of Istio's metadata exchange, the length of what follows, and an empty message.
pub(crate) const PREAMBLE: [u8; 8] = [0x3d, 0x23, 0x04, 0x67, 0, 0, 0, 0];
