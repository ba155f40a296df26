//! `tenantry tenant update`: what is given changes, one label among many too.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::{Context, Failure};

/// What becomes of labels and annotations beyond what is given.
#[derive(Debug, Clone, Default, Args)]
pub struct Pairs {
    /// Take this label away; may be given several times.
    #[arg(long = "remove-label", value_name = "KEY")]
    remove_labels: Vec<String>,
    /// Keep no label but those given with --label.
    #[arg(long, conflicts_with = "remove_labels")]
    replace_labels: bool,
    /// Take this annotation away; may be given several times.
    #[arg(long = "remove-annotation", value_name = "KEY")]
    remove_annotations: Vec<String>,
    /// Keep no annotation but those given with --annotation.
    #[arg(long, conflicts_with = "remove_annotations")]
    replace_annotations: bool,
}

impl Pairs {
    /// What is to become of labels and annotations while the others stay, as the request has it. What replaces all of them is
    /// put among the given.
    fn changes(&self, given: &mut Map<String, Value>) -> Map<String, Value> {
        let mut changes = Map::new();
        for (field, set, removal, remove, replaces) in [
            ("labels", "setLabels", "removeLabels", &self.remove_labels, self.replace_labels),
            (
                "annotations",
                "setAnnotations",
                "removeAnnotations",
                &self.remove_annotations,
                self.replace_annotations,
            ),
        ] {
            if replaces {
                given.entry(field).or_insert_with(|| json!({}));
                continue;
            }
            if let Some(pairs) = given.remove(field) {
                changes.insert(set.to_owned(), pairs);
            }
            if !remove.is_empty() {
                changes.insert(removal.to_owned(), json!(remove));
            }
        }
        changes
    }
}

pub(super) async fn run(
    context: &Context<'_>,
    tenant_id: &str,
    mut given: Map<String, Value>,
    pairs: &Pairs,
    etag: Option<String>,
) -> Result<Value, Failure> {
    let mut request = pairs.changes(&mut given);
    if given.is_empty() && request.is_empty() {
        return Err(Failure::usage("give at least one attribute to change"));
    }
    let mask = given.keys().map(|name| camel(name)).collect::<Vec<_>>().join(",");
    given.insert("tenant_id".into(), tenant_id.into());
    given.insert("etag".into(), etag.unwrap_or_default().into());
    request.insert("tenant".into(), given.into());
    request.insert("updateMask".into(), mask.into());
    context.change("TenantRegistry/UpdateTenant", request.into()).await
}

/// A field's name in an update mask's JSON form.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(part.len().min(1));
        camel.push_str(&first.to_uppercase());
        camel.push_str(rest);
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_label_joins_the_others_and_only_what_is_said_so_replaces_them() {
        assert_eq!(camel("business_unit"), "businessUnit");
        let mut given = map(&json!({"owner": "ada", "labels": {"team": "red"}}));
        let pairs = Pairs { remove_labels: vec!["env".into()], ..Pairs::default() };
        let changes = pairs.changes(&mut given);
        assert_eq!(given, map(&json!({"owner": "ada"})));
        assert_eq!(changes, map(&json!({"setLabels": {"team": "red"}, "removeLabels": ["env"]})));

        let mut given = map(&json!({"annotations": {"note": "x"}}));
        let changes = Pairs::default().changes(&mut given);
        assert_eq!((given.len(), changes), (0, map(&json!({"setAnnotations": {"note": "x"}}))));

        let all = Pairs { replace_labels: true, replace_annotations: true, ..Pairs::default() };
        let mut given = map(&json!({"labels": {"team": "red"}}));
        assert!(all.changes(&mut given).is_empty());
        assert_eq!(given, map(&json!({"labels": {"team": "red"}, "annotations": {}})));
    }
}
