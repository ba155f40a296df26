//! What a flag must look like before it is stored.

mod rules;
mod storable;

pub use self::rules::{LOGIC_MAX, certain_failures, choice, compiles, conditions, rule_texts, split};
use self::storable::object_fits;
pub use self::storable::{LOGIC_DEPTH_MAX, is_storable};
use super::value::with_article;
use super::{FlagType, Kind, Settings, Value};
use crate::domain::ids::VariantName;
use crate::domain::selector;
use crate::domain::text::{self, quote};
use crate::domain::violation::Violation;

/// Most variants of one flag.
pub const VARIANTS_MAX: usize = 64;
/// Longest description, in characters.
pub const DESCRIPTION_MAX: usize = 4_000;
/// Longest owner, in characters.
pub const OWNER_MAX: usize = 200;
/// Longest string value, in bytes.
pub const STRING_MAX: usize = 16 << 10;
/// Largest object value, in bytes of its JSON text.
pub const OBJECT_MAX: usize = 64 << 10;
/// Deepest nesting inside an object value; the object itself is depth 1.
pub const DEPTH_MAX: usize = 16;

/// Longest name of a flag set, in characters.
const FLAG_SET_MAX: usize = 128;
/// Largest metadata, in bytes of its JSON text: it comes with every answer.
const METADATA_MAX: usize = 4 << 10;

/// What is wrong with a flag, but for what hangs on other flags and on segments; empty when it can be made. Call
/// [`Settings::fill_boolean_defaults`] first.
pub fn validate(flag: &Settings) -> Vec<Violation> {
    let mut found = Vec::new();
    if is_numeric(flag.flag_type) && looks_like_limit(flag.key.as_str()) {
        found.push(Violation::new(
            "flag_key",
            format!(
                "{} looks like a limit; a number that bounds what a tenant may use belongs in the tier's limits or the tenant's limit_overrides",
                quote(flag.key.as_str())
            ),
        ));
    }
    let checks = [
        ("description", text::free(&flag.description, DESCRIPTION_MAX)),
        ("owner", text::one_line(&flag.owner, OWNER_MAX)),
        ("labels", text::labels(&flag.labels)),
    ];
    found.extend(
        checks
            .into_iter()
            .filter_map(|(field, check)| check.err().map(|invalid| Violation::new(field, invalid.why))),
    );
    found.extend(flag_set(&flag.flag_set).err().map(|why| Violation::new("flag_set", why)));
    // The kind, since that alone can be changed: a type is for good.
    if flag.kind == Kind::KillSwitch && flag.flag_type != FlagType::Boolean {
        let flag_type = with_article(flag.flag_type);
        let why = format!("must not be KILL_SWITCH: such a flag is boolean, and this one is {flag_type}");
        found.push(Violation::new("kind", why));
    }
    variants(flag, &mut found);
    metadata(flag, &mut found);
    rules::rules(flag, &mut found);
    rules::default_rollout(flag, &mut found);
    rules::schedule(flag, &mut found);
    rules::relations(flag, &mut found);
    found
}

fn flag_set(name: &str) -> Result<(), String> {
    text::one_line(name, FLAG_SET_MAX).map_err(|invalid| invalid.why)?;
    selector::can_name(name)
}

fn metadata(flag: &Settings, found: &mut Vec<Violation>) {
    if let Err(misfit) = object_fits(&flag.metadata, DEPTH_MAX) {
        found.push(Violation::new("metadata", misfit.why(DEPTH_MAX)));
    } else if serde_json::to_vec(&flag.metadata).map_or(usize::MAX, |text| text.len()) > METADATA_MAX {
        found.push(Violation::new("metadata", format!("must have at most {METADATA_MAX} bytes as JSON")));
    }
}

fn variants(flag: &Settings, found: &mut Vec<Violation>) {
    if flag.variants.is_empty() {
        found.push(Violation::new("variants", "must have at least one entry"));
    }
    if flag.variants.len() > VARIANTS_MAX {
        found.push(Violation::new("variants", format!("must have at most {VARIANTS_MAX} entries")));
        return;
    }
    for (name, value) in &flag.variants {
        if let Err(why) = check_value(flag.flag_type, value) {
            found.push(Violation::new(format!("variants.{name}"), why));
        }
    }
    let mut member = |field: &str, variant: Option<&VariantName>| {
        if let Some(variant) = variant.filter(|variant| !flag.variants.contains_key(*variant)) {
            found.push(Violation::new(
                field,
                format!("must be one of the variants; {} is not", quote(variant.as_str())),
            ));
        }
    };
    member("default_variant", flag.default_variant.as_ref());
    member("safe_variant", flag.safe_variant.as_ref());
    member("off_variant", flag.off_variant.as_ref());
    member("expired_variant", flag.expired_variant.as_ref());
}

fn check_value(flag_type: FlagType, value: &Value) -> Result<(), String> {
    if value.flag_type() != flag_type && flag_type != FlagType::Mixed {
        return Err(format!(
            "must be {}; it is {}",
            with_article(flag_type),
            with_article(value.flag_type())
        ));
    }
    match value {
        Value::Double(number) if !number.is_finite() => Err("must be a finite number".to_owned()),
        Value::String(text) if text.len() > STRING_MAX => {
            Err(format!("must have at most {STRING_MAX} bytes"))
        }
        Value::String(text) if text.contains('\0') => Err("must not contain NUL".to_owned()),
        Value::Boolean(_) | Value::Integer(_) | Value::Double(_) | Value::String(_) => Ok(()),
        Value::Json(json) => is_storable(json, OBJECT_MAX).map(drop),
        Value::Object(map) => {
            // Depth first: writing JSON text recurses, so nothing deep may reach it.
            object_fits(map, DEPTH_MAX).map_err(|misfit| misfit.why(DEPTH_MAX))?;
            if value.to_json().to_string().len() > OBJECT_MAX {
                return Err(format!("must have at most {OBJECT_MAX} bytes as JSON"));
            }
            Ok(())
        }
    }
}

const fn is_numeric(flag_type: FlagType) -> bool {
    matches!(flag_type, FlagType::Integer | FlagType::Double)
}

/// Whether a key has a word that names a bound. Words, not letters: `maxwell_theme` is no limit, `maxUsers` is one.
fn looks_like_limit(key: &str) -> bool {
    let bounds = ["max", "maximum", "limit", "limits", "quota", "quotas"];
    words(key).into_iter().any(|word| bounds.iter().any(|bound| word.eq_ignore_ascii_case(bound)))
}

/// The words of a key. One ends at whatever is no letter, before a capital that follows a small letter (`maxUsers`), and
/// before the last capital of several that a small letter follows (`HTTPLimit`).
fn words(key: &str) -> Vec<&str> {
    let bytes = key.as_bytes();
    let is_small = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_lowercase);
    let is_capital = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_uppercase);
    let mut words = Vec::new();
    let mut start = 0;
    for place in 0..=bytes.len() {
        let is_end = !bytes.get(place).is_some_and(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
        let is_hump = is_capital(place)
            && place > start
            && (is_small(place - 1) || is_capital(place - 1) && is_small(place + 1));
        if is_end || is_hump {
            words.extend(key.get(start..place).filter(|word| !word.is_empty()));
            start = if is_end { place + 1 } else { place };
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::ids::FlagKey;

    fn flag(key: &str, flag_type: FlagType, variants: &[(&str, serde_json::Value)]) -> Settings {
        let mut flag = Settings::new(FlagKey::parse(key).unwrap(), flag_type);
        flag.variants = variants
            .iter()
            .map(|(name, value)| {
                (VariantName::parse(name).unwrap(), Value::from_json(flag_type, value.clone()).unwrap())
            })
            .collect();
        flag
    }

    fn fields(flag: &Settings) -> Vec<String> {
        validate(flag).into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn a_boolean_flag_needs_only_a_key() {
        let mut bare = flag("advanced_analytics", FlagType::Boolean, &[]);
        bare.fill_boolean_defaults();
        assert_eq!(fields(&bare), [""; 0]);
        assert_eq!(bare.default_variant, VariantName::parse("off").ok());
        assert_eq!(bare.variants["on"], Value::Boolean(true));
        assert_eq!(bare.variants["off"], Value::Boolean(false));
    }

    #[test]
    fn other_types_need_variants() {
        let mut bare = flag("theme", FlagType::String, &[]);
        bare.fill_boolean_defaults();
        assert_eq!(fields(&bare), ["variants"]);
    }

    #[test]
    fn all_variants_have_the_flag_s_type_and_the_wrong_one_is_named() {
        let mut mixed = flag("theme", FlagType::String, &[("dark", json!("d"))]);
        mixed.variants.insert(VariantName::parse("light").unwrap(), Value::Integer(1));
        assert_eq!(
            validate(&mixed),
            [Violation::new("variants.light", "must be a string; it is a whole number")]
        );
    }

    #[test]
    fn default_and_safe_variant_are_among_the_variants() {
        let mut dangling = flag("theme", FlagType::String, &[("dark", json!("d"))]);
        dangling.default_variant = VariantName::parse("light").ok();
        dangling.safe_variant = VariantName::parse("grey").ok();
        assert_eq!(fields(&dangling), ["default_variant", "safe_variant"]);
    }

    #[test]
    fn at_most_64_variants() {
        let many: Vec<(String, serde_json::Value)> = (0..65).map(|i| (format!("v{i}"), json!(i))).collect();
        let borrowed: Vec<(&str, serde_json::Value)> =
            many.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
        assert_eq!(fields(&flag("n", FlagType::Integer, &borrowed[..64])), [""; 0]);
        assert_eq!(fields(&flag("n", FlagType::Integer, &borrowed)), ["variants"]);
    }

    #[test]
    fn a_number_named_like_a_limit_is_refused_with_the_way_out() {
        for key in [
            "max_users",
            "storage_limit",
            "query-quota",
            "api/Max.connections",
            "limits",
            "maxUsers",
            "maxEvents",
            "rateLimit",
            "RateLimit",
            "search.rateLimitPerSecond",
            "HTTPLimit",
            "MAX_USERS",
            "max2",
            "maximum-users",
            "a-storageQuota",
        ] {
            let limit = flag(key, FlagType::Integer, &[("a", json!(1))]);
            let found = validate(&limit);
            assert_eq!(found.len(), 1, "{key}");
            assert!(found[0].why.contains("limit_overrides"), "{}", found[0]);
        }
        for key in [
            "maxwell_theme",
            "climax",
            "unlimited_colour",
            "maximize-layout",
            "maximizeLayout",
            "minimax",
            "climaxScene",
            "limitless",
            "unlimitedColour",
            "Maxwell",
            "iMaxwell",
            "quotation-marks",
        ] {
            assert_eq!(fields(&flag(key, FlagType::Double, &[("a", json!(1))])), [""; 0], "{key}");
        }
        let mut boolean = flag("max_users", FlagType::Boolean, &[]);
        boolean.fill_boolean_defaults();
        assert_eq!(fields(&boolean), [""; 0], "a switch is no limit whatever its name");
    }

    #[test]
    fn objects_are_bounded_in_depth_and_size() {
        let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
        let object = |value| flag("o", FlagType::Object, &[("a", value)]);
        assert_eq!(fields(&object(nested(16))), [""; 0]);
        assert_eq!(fields(&object(nested(17))), ["variants.a"]);
        assert_eq!(fields(&object(json!({"a": "x".repeat(70_000)}))), ["variants.a"]);
        assert_eq!(fields(&object(json!({"a": ["\0"]}))), ["variants.a"]);
        assert_eq!(fields(&object(json!({"\0": 1}))), ["variants.a"]);
    }

    /// Nobody could have it as a switch: what it guards reads a boolean.
    #[test]
    fn a_kill_switch_is_boolean_and_one_of_another_type_is_refused_with_its_type() {
        let mut switch = flag("stop", FlagType::String, &[("a", json!("x"))]);
        assert_eq!(fields(&switch), [""; 0]);
        switch.kind = Kind::KillSwitch;
        let why = "must not be KILL_SWITCH: such a flag is boolean, and this one is a string";
        assert_eq!(validate(&switch), [Violation::new("kind", why)]);
        let mut boolean = flag("stop", FlagType::Boolean, &[]);
        boolean.fill_boolean_defaults();
        boolean.kind = Kind::KillSwitch;
        assert_eq!(fields(&boolean), [""; 0]);
    }

    #[test]
    fn a_flag_set_that_no_selector_can_say_is_refused() {
        let mut flag = flag("search", FlagType::Boolean, &[]);
        flag.fill_boolean_defaults();
        for (set, is_taken) in
            [("web shop", true), ("é ü", true), ("a,b", false), (" lead", false), ("a\tb", false)]
        {
            set.clone_into(&mut flag.flag_set);
            assert_eq!(fields(&flag), if is_taken { &[][..] } else { &["flag_set"] }, "{set:?}");
        }
    }

    #[test]
    fn values_must_be_storable() {
        let mut double = flag("d", FlagType::Double, &[]);
        double.variants.insert(VariantName::parse("nan").unwrap(), Value::Double(f64::NAN));
        assert_eq!(fields(&double), ["variants.nan"]);
        assert_eq!(fields(&flag("s", FlagType::String, &[("a", json!("x".repeat(17_000)))])), ["variants.a"]);
        assert_eq!(fields(&flag("s", FlagType::String, &[("a", json!("\0"))])), ["variants.a"]);
    }
}
