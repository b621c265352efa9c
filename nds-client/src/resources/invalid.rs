//! The error of a resource that cannot be decoded.

/// The bytes of a resource, or of a message inside it, are not a valid protobuf message of its type.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidResource(String);

impl InvalidResource {
    #[allow(clippy::needless_pass_by_value, reason = "passed to map_err")]
    pub(crate) fn new(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}
