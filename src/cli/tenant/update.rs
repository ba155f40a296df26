//! `tenantry tenant update`: what is given changes, one label among many too.

use clap::Args;
use serde_json::{Map, Value, json};

use super::get;
use crate::cli::{Context, Failure};

/// How often labels are put together anew because somebody else changed the tenant meanwhile.
const TRIES_MAX: u32 = 5;

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

/// A change of a map of the tenant.
struct Change {
    field: &'static str,
    add: Map<String, Value>,
    remove: Vec<String>,
}

impl Pairs {
    /// What needs the tenant as it is. What replaces all is put among the given.
    fn changes(&self, given: &mut Map<String, Value>) -> Vec<Change> {
        let mut changes = Vec::new();
        for (field, remove, replaces) in [
            ("labels", &self.remove_labels, self.replace_labels),
            ("annotations", &self.remove_annotations, self.replace_annotations),
        ] {
            if replaces {
                given.entry(field).or_insert_with(|| json!({}));
                continue;
            }
            let add = given.remove(field).and_then(|pairs| pairs.as_object().cloned()).unwrap_or_default();
            if !add.is_empty() || !remove.is_empty() {
                changes.push(Change { field, add, remove: remove.clone() });
            }
        }
        changes
    }
}

impl Change {
    fn of(&self, tenant: &Value) -> Value {
        let mut pairs = tenant[self.field].as_object().cloned().unwrap_or_default();
        for key in &self.remove {
            pairs.remove(key);
        }
        pairs.extend(self.add.clone());
        pairs.into()
    }
}

pub(super) async fn run(
    context: &Context<'_>,
    tenant_id: &str,
    mut given: Map<String, Value>,
    pairs: &Pairs,
    etag: Option<String>,
) -> Result<Value, Failure> {
    let changes = pairs.changes(&mut given);
    if given.is_empty() && changes.is_empty() {
        return Err(Failure::usage("give at least one attribute to change"));
    }
    let mut tries = 0;
    loop {
        let mut tenant = given.clone();
        let mut read_etag = None;
        if !changes.is_empty() {
            let now = get(context, tenant_id).await?;
            tenant.extend(changes.iter().map(|change| (change.field.to_owned(), change.of(&now))));
            read_etag = now["etag"].as_str().map(str::to_owned);
        }
        let mask = tenant.keys().map(|name| camel(name)).collect::<Vec<_>>().join(",");
        tenant.insert("tenant_id".into(), tenant_id.into());
        let expected = etag.clone().or(read_etag);
        tenant.insert("etag".into(), expected.unwrap_or_default().into());
        let request = json!({ "tenant": tenant, "updateMask": mask });
        tries += 1;
        match context.change("TenantRegistry/UpdateTenant", request).await {
            // Only its other labels were to stay: as they are now.
            Err(failure) if failure.is_of("ETAG_MISMATCH") && etag.is_none() && tries < TRIES_MAX => {}
            answer => return answer,
        }
    }
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
        let now = json!({"labels": {"team": "blue", "env": "prod"}});
        let mut given = map(&json!({"owner": "ada", "labels": {"team": "red"}}));
        let pairs = Pairs { remove_labels: vec!["env".into(), "none".into()], ..Pairs::default() };
        let changes = pairs.changes(&mut given);
        assert_eq!((given, changes.len()), (map(&json!({"owner": "ada"})), 1));
        assert_eq!(changes[0].of(&now), json!({"team": "red"}));

        let mut given = map(&json!({"labels": {"team": "red"}}));
        assert_eq!(Pairs::default().changes(&mut given)[0].of(&now), json!({"team": "red", "env": "prod"}));

        let all = Pairs { replace_labels: true, replace_annotations: true, ..Pairs::default() };
        let mut given = map(&json!({"labels": {"team": "red"}}));
        assert!(all.changes(&mut given).is_empty());
        assert_eq!(given, map(&json!({"labels": {"team": "red"}, "annotations": {}})));
    }
}
