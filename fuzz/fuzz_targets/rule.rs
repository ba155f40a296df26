//! Any rule, any segments and any context, read from one JSON text: nothing may panic, nothing may take long, and a rule
//! that says of itself that it is constant is so.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tenantry_fuzz::domain::rule::{Condition, Context, HashVersion, Input, Rule, Segments};

fuzz_target!(|data: &[u8]| {
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
});
