//! Any flagd file: what is read is written so that it reads back the same, and every rule of it compiles or is refused,
//! and answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenantry_fuzz::domain::flagd::File;
use tenantry_fuzz::domain::rule::{Context, HashVersion, Input, Rule, Segments};

fuzz_target!(|data: &[u8]| {
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
});
