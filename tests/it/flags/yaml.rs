//! Flag files in YAML, as the command line reads them.

use serde_json::{Value, json};

use super::apply::{tenantry, text};
use super::files::{exported, json_of, write};
use super::with_flag;

/// Anchors, merged maps and what a text is: as flagd's YAML library has them, which was not so.
#[tokio::test]
async fn a_file_in_yaml_is_read_as_flagd_reads_it() {
    let mut replica = with_flag().await;
    let folder = tempfile::tempdir().unwrap();
    let yaml = "\
base: &base
  state: ENABLED
  variants: &both {on: true, off: false}
  defaultVariant: off
flags:
  plain: *base
  merged: {<<: *base, defaultVariant: on}
  layered:
    <<: [{defaultVariant: on}, *base]
  codes:
    state: ENABLED
    variants: {a: 017, b: 1_000, c: 0x1F, d: 0o17, e: 0b11}
    defaultVariant: b
  times: {state: ENABLED, variants: {a: 2026-01-01, b: yes, c: !!str 017}, defaultVariant: a}
---
flags: {later: {}}
";
    let file = write(folder.path(), "shop.YAML", yaml);
    let done = tenantry(&replica, &["flag", "import", "--format", "flagd", "--yes", &file]).await;
    assert!(done.status.success(), "{}", text(&done));
    assert!(text(&done).contains("only the first of the file's documents is read"), "{}", text(&done));
    let back = json_of(&exported(&mut replica, "", "").await);
    let both = json!({"on": true, "off": false});
    for (flag, default) in [("plain", "off"), ("merged", "on"), ("layered", "on")] {
        let expected = json!({"state": "ENABLED", "variants": both, "defaultVariant": default});
        assert_eq!(back["flags"][flag], expected, "{flag}");
    }
    assert_eq!(back["flags"]["codes"]["variants"], json!({"a": 15, "b": 1000, "c": 31, "d": 15, "e": 3}));
    let times = json!({"a": "2026-01-01T00:00:00Z", "b": "yes", "c": "017"});
    assert_eq!(back["flags"]["times"]["variants"], times);
    assert_eq!(back["flags"]["later"], Value::Null);
    for (yaml, why) in [
        ("flags: {a: {variants: {1: x}}}", "the key flags.a.variants.1 is no text, which flagd refuses"),
        ("flags: {a: {}, a: {}}", "the key flags.a is there twice, which flagd refuses"),
        ("flags: {a: {variants: {x: .inf}}}", "line 1: \".inf\" is no number of JSON's"),
        ("flags: {a: *gone}", "line 1: "),
    ] {
        let file = write(folder.path(), "wrong.yml", yaml);
        let refused = tenantry(&replica, &["flag", "import", "--format", "flagd", "--yes", &file]).await;
        assert_eq!(refused.status.code(), Some(2), "{yaml}: {}", text(&refused));
        assert!(text(&refused).contains(why), "{why}: {}", text(&refused));
    }
    let several = write(folder.path(), "several.yaml", "flags: {}\n---\nflags: {b: {type: boolean}}\n");
    let refused = tenantry(&replica, &["flag", "apply", "--yes", "-f", &several]).await;
    assert!(text(&refused).contains("it has several documents"), "{}", text(&refused));
    let numbered = write(
        folder.path(),
        "numbered.yaml",
        "flags: {n: {type: string, variants: {1: a}, defaultVariant: '1'}}\n",
    );
    let applied = tenantry(&replica, &["flag", "apply", "--yes", "-f", &numbered]).await;
    assert!(applied.status.success(), "a key of ours may look like a number: {}", text(&applied));
    replica.stop().await;
}
