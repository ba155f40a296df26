//! Flags as files: everything that can be said is written and read, and comes back as it was.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DescriptorPool, Kind, MessageDescriptor, Value as Reflected};
use serde_json::Value;
use tenantry::proto::v1;

use super::apply::{tenantry, text};
use super::{boolean, with_flag};
use crate::support::programs::root;
use crate::support::{Replica, Setup};

/// What answers alone have, and files too.
const OF_TIERS: [&str; 2] = ["tier_defaults", "tier_rollouts"];

/// Every block of flags in the documentation.
fn documented() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/FLAGS.md")).unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    blocks.map(|rest| rest.split_once("```").expect("it ends").0.to_owned()).collect()
}

/// The fields that callers set of a message and of those inside it, by the message's name.
fn settable(message: &MessageDescriptor, found: &mut BTreeMap<String, BTreeSet<String>>) {
    let behavior = message.parent_pool().get_extension_by_name("google.api.field_behavior").unwrap();
    if found.contains_key(message.name()) {
        return;
    }
    found.insert(message.name().to_owned(), BTreeSet::new());
    for field in message.fields() {
        let options = field.options();
        let behaviors = options.get_extension(&behavior);
        let is_answer = behaviors.as_list().unwrap().contains(&Reflected::EnumNumber(3));
        if is_answer && !OF_TIERS.contains(&field.name()) {
            continue;
        }
        found.get_mut(message.name()).unwrap().insert(field.json_name().to_owned());
        let kind = match field.kind() {
            Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
            kind => kind,
        };
        if let Kind::Message(inner) = kind
            && inner.package_name() == "tenantry.v1"
        {
            settable(&inner, found);
        }
    }
}

fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.insert(key.clone());
                keys(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

async fn empty() -> Replica {
    Replica::start(&Setup { no_targets: true, ..Setup::default() }).await
}

async fn applied(replica: &Replica, name: &str, contents: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, contents).unwrap();
    let done = tenantry(replica, &["flag", "apply", "-f", file.to_str().unwrap(), "--yes"]).await;
    assert!(done.status.success(), "{contents}\n{}", text(&done));
    text(&done)
}

async fn exported(replica: &Replica, more: &[&str]) -> String {
    let arguments = [&["flag", "export", "--format", "tenantry"], more].concat();
    let done = tenantry(replica, &arguments).await;
    assert!(done.status.success() && done.stderr.is_empty(), "{}", text(&done));
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test]
async fn the_files_of_the_documentation_are_applied_and_one_says_all_that_the_model_has() {
    let replica = empty().await;
    let blocks = documented();
    assert!(blocks.len() >= 2, "the blocks are read: {blocks:?}");
    for block in &blocks {
        applied(&replica, "block.yaml", block).await;
    }
    let document: Value =
        serde_json::from_str(&exported(&replica, &["-o", "json", "--with-expiry"]).await).unwrap();

    let pool = DescriptorPool::decode(tenantry::proto::DESCRIPTOR_SET).unwrap();
    let mut messages = BTreeMap::new();
    for name in ["tenantry.v1.Flag", "tenantry.v1.Segment"] {
        settable(&pool.get_message_by_name(name).unwrap(), &mut messages);
    }
    assert!(messages.len() >= 8, "{messages:?}");
    let of_flag = messages.remove("Flag").unwrap();
    let missing = |flag: &Value| -> Vec<String> {
        of_flag.iter().filter(|field| *field != "flagKey" && flag.get(*field).is_none()).cloned().collect()
    };
    let flags = document["flags"].as_object().unwrap();
    let fewest = flags.values().map(missing).min_by_key(Vec::len).unwrap();
    assert_eq!(fewest, Vec::<String>::new(), "one flag of docs/FLAGS.md has to have every field");
    let mut written = BTreeSet::new();
    keys(&document, &mut written);
    for (message, fields) in messages {
        let missing: Vec<_> =
            fields.iter().filter(|field| *field != "segmentName" && !written.contains(*field)).collect();
        assert!(missing.is_empty(), "docs/FLAGS.md shows nothing with {missing:?} of {message}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn what_is_exported_changes_nothing_where_it_is_and_makes_the_same_elsewhere() {
    let here = empty().await;
    for block in documented() {
        applied(&here, "block.yaml", &block).await;
    }
    let yaml = exported(&here, &[]).await;
    let json = exported(&here, &["-o", "json"]).await;
    assert_eq!(
        serde_norway::from_str::<Value>(&yaml).unwrap(),
        serde_json::from_str::<Value>(&json).unwrap()
    );
    assert!(
        yaml.contains("\"on\": true\n") && yaml.contains("\"off\": false\n"),
        "no reader's truths: {yaml}"
    );
    for answer_field in ["etag", "revision", "createTime", "usedBy", "nextPageToken", "warnings"] {
        assert!(!yaml.contains(answer_field), "{answer_field}: {yaml}");
    }
    for (name, contents) in [("all.yaml", &yaml), ("all.json", &json)] {
        let said = applied(&here, name, contents).await;
        assert_eq!(said, "nothing to change\n");
    }
    let there = empty().await;
    applied(&there, "all.yaml", &yaml).await;
    assert_eq!(exported(&there, &[]).await, yaml);
    let other = empty().await;
    applied(&other, "all.json", &json).await;
    assert_eq!(exported(&other, &["-o", "json"]).await, json);
    for replica in [here, there, other] {
        replica.stop().await;
    }
}

#[tokio::test]
async fn an_export_has_every_page_of_one_set_or_of_all_and_tells_what_it_leaves_out() {
    let mut replica = with_flag().await;
    let many = (0..1_001).map(|n| v1::Flag { flag_set: "bulk".into(), ..boolean(&format!("flag-{n}")) });
    let request = v1::ApplyFlagsRequest { flags: many.collect(), ..Default::default() };
    replica.flags.apply_flags(request).await.unwrap();
    let flags = |text: &str| -> Vec<String> {
        let document: Value = serde_norway::from_str(text).unwrap();
        document["flags"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(flags(&exported(&replica, &[]).await).len(), 1_002);
    assert_eq!(flags(&exported(&replica, &["--flag-set", "bulk"]).await).len(), 1_001);
    assert_eq!(flags(&exported(&replica, &["--flag-set", ""]).await), ["search"]);

    let content = r#"{"flags": {"theirs": {"variants": {"a": 1}}}, "metadata": {"flagSetId": "shop"}}"#;
    let import = v1::ImportFlagsRequest { content: content.into(), ..Default::default() };
    replica.flags.import_flags(import).await.unwrap();
    let done = tenantry(&replica, &["flag", "export", "--format", "tenantry"]).await;
    assert!(!String::from_utf8_lossy(&done.stdout).contains("theirs"));
    let why = "warning: imported flags are left out (1 of them): `tenantry flag export --format flagd --flag-set shop`";
    assert!(String::from_utf8_lossy(&done.stderr).contains(why), "{}", text(&done));
    let refused =
        tenantry(&replica, &["flag", "export", "--format", "tenantry", "--tenant", "finance"]).await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    replica.stop().await;
}
