//! Conversions between messages and `google.protobuf.Any`.

use prost::Message;

use crate::google::protobuf::Any;

/// Wraps `message` in an `Any` with this type URL.
pub fn pack(type_url: &str, message: &impl Message) -> Any {
    Any { type_url: type_url.to_owned(), value: message.encode_to_vec().into() }
}

/// Decodes the message in `any`. The caller checks the type URL and chooses `M` accordingly.
///
/// # Errors
///
/// The bytes are not a valid message of type `M`.
pub fn unpack<M: Message + Default>(any: &Any) -> Result<M, prost::DecodeError> {
    M::decode(any.value.clone())
}
