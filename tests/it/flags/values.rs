//! Values on their way in and out: numbers that not every wire holds.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use tenantry::proto::v1;

use super::{apply::tenantry, apply::text, with_flag};
use crate::support::fields;

fn number(number: f64) -> prost_types::Value {
    prost_types::Value { kind: Some(Kind::NumberValue(number)) }
}

fn whole(flag_key: &str, value: f64) -> v1::Flag {
    v1::Flag {
        flag_key: flag_key.into(),
        r#type: v1::FlagType::Integer.into(),
        variants: BTreeMap::from([("a".to_owned(), number(value)), ("b".to_owned(), number(1.0))]),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_whole_number_that_the_wire_would_round_is_refused_with_its_variant() {
    let mut replica = with_flag().await;
    let create = |flag| v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    // What was 2^53 + 1 arrives as 2^53.
    for rounded in [9_007_199_254_740_992.0, -9_007_199_254_740_992.0, 1e18] {
        let error = replica.flags.create_flag(create(whole("big", rounded))).await.unwrap_err();
        assert_eq!(fields(&error), ["flag.variants[a]"], "{error:?}");
    }
    let largest = whole("big", 9_007_199_254_740_991.0);
    replica.flags.create_flag(create(largest)).await.unwrap();
    let update = v1::UpdateFlagRequest {
        flag: Some(whole("big", 9_007_199_254_740_992.0)),
        update_mask: Some(prost_types::FieldMask { paths: vec!["variants".into()] }),
        ..Default::default()
    };
    assert_eq!(fields(&replica.flags.update_flag(update).await.unwrap_err()), ["flag.variants[a]"]);
    let apply = v1::ApplyFlagsRequest { flags: vec![whole("x", 1e17)], ..Default::default() };
    assert_eq!(fields(&replica.flags.apply_flags(apply).await.unwrap_err()), ["flags[0].variants[a]"]);
    // As JSON it is rounded by whoever reads it, which is the server.
    let digits = ["flag", "create", "json", "--type", "integer", "--variant", "a=9007199254740993"];
    let refused = tenantry(&replica, &digits).await;
    assert!(!refused.status.success() && text(&refused).contains("--variant a: must"), "{}", text(&refused));
    replica.stop().await;
}

#[tokio::test]
async fn a_flag_and_a_rollout_can_be_tried_on_the_command_line() {
    let mut replica = with_flag().await;
    let made = ["flag", "create", "tried", "--default", "on", "--dry-run"];
    let made = tenantry(&replica, &made).await;
    assert!(made.status.success() && text(&made).contains("tried"), "{}", text(&made));
    assert_eq!(super::evaluate(&mut replica, "tried").await.error_code, "FLAG_NOT_FOUND");
    let shared = tenantry(&replica, &["flag", "rollout", "search", "on=100,off=0", "--dry-run"]).await;
    assert!(shared.status.success() && text(&shared).contains("impact"), "{}", text(&shared));
    assert_eq!(super::evaluate(&mut replica, "search").await.variant, "off");
    replica.stop().await;
}

#[tokio::test]
async fn what_is_exported_or_shown_as_yaml_obeys_no_terminal_and_is_the_same_data() {
    let mut replica = with_flag().await;
    let file = serde_json::json!({"flags": {"f": {
        "state": "ENABLED", "variants": {"a": "\u{202e}txt\u{9b}2K", "b": "x"}, "defaultVariant": "a",
    }}, "metadata": {"flagSetId": "shop", "note\u{2066}": "\u{200f}"}});
    let import = v1::ImportFlagsRequest { content: file.to_string(), ..Default::default() };
    replica.flags.import_flags(import).await.unwrap();
    let is_harmless = |text: &str| {
        !text.chars().any(|c| c != '\n' && c.is_control() || "\u{200f}\u{202e}\u{2066}".contains(c))
    };
    let exported = tenantry(&replica, &["flag", "export", "--format", "flagd", "--flag-set", "shop"]).await;
    let exported = String::from_utf8(exported.stdout).unwrap();
    assert!(is_harmless(&exported), "{exported:?}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&exported).unwrap(), file);
    let shown = tenantry(&replica, &["-o", "yaml", "flag", "get", "f"]).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(is_harmless(&shown), "{shown:?}");
    let shown: serde_json::Value = serde_norway::from_str(&shown).unwrap();
    assert_eq!(shown["variants"], file["flags"]["f"]["variants"]);
    replica.stop().await;
}

/// It was told a second time, as variants that are missing.
#[tokio::test]
async fn a_value_of_another_type_is_told_once() {
    let mut replica = with_flag().await;
    let flag =
        v1::Flag { r#type: v1::FlagType::String.into(), default_variant: "a".into(), ..whole("wrong", 1.0) };
    let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    let error = replica.flags.create_flag(request).await.unwrap_err();
    assert_eq!(fields(&error), ["flag.variants[a]", "flag.variants[b]"]);
    replica.stop().await;
}
