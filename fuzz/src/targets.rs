//! What each target does with its input. Here and not in `fuzz_targets`, so that it compiles without libFuzzer, as
//! `make lint` does.

use prost::Message as _;
use serde_json::{Map, Value};
use tonic::Code;

use crate::domain::flagd::File;
use crate::domain::rule::{Condition, Context, HashVersion, Input, Path, Rule, Segments};
use crate::edge::protocol::{Manner, read};
use crate::grpc::convert::attributes;

/// Any rule, any segments and any context, read from one JSON text: nothing may panic, nothing may take long, and a rule
/// that says of itself that it is constant is so.
pub fn rule(data: &[u8]) {
    let Ok(Value::Object(mut parts)) = serde_json::from_slice::<Value>(data) else { return };
    let source = parts.remove("rule").unwrap_or_default();
    let segments = match parts.remove("$evaluators") {
        Some(Value::Object(sources)) => Segments::compile_foreign(sources),
        _ => Ok(Segments::new()),
    };
    let Ok(segments) = segments else { return };
    let _ = Condition::all_from_json(&source);
    let Ok(context) = Context::new(parts) else { return };
    let _ = context.hash();
    let other = Context::default();
    for version in HashVersion::ALL {
        let _ = Rule::compile(&source, &segments, *version);
        let Ok(rule) = Rule::compile_foreign(&source, &segments, *version) else { continue };
        let input = |context, second| {
            let now = jiff::Timestamp::from_second(second).unwrap_or_default();
            Input { flag_key: "flag", now, context }
        };
        let said = rule.select(&input(&context, 0));
        assert_eq!(said, rule.select(&input(&context, 0)));
        if rule.is_constant() {
            assert_eq!(said, rule.select(&input(&other, 1_000_000)));
        }
    }
}

/// Any flagd file: what is read is written so that it reads back the same, and every rule of it compiles or is refused,
/// and answers.
pub fn flagd(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(file) = File::parse(text) else { return };
    let texts = file.flags.iter().map(|(key, entry)| (key.as_str(), entry.text.clone())).collect();
    assert_eq!(File::parse(&file.head.write(&texts)).as_ref(), Ok(&file));
    let Ok(segments) = Segments::compile_foreign(file.head.segments()) else { return };
    let context = Context::default();
    for (flag_key, entry) in &file.flags {
        let Ok(flag) = &entry.flag else { continue };
        let Some(source) = &flag.targeting else { continue };
        let Ok(rule) = Rule::compile_foreign(source, &segments, HashVersion::V2) else { continue };
        let _ = rule.select(&Input { flag_key, now: jiff::Timestamp::UNIX_EPOCH, context: &context });
    }
}

/// Any body, read as Connect, gRPC and gRPC-Web bodies are: however it is cut, the same comes out, and what is refused is
/// refused with a code that blames the request.
pub fn framing(data: &[u8]) {
    let [bits, piece, body @ ..] = data else { return };
    let bit = |place: u8| bits >> place & 1 == 1;
    let manner =
        Manner { is_bare: bit(0), is_text: bit(1), is_compressed: bit(2), is_json: bit(3), single: bit(4) };
    let whole = read(manner, body, body.len());
    let cut = read(manner, body, usize::from(*piece));
    // A fault further on may be met in another order, but never instead of an answer.
    if manner.is_json {
        // The members of an object are written in any order.
        assert_eq!(whole.as_ref().map(Vec::len).ok(), cut.as_ref().map(Vec::len).ok());
    } else {
        assert_eq!(whole.as_ref().ok(), cut.as_ref().ok());
    }
    for code in [whole.err(), cut.err()].into_iter().flatten() {
        assert!(
            matches!(
                code,
                Code::InvalidArgument | Code::Unimplemented | Code::ResourceExhausted | Code::Internal
            ),
            "{code:?}"
        );
    }
}

/// Any context: as JSON, as OFREP and flagd's JSON carry it, and as a `google.protobuf.Struct`, as gRPC carries it.
/// What is taken has a fingerprint that hangs on nothing but its attributes, and any path can be asked of it.
pub fn context(data: &[u8]) {
    if let Ok(Value::Object(found)) = serde_json::from_slice(data) {
        look(found);
    }
    if let Ok(message) = prost_types::Struct::decode(data)
        && let Some(found) = attributes(message)
    {
        look(found);
    }
}

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
    let again = context.with_overlay(&Context::default()).with_overlay(&context);
    assert_eq!(context.with_overlay(&context), again);
    assert_eq!(context.to_map().len(), names.len());
}
