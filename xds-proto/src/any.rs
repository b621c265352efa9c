//! Packing messages into `google.protobuf.Any` and out of it.

use prost::Message;

use crate::google::protobuf::Any;

/// Wraps `message` under `type_url`.
pub fn pack(type_url: &str, message: &impl Message) -> Any {
    Any { type_url: type_url.to_owned(), value: message.encode_to_vec().into() }
}

/// Decodes the message in `any`.
///
/// # Errors
///
/// The bytes are not a message of type `M`. The type URL is the caller's to check: it says which `M` to ask for.
pub fn unpack<M: Message + Default>(any: &Any) -> Result<M, prost::DecodeError> {
    M::decode(any.value.clone())
}
