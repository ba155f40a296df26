//! The flag commands as people type and read them.

use std::time::{Duration, SystemTime};

use tenantry::proto::v1;

use super::apply::{tenantry, text};
use super::{boolean, evaluate, set_tenant, set_tier, with_flag};
use crate::support::Replica;

/// What a command said, where it must succeed.
pub(super) async fn said(replica: &Replica, arguments: &[&str]) -> String {
    let done = tenantry(replica, arguments).await;
    assert!(done.status.success(), "{arguments:?}: {}", text(&done));
    text(&done)
}

/// The same where it must fail with a code.
pub(super) async fn refused(replica: &Replica, arguments: &[&str], code: i32) -> String {
    let done = tenantry(replica, arguments).await;
    assert_eq!(done.status.code(), Some(code), "{arguments:?}: {}", text(&done));
    text(&done)
}

/// A flag with a default of a tier and an override of a tenant.
async fn with_values() -> Replica {
    let mut replica = with_flag().await;
    replica.flags.set_tier_default(set_tier("on")).await.unwrap();
    replica.flags.set_tenant_override(set_tenant("off")).await.unwrap();
    replica
}

#[tokio::test]
async fn a_deletion_names_what_goes_with_the_flag_and_asks() {
    let mut replica = with_values().await;
    let guarded = v1::Flag {
        prerequisites: vec![v1::Prerequisite { flag_key: "search".into(), variants: vec!["on".into()] }],
        ..boolean("search-hints")
    };
    let request = v1::CreateFlagRequest { flag: Some(guarded), ..Default::default() };
    replica.flags.create_flag(request).await.unwrap();
    let why = refused(&replica, &["flag", "delete", "search", "--yes"], 4).await;
    assert!(why.contains("[DEPENDENTS_WOULD_BREAK]"), "{why}");
    let forced = ["flag", "delete", "search", "--force"];
    let plan = said(&replica, &[&forced[..], &["--dry-run"]].concat()).await;
    let expected = "- flag search\n    tier defaults that go with it: gold: on\n    \
                    overrides that go with it: finance: off\n    \
                    flags that hang on what is deleted: search-hints\n\
                    in all: 1 tier defaults, 1 overrides, 1 dependents\n";
    assert!(plan.starts_with(expected), "{plan}");
    let asked = refused(&replica, &forced, 2).await;
    assert!(asked.starts_with(expected) && asked.contains("give --yes"), "{asked}");
    let json = said(&replica, &[&forced[..], &["--dry-run", "-o", "json"]].concat()).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let totals = ["overridesTotal", "dependentsTotal"].map(|field| json["removed"][field].as_u64());
    assert_eq!(totals, [Some(1), Some(1)]);
    let id = ["--request-id", "6b1f3c52-7a0e-4b77-9a55-0c1d2e3f4a5b"];
    let deletion = [&forced[..], &["--yes"], &id].concat();
    let done = said(&replica, &deletion).await;
    assert!(done.ends_with("flag search is deleted\n"), "{done}");
    refused(&replica, &["flag", "get", "search"], 3).await;
    refused(&replica, &[&forced[..], &["--yes"]].concat(), 3).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_plan_that_deletes_flags_names_what_goes_with_them() {
    let replica = with_values().await;
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours.yaml");
    std::fs::write(&ours, "flags: {other: {type: boolean}}\n").unwrap();
    let theirs = folder.path().join("theirs.json");
    std::fs::write(&theirs, r#"{"flags": {"other": {"variants": {"a": 1}}}}"#).unwrap();
    let going = "- flag search\n    tier defaults that go with it: gold: on\n    overrides that go with it: finance: off\n";
    let apply = ["flag", "apply", "--prune", "--dry-run", "-f", ours.to_str().unwrap()];
    let plan = said(&replica, &apply).await;
    assert!(plan.contains(going), "{plan}");
    let import = ["flag", "import", "--format", "flagd", "--prune", "--dry-run", theirs.to_str().unwrap()];
    let plan = said(&replica, &import).await;
    assert!(plan.contains(going), "{plan}");
    assert!(plan.contains("+ file of the default flag set\n"), "{plan}");
    replica.stop().await;
}

#[tokio::test]
async fn segments_are_made_read_changed_and_deleted() {
    let replica = with_flag().await;
    assert_eq!(
        said(&replica, &["flag", "segment", "list"]).await.trim(),
        "SEGMENT  DESCRIPTION  LOGIC  USED BY"
    );
    let condition = "{attribute: region, operator: starts with, values: [eu-]}";
    let create =
        ["flag", "segment", "create", "europe", "--condition", condition, "--description", "our region"];
    said(&replica, &[&create[..], &["--dry-run"]].concat()).await;
    refused(&replica, &["flag", "segment", "get", "europe"], 3).await;
    said(&replica, &create).await;
    refused(&replica, &create, 4).await;
    let shown = said(&replica, &["flag", "segment", "get", "europe"]).await;
    assert!(shown.contains("region starts with eu-") && shown.contains("our region"), "{shown}");
    let update = ["flag", "segment", "update", "europe"];
    refused(&replica, &update, 2).await;
    let logic = r#"{"==": [{"var": "region"}, "eu-1"]}"#;
    refused(&replica, &[&update[..], &["--logic", logic, "--condition", condition]].concat(), 2).await;
    said(&replica, &[&update[..], &["--logic", logic, "--dry-run"]].concat()).await;
    let logic_of = async |replica: &Replica| {
        let shown = said(replica, &["flag", "segment", "get", "europe", "-o", "json"]).await;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        (shown["logic"].as_str().unwrap().to_owned(), shown["description"].as_str().unwrap().to_owned())
    };
    assert!(logic_of(&replica).await.0.contains("starts_with"), "it was only tried");
    said(&replica, &[&update[..], &["--logic", logic]].concat()).await;
    let (now, description) = logic_of(&replica).await;
    assert!(now.contains("eu-1") && description == "our region", "{now} {description}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("user.yaml");
    let user = "flags: {u: {type: boolean, rules: [{conditions: [{operator: in segment, values: [europe]}], variant: 'on'}]}}";
    std::fs::write(&file, user).unwrap();
    said(&replica, &["flag", "apply", "--yes", "-f", file.to_str().unwrap()]).await;
    let delete = ["flag", "segment", "delete", "europe"];
    let why = refused(&replica, &delete, 4).await;
    assert!(why.contains("[SEGMENT_IN_USE]"), "{why}");
    said(&replica, &["flag", "delete", "u", "--yes"]).await;
    assert_eq!(
        said(&replica, &[&delete[..], &["--dry-run"]].concat()).await,
        "segment europe can be deleted\n"
    );
    assert_eq!(said(&replica, &delete).await, "segment europe is deleted\n");
    refused(&replica, &delete, 3).await;
    replica.stop().await;
}

#[tokio::test]
async fn shares_are_read_as_shares_and_what_has_ended_is_marked() {
    let mut replica = with_values().await;
    let by_user = ["--bucket-by", "userId"];
    said(&replica, &[&["flag", "rollout", "search", "on=10,off=90"][..], &by_user].concat()).await;
    let tier = ["flag", "set-tier", "search", "silver", "--rollout", "on=1,off=2"];
    said(&replica, &tier).await;
    let list = said(&replica, &["flag", "list"]).await;
    assert!(list.contains("10% on / 90% off by userId"), "{list}");
    assert!(
        list.contains("gold: on") && list.contains("silver: 33.33% on / 66.67% off by tenantId"),
        "{list}"
    );
    let shown = said(&replica, &["flag", "get", "search"]).await;
    assert!(shown.contains("10% on / 90% off by userId") && !shown.contains("UNSPECIFIED"), "{shown}");
    assert!(!shown.contains("HASH_VERSION") && !shown.contains("weights"), "{shown}");

    let soon = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 2;
    let soon = prost_types::Timestamp { seconds: i64::try_from(soon).unwrap(), nanos: 0 };
    let rollout = v1::Rollout {
        weights: vec![v1::VariantWeight { variant: "on".into(), weight: 1 }],
        bucket_by: "userId".into(),
        ..Default::default()
    };
    let own =
        v1::SetTenantOverrideRequest { expire_time: Some(soon), rollout: Some(rollout), ..set_tenant("") };
    replica.flags.set_tenant_override(own).await.unwrap();
    let why = said(&replica, &["flag", "explain", "finance", "search"]).await;
    assert!(why.contains("the rollout of tenant finance: 100% on by userId\n"), "{why}");
    assert!(why.contains("the rollout of the flag: 10% on / 90% off by userId\n"), "{why}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let own = said(&replica, &["flag", "overrides", "--flag", "search"]).await;
    assert!(own.contains("100% on by userId") && own.contains("Z (ended)"), "{own}");
    replica.stop().await;
}

#[tokio::test]
async fn a_forgotten_word_takes_nothing_back_and_what_takes_back_says_so() {
    let mut replica = with_values().await;
    said(&replica, &["flag", "rollout", "search", "on=10,off=90"]).await;
    let bare = [
        (&["flag", "set-tier", "search", "gold"][..], "`tenantry flag unset-tier search gold`"),
        (&["flag", "set-tier", "search", "gold", ""], "`tenantry flag unset-tier search gold`"),
        (&["flag", "set-tenant", "search", "finance"], "`tenantry flag unset-tenant search finance`"),
        (&["flag", "set-tenant", "search", "finance", "--reason", "x"], "`tenantry flag unset-tenant"),
        (&["flag", "rollout", "search"], "`tenantry flag rollout search --end`"),
    ];
    for (command, way_back) in bare {
        let why = refused(&replica, command, 2).await;
        assert!(why.contains("--rollout") || why.contains("on=10,off=90"), "{command:?}: {why}");
        assert!(why.contains(way_back), "{command:?}: {why}");
    }
    let flag = replica.flags.get_flag(v1::GetFlagRequest { flag_key: "search".into() }).await.unwrap();
    let flag = flag.into_inner();
    assert_eq!(flag.tier_defaults["gold"], "on");
    assert!(flag.default_rollout.is_some());
    assert_eq!(evaluate(&mut replica, "search").await.layer(), v1::FlagLayer::TenantOverride);

    let unset = ["flag", "unset-tenant", "search", "finance"];
    let tried = said(&replica, &[&unset[..], &["--dry-run"]].concat()).await;
    assert!(tried.contains("would see something else"), "{tried}");
    assert_eq!(evaluate(&mut replica, "search").await.layer(), v1::FlagLayer::TenantOverride);
    let done = said(&replica, &unset).await;
    assert_eq!(done, "tenant finance has nothing of its own of flag search now\n");
    assert_eq!(evaluate(&mut replica, "search").await.layer(), v1::FlagLayer::TierDefault);
    let done = said(&replica, &["flag", "unset-tier", "search", "gold"]).await;
    assert_eq!(done, "tier gold has nothing of its own of flag search now\n");
    refused(&replica, &["flag", "rollout", "search", "on=1,off=1", "--end"], 2).await;
    let later = "2099-01-01T00:00:00Z on=1,off=1";
    refused(&replica, &["flag", "rollout", "search", "--end", "--then", later], 2).await;
    said(&replica, &["flag", "rollout", "search", "--end"]).await;
    let flag = replica.flags.get_flag(v1::GetFlagRequest { flag_key: "search".into() }).await.unwrap();
    assert!(flag.into_inner().default_rollout.is_none());
    replica.stop().await;
}
