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
