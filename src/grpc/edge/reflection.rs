//! Server reflection, in the version that tools speak today and the one that many still ask first.

use tonic_reflection::{
    pb,
    server::{
        Builder, Error,
        v1::{ServerReflection, ServerReflectionServer},
        v1alpha,
    },
};

use crate::proto;

/// Encoded descriptor sets of everything a server with reflection and health serves; [`super::Methods::of`] takes them.
pub const DESCRIPTOR_SETS: &[&[u8]] = &[
    proto::DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    pb::v1::FILE_DESCRIPTOR_SET,
    pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// Tells of these services alone: the sets hold what other listeners serve, and others' programs.
fn builder(services: &[String]) -> Builder<'static> {
    let builder = DESCRIPTOR_SETS
        .iter()
        .fold(Builder::configure(), |builder, set| builder.register_encoded_file_descriptor_set(set))
        // It is among the sets above already.
        .include_reflection_service(false);
    services.iter().fold(builder, Builder::with_service_name)
}

/// `grpc.reflection.v1.ServerReflection`, of a listener that serves these.
///
/// # Errors
/// When a descriptor set is broken, which a test excludes.
pub fn v1(services: &[String]) -> Result<ServerReflectionServer<impl ServerReflection + use<>>, Error> {
    builder(services).build_v1()
}

/// `grpc.reflection.v1alpha.ServerReflection`, likewise.
///
/// # Errors
/// When a descriptor set is broken, which a test excludes.
pub fn v1alpha(
    services: &[String],
) -> Result<v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection + use<>>, Error> {
    builder(services).build_v1alpha()
}
