//! Qdrant's own client for Python, unmodified: what it says of the API, and how it is served.

use std::path::PathBuf;
use std::process::Command;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use tenantry::domain::lifecycle::Desired;

use super::client::{May, claims, sign};
use super::server::KEY;
use super::{at, named, server};
use crate::participants::bring;
use crate::support::programs::{must_run, python, root};

async fn interpreter() -> PathBuf {
    python("qdrant-venv", "tests/clients/qdrant/requirements.txt").await
}

/// Ours, by the same compiler as the build's.
fn ours() -> DescriptorPool {
    let mut compiler = protox::Compiler::new([root().join("proto")]).unwrap();
    compiler.include_imports(true).open_file("qdrant/qdrant.proto").unwrap();
    compiler.descriptor_pool()
}

async fn theirs() -> DescriptorPool {
    let mut command = Command::new(interpreter().await);
    command.arg(root().join("tests/clients/qdrant/descriptors.py"));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    DescriptorPool::decode(output.stdout.as_slice()).unwrap()
}

/// A field's type as the wire has it.
fn wire_type(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(kind) => kind.full_name().to_owned(),
        kind => format!("{kind:?}"),
    };
    format!("{} {kind}, map: {}, list: {}", field.name(), field.is_map(), field.is_list())
}

#[tokio::test]
async fn what_we_say_of_the_api_is_what_its_own_client_says() {
    let (ours, theirs) = (ours(), theirs().await);
    let mut compared = 0;
    for message in ours.all_messages().filter(|message| message.package_name() == "qdrant") {
        let published = theirs.get_message_by_name(message.full_name());
        let published: MessageDescriptor =
            published.unwrap_or_else(|| panic!("{} is not published", message.full_name()));
        for field in message.fields() {
            let other = published.get_field(field.number());
            let other = other.unwrap_or_else(|| panic!("{} is not published", field.full_name()));
            assert_eq!(wire_type(&field), wire_type(&other), "{}", field.full_name());
            compared += 1;
        }
    }
    for kind in ours.all_enums() {
        let published = theirs.get_enum_by_name(kind.full_name()).expect("it is published");
        for value in kind.values() {
            let other = published.get_value(value.number()).map(|value| value.name().to_owned());
            assert_eq!(Some(value.name()), other.as_deref(), "{}", value.full_name());
            compared += 1;
        }
    }
    for service in ours.services() {
        let published = theirs.get_service_by_name(service.full_name()).expect("it is published");
        for method in service.methods() {
            let other = published.methods().find(|other| other.name() == method.name());
            let other = other.unwrap_or_else(|| panic!("{} is not published", method.full_name()));
            assert_eq!(method.input().full_name(), other.input().full_name());
            assert_eq!(method.output().full_name(), other.output().full_name());
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_own_client_is_served_refused_and_served_again() {
    let python = interpreter().await;
    let server = server().await;
    let target = at(&server, "");
    let finance = named("finance", "fin");
    let token = sign(&claims(&finance, May::Write), KEY);
    for (generation, (state, wanted)) in (1..).zip([
        (Desired::Active, "served 1 budget"),
        (Desired::Suspended, "refused UNAUTHENTICATED"),
        (Desired::Active, "served 1 budget"),
    ]) {
        assert_eq!(bring(&target, &finance, state, generation).await, Some(state));
        let mut command = Command::new(&python);
        command.arg(root().join("tests/clients/qdrant/tenant.py"));
        command.args([&server.addresses[0].port().to_string(), &token, "fin"]);
        let said = must_run(command).await;
        assert!(said.contains(wanted), "{state}: {said}");
    }
}
