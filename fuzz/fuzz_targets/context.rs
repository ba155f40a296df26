//! Any context: as JSON, as OFREP and flagd's JSON carry it, and as a `google.protobuf.Struct`, as gRPC carries it.
//! What is taken has a fingerprint that hangs on nothing but its attributes, and any path can be asked of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use serde_json::{Map, Value};
use tenantry_fuzz::domain::rule::{Context, Path};
use tenantry_fuzz::grpc::convert::attributes;

fn look(attributes: Map<String, Value>) {
    let names: Vec<String> = attributes.keys().cloned().collect();
    let first = attributes.clone();
    let Ok(context) = Context::new(attributes) else { return };
    for name in &names {
        let _ = context.get(name);
        let _ = context.value(&Path::parse(&format!("{name}.0.a")));
    }
    let backwards = first.into_iter().rev().collect();
    assert_eq!(Context::new(backwards).map(|same| same.hash()), Ok(context.hash()));
    assert_eq!(context.with_overlay(&context), context_again(&context));
    assert_eq!(context.to_map().len(), names.len());
}

fn context_again(context: &Context) -> Context {
    context.with_overlay(&Context::default()).with_overlay(context)
}

fuzz_target!(|data: &[u8]| {
    if let Ok(Value::Object(found)) = serde_json::from_slice(data) {
        look(found);
    }
    if let Ok(message) = prost_types::Struct::decode(data)
        && let Some(found) = attributes(message)
    {
        look(found);
    }
});
