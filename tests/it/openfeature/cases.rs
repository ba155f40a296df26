//! One list of cases, played through by every published provider.
//!
//! What a provider's own reading of the protocol makes of an answer is not ours to change; where one differs from the
//! list it is named here, with the reason.

use serde_json::{Value, json};

use super::client::{Client, Language};
use super::world::{World, cases};

/// How a provider of a language asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    language: Language,
    kind: &'static str,
}

const KINDS: [Kind; 13] = [
    Kind { language: Language::Python, kind: "rpc" },
    Kind { language: Language::Python, kind: "in-process" },
    Kind { language: Language::Python, kind: "ofrep" },
    Kind { language: Language::Node, kind: "rpc" },
    Kind { language: Language::Node, kind: "in-process" },
    Kind { language: Language::Node, kind: "ofrep" },
    Kind { language: Language::Web, kind: "rpc" },
    Kind { language: Language::Web, kind: "ofrep" },
    Kind { language: Language::Go, kind: "rpc" },
    Kind { language: Language::Go, kind: "in-process" },
    Kind { language: Language::Rust, kind: "rpc" },
    Kind { language: Language::Rust, kind: "in-process" },
    Kind { language: Language::Rust, kind: "ofrep" },
];

/// Plays every case with the providers of a language.
async fn play(language: Language) {
    let world = World::with_broken_flags().await;
    let Some(mut client) = Client::start(language).await else { return };
    let mut wrong = Vec::new();
    for Kind { kind, .. } in KINDS.into_iter().filter(|it| it.language == language) {
        client.ready(world.options(kind, kind)).await;
        for case in cases() {
            let said = client.get(kind, &case).await;
            let expected = expected(language, kind, &case);
            if let Some(fault) = fault(&expected, &said) {
                wrong.push(format!("{language:?} {kind} {case}: {fault}; it said {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    drop(client);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_sees_every_case_as_it_is() {
    play(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_sees_every_case_as_it_is() {
    play(Language::Node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_sees_every_case_as_it_is() {
    play(Language::Web).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_sees_every_case_as_it_is() {
    play(Language::Go).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_sees_every_case_as_it_is() {
    play(Language::Rust).await;
}

/// What a provider makes of a case.
fn expected(language: Language, kind: &str, case: &Value) -> Value {
    let mut expected = case.clone();
    for difference in DIFFERENCES {
        let applies = difference.language == language
            && difference.kind == kind
            && difference.flags.iter().any(|flag| case["flag"] == *flag)
            && (difference.with_a_variant_too || !case["variant"].is_string());
        if applies {
            (difference.make)(&mut expected);
        }
    }
    expected
}

/// Where a provider differs.
struct Difference {
    language: Language,
    kind: &'static str,
    flags: &'static [&'static str],
    /// Whether also where the flag has something to give.
    with_a_variant_too: bool,
    make: fn(&mut Value),
}

const fn of(
    (language, kind): (Language, &'static str),
    flags: &'static [&'static str],
    make: fn(&mut Value),
) -> Difference {
    Difference { language, kind, flags, with_a_variant_too: false, make }
}

const fn always(
    (language, kind): (Language, &'static str),
    flags: &'static [&'static str],
    make: fn(&mut Value),
) -> Difference {
    Difference { language, kind, flags, with_a_variant_too: true, make }
}

const WEB: (Language, &str) = (Language::Web, "rpc");
const RUST: (Language, &str) = (Language::Rust, "rpc");
const RUST_IN_PROCESS: (Language, &str) = (Language::Rust, "in-process");
const RUST_OFREP: (Language, &str) = (Language::Rust, "ofrep");
const WITHOUT_DEFAULT: &[&str] = &["no-default", "no-default-targeted", "variants-missing", "variants-empty"];
const VALUELESS: &[&str] =
    &["disabled", "no-default", "no-default-targeted", "variants-missing", "variants-empty"];
const RULED: &[&str] = &[
    "targeted",
    "evaluator",
    "version",
    "prefix",
    "share",
    "shorthand",
    "no-default-targeted",
    "no-such-variant",
];
/// Those that fail whoever asks.
const UNREADABLE: &[&str] = &["dangling", "default-nowhere", "default-no-text", "variants-no-object"];
const BROKEN: &[&str] =
    &["no-such-variant", "dangling", "default-nowhere", "default-no-text", "variants-no-object"];

const DIFFERENCES: &[Difference] = &[
    // They read no metadata.
    always(WEB, &["object"], without_metadata),
    always((Language::Python, "rpc"), &["object"], without_metadata),
    // It asks for all flags by version 1, which leaves out what is broken or has no default.
    of(WEB, &["disabled"], |case| fail(case, "TYPE_MISMATCH")),
    of(WEB, WITHOUT_DEFAULT, |case| fail(case, "FLAG_NOT_FOUND")),
    of(WEB, BROKEN, |case| fail(case, "FLAG_NOT_FOUND")),
    // It takes an answer without a value for no answer of the protocol.
    of((Language::Node, "ofrep"), VALUELESS, |case| fail(case, "GENERAL")),
    // It gives the type's zero for a disabled flag.
    of((Language::Go, "in-process"), &["disabled"], |case| case["value"] = json!(false)),
    // It asks by version 1, turns codes of gRPC into words of its own, and objects in objects into their debug text.
    of(RUST, &["disabled"], |case| case["value"] = json!(false)),
    of(RUST, WITHOUT_DEFAULT, |case| fail(case, "FLAG_NOT_FOUND")),
    of(RUST, &["string"], |case| fail(case, "INVALID_CONTEXT")),
    of(RUST, &["no-such-variant"], |case| fail(case, "Internal")),
    of(RUST, UNREADABLE, |case| fail(case, "DataLoss")),
    always(RUST, &["object"], without_value),
    of(RUST_IN_PROCESS, &["disabled"], |case| fail(case, "FLAG_NOT_FOUND")),
    of(RUST_IN_PROCESS, &["no-default"], |case| fail(case, "Variant  for flag no-default was not found")),
    of(RUST_IN_PROCESS, &["no-default-targeted"], |case| {
        fail(case, "Variant  for flag no-default-targeted was not found");
    }),
    of(RUST_IN_PROCESS, &["variants-missing"], |case| {
        fail(case, "Variant  for flag variants-missing was not found");
    }),
    of(RUST_IN_PROCESS, &["variants-empty"], |case| {
        fail(case, "Variant  for flag variants-empty was not found");
    }),
    of(RUST_IN_PROCESS, &["no-such-variant"], |case| {
        fail(case, "Variant purple for flag no-such-variant was not found");
    }),
    always(RUST_IN_PROCESS, &["object"], without_value),
    // It reads values alone, calls every reason STATIC, and every status of 400 an invalid context.
    always(RUST_OFREP, &["object"], without_metadata),
    always(RUST_OFREP, RULED, without_reason),
    of(RUST_OFREP, VALUELESS, |case| fail(case, "PARSE_ERROR")),
    of(RUST_OFREP, &["string"], |case| fail(case, "PARSE_ERROR")),
    of(RUST_OFREP, BROKEN, |case| fail(case, "INVALID_CONTEXT")),
];

fn fail(case: &mut Value, code: &str) {
    case["error"] = json!(code);
    for name in ["variant", "reason"] {
        case.as_object_mut().unwrap().remove(name);
    }
}

fn without_metadata(case: &mut Value) {
    case.as_object_mut().unwrap().remove("metadata");
}

fn without_reason(case: &mut Value) {
    case.as_object_mut().unwrap().remove("reason");
}

fn without_value(case: &mut Value) {
    case.as_object_mut().unwrap().remove("value");
}

/// The first thing that differs.
fn fault(expected: &Value, said: &Value) -> Option<String> {
    for name in ["value", "variant", "reason"] {
        let Some(wanted) = expected.get(name) else { continue };
        if !is_same(wanted, &said[name]) {
            return Some(format!("{name} must be {wanted}"));
        }
    }
    let error = said["error"].as_str().filter(|error| !error.is_empty());
    if error != expected["error"].as_str() {
        return Some(format!("error must be {}", expected["error"]));
    }
    let metadata = expected["metadata"].as_object();
    let missing = metadata
        .into_iter()
        .flatten()
        .find(|(name, value)| !is_same(value, &said["metadata"][name.as_str()]));
    missing.map(|(name, value)| format!("metadata.{name} must be {value}"))
}

/// Whether two values are the same to a client: languages without whole numbers write 10 as 10.0, and none as "".
fn is_same(wanted: &Value, said: &Value) -> bool {
    match (wanted, said) {
        (Value::Number(wanted), Value::Number(said)) => wanted.as_f64() == said.as_f64(),
        (Value::Object(wanted), Value::Object(said)) => {
            wanted.len() == said.len()
                && wanted.iter().all(|(name, value)| is_same(value, &said[name.as_str()]))
        }
        (Value::Null, said) => said.is_null() || *said == json!(""),
        (wanted, said) => wanted == said,
    }
}
