//! A context as gRPC carries it.

#[path = "../../../src/grpc/convert/value.rs"]
mod value;

/// The attributes of a `google.protobuf.Struct`; none where it is refused.
pub fn attributes(message: prost_types::Struct) -> Option<serde_json::Map<String, serde_json::Value>> {
    value::decode_struct(message).ok()
}
