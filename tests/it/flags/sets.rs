//! Flag sets: of one name with no tenant, and what of a file is read past.

use serde_json::json;
use tenantry::proto::v1;

use super::{boolean, with_flag};
use crate::support::{fields, new_tenant};

fn import(content: &str) -> v1::ImportFlagsRequest {
    v1::ImportFlagsRequest { content: content.into(), ..Default::default() }
}

#[tokio::test]
async fn what_flagd_takes_but_can_do_nothing_with_is_taken_and_warned_of() {
    let mut replica = with_flag().await;
    let file = r#"{"flags": {
        "": {"variants": {"a": 1}},
        "zero": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {"fractional": [["a", 0]]}},
        "typo": {"state": "ENABLED", "variants": {"a": 1}, "targeting": {"if": [{"var": "x"}, "aa", null]}}
    }}"#;
    let made = replica.flags.import_flags(import(file)).await.unwrap().into_inner();
    let expected = [
        "flags[\"\"] is a flag without a key, which is read past, as flagd does",
        "the rule of the flag \"typo\" has a part that can only fail: at if[1]: gives \"aa\", which is no variant of the flag",
        "the rule of the flag \"zero\" has a part that can only fail: at fractional: has no weight above 0, and gives nobody a share",
    ];
    assert_eq!(made.warnings, expected);
    let flags = [json!({"key": "b"}), json!({"variants": {}}), json!({"key": "b", "variants": {"a": 1}})];
    let list = json!({"flags": flags, "metadata": {"flagSetId": "list"}}).to_string();
    let made = replica.flags.import_flags(import(&list)).await.unwrap().into_inner();
    let expected = [
        "flags[0] has the key \"b\" of a later one, which counts, as in flagd",
        "flags[1] is a flag without a key, which is read past, as flagd does",
    ];
    assert_eq!(made.warnings, expected);
    replica.stop().await;
}

#[tokio::test]
async fn a_flag_set_and_a_tenant_cannot_have_one_name() {
    let mut replica = with_flag().await;
    let create = |flag: v1::Flag| v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    let of_set = |key: &str, set: &str| v1::Flag { flag_set: set.into(), ..boolean(key) };
    let error = replica.flags.create_flag(create(of_set("a", "finance"))).await.unwrap_err();
    assert_eq!(fields(&error), ["flag.flag_set"], "{error:?}");
    let update = v1::UpdateFlagRequest {
        flag: Some(of_set("search", "finance")),
        update_mask: Some(prost_types::FieldMask { paths: vec!["flag_set".into()] }),
        ..Default::default()
    };
    assert_eq!(fields(&replica.flags.update_flag(update).await.unwrap_err()), ["flag.flag_set"]);
    let apply = v1::ApplyFlagsRequest { flags: vec![of_set("a", "finance")], ..Default::default() };
    assert_eq!(fields(&replica.flags.apply_flags(apply).await.unwrap_err()), ["flags[0].flag_set"]);
    let file = json!({"flags": {"a": {}}, "metadata": {"flagSetId": "finance"}}).to_string();
    let error = replica.flags.import_flags(import(&file)).await.unwrap_err();
    assert_eq!(fields(&error), ["content.metadata.flagSetId"], "{error:?}");
    let own = json!({"flags": {"a": {"metadata": {"flagSetId": "finance"}}}}).to_string();
    let error = replica.flags.import_flags(import(&own)).await.unwrap_err();
    assert_eq!(fields(&error), ["content.flags[\"a\"].metadata.flagSetId"], "{error:?}");

    replica.flags.create_flag(create(of_set("a", "web"))).await.unwrap();
    let request = v1::CreateTenantRequest { tenant: Some(new_tenant("web")), ..Default::default() };
    let error = replica.tenants.create_tenant(request).await.unwrap_err();
    assert_eq!(fields(&error), ["tenant.tenant_id"], "{error:?}");
    replica.flags.create_flag(create(of_set("b", "web"))).await.unwrap();
    replica.stop().await;
}

/// A file of texts, each of 16,000 bytes.
fn texts(count: usize) -> v1::ImportFlagsRequest {
    let text = "x".repeat(16_000);
    let flag = json!({"state": "ENABLED", "variants": {"long": text}, "defaultVariant": "long"});
    let flags: serde_json::Map<_, _> =
        (0..count).map(|number| (format!("text-{number:03}"), flag.clone())).collect();
    import(&json!({ "flags": flags, "metadata": {"flagSetId": "texts"} }).to_string())
}

/// In-process providers took none of their flags any more, and nobody who applied them was told.
#[tokio::test]
async fn a_change_after_which_clients_do_not_take_the_set_of_all_flags_warns_before_and_when_it_is_made() {
    let mut replica = with_flag().await;
    replica.flags = replica.flags.clone().max_decoding_message_size(64 << 20);
    let tried = |count| v1::ImportFlagsRequest { validate_only: true, ..texts(count) };
    for (count, warned) in [(200, None), (240, Some("3.7 MiB, near the 4 MiB")), (270, Some("4.2 MiB, over"))]
    {
        let warnings = replica.flags.import_flags(tried(count)).await.unwrap().into_inner().warnings;
        assert_eq!(warnings.len(), usize::from(warned.is_some()), "{count}: {warnings:?}");
        for (told, wanted) in warnings.iter().zip(warned) {
            assert!(told.contains(wanted) && told.contains("flagSetId=TENANT"), "{count}: {told}");
        }
    }
    let request_id = "0192a7f0-0000-7000-8000-000000000001".to_owned();
    let making = v1::ImportFlagsRequest { request_id, ..texts(270) };
    let made = replica.flags.import_flags(making.clone()).await.unwrap().into_inner();
    assert!(made.warnings[0].contains("4.2 MiB, over"), "{:?}", made.warnings);
    assert_eq!(replica.flags.import_flags(making).await.unwrap().into_inner(), made, "asked again");

    let create = |validate_only| v1::CreateFlagRequest {
        flag: Some(boolean("one-more")),
        validate_only,
        ..Default::default()
    };
    for validate_only in [true, false] {
        let seen = replica.flags.create_flag(create(validate_only)).await.unwrap().into_inner();
        assert_eq!(seen.warnings, made.warnings, "{validate_only}");
    }
    let request = v1::GetFlagRequest { flag_key: "one-more".into() };
    assert_eq!(replica.flags.get_flag(request).await.unwrap().into_inner().warnings, [""; 0]);
    for validate_only in [true, false] {
        let described = v1::Flag { description: "another".into(), ..boolean("one-more") };
        let apply = v1::ApplyFlagsRequest { flags: vec![described], validate_only, ..Default::default() };
        let seen = replica.flags.apply_flags(apply).await.unwrap().into_inner();
        assert_eq!(seen.warnings, made.warnings, "{validate_only}");
    }
    replica.stop().await;
}
