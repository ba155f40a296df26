//! `tenantry flag delete`, and what goes with a flag that is deleted in another way.

use clap::Args;
use serde_json::{Value, json};

use super::apply::confirmed;
use crate::cli::escape::harmless;
use crate::cli::output::{print, show, text};
use crate::cli::{Context, Failure, Format, class};

/// Most things of a kind that are named.
const NAMED_MAX: usize = 20;

/// What `delete` takes.
#[derive(Debug, Clone, Args)]
pub struct Delete {
    /// Which.
    flag_key: String,
    /// Even if flags that hang on it would break.
    #[arg(long)]
    force: bool,
    /// Delete without asking.
    #[arg(long, short)]
    yes: bool,
    /// Only show what would go.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(delete: Delete, context: &Context<'_>) -> Result<(), Failure> {
    let Delete { flag_key, force, yes, dry_run } = delete;
    let mut request = json!({ "flagKey": flag_key, "force": force });
    let (client, format) = (&context.client, context.connection.output);
    match client.call("FeatureFlags/GetFlag", json!({ "flagKey": flag_key })).await {
        // It may be this very request that deleted it, which then gets its answer again.
        Err(failure) if failure.code() == class::NOT_FOUND && context.connection.request_id.is_some() => {}
        flag => {
            // What is shown is what goes, or nothing does.
            request["etag"] = flag?["etag"].take();
            let mut tried = request.clone();
            tried["validateOnly"] = true.into();
            let going = client.call("FeatureFlags/DeleteFlag", tried).await?;
            if format == Format::Table {
                let removed = &going["removed"];
                let lines = [going_with(removed, &flag_key), in_all(removed), text(&going["impact"])];
                print(&format!("- flag {}\n{}\n", harmless(&flag_key), lines.concat()))?;
            } else if dry_run {
                show(format, &going)?;
            }
            if dry_run || !confirmed(yes, "Delete this?")? {
                return Ok(());
            }
        }
    }
    context.change("FeatureFlags/DeleteFlag", request).await?;
    print(&format!("flag {} is deleted\n", harmless(&flag_key)))
}

/// What is named of all that goes with a flag, and those that hang on it: a line for each kind.
pub(super) fn going_with(removed: &Value, flag_key: &str) -> String {
    let of = |list: &Value, whose: &str| -> Vec<String> {
        let own = list.as_array().into_iter().flatten().filter(|had| had["flagKey"] == flag_key);
        own.map(|had| format!("{}: {}", text(&had[whose]), variant(&had["variant"]))).collect()
    };
    [
        line("tier defaults that go with it", &of(&removed["tierDefaults"], "tierId")),
        line("overrides that go with it", &of(&removed["overrides"], "tenantId")),
    ]
    .concat()
}

/// How much goes with all that is deleted, and which flags lose what they need. Nothing where nothing does.
pub(super) fn in_all(removed: &Value) -> String {
    let dependents: Vec<_> = removed["dependents"].as_array().into_iter().flatten().map(text).collect();
    let total = |field: &str| removed[field].as_u64().unwrap_or_default();
    let totals = [
        ("tier defaults", "tierDefaultsTotal"),
        ("overrides", "overridesTotal"),
        ("dependents", "dependentsTotal"),
    ];
    let counts: Vec<_> = totals
        .into_iter()
        .map(|(what, field)| (what, total(field)))
        .filter(|(_, total)| *total > 0)
        .map(|(what, total)| format!("{total} {what}"))
        .collect();
    let counts = if counts.is_empty() { String::new() } else { format!("in all: {}\n", counts.join(", ")) };
    line("flags that hang on what is deleted", &dependents) + &counts
}

fn variant(name: &Value) -> String {
    match name.as_str() {
        Some("") | None => "a share".to_owned(),
        Some(name) => harmless(name),
    }
}

fn line(what: &str, named: &[String]) -> String {
    if named.is_empty() {
        return String::new();
    }
    let (shown, rest) = named.split_at(named.len().min(NAMED_MAX));
    let others = if rest.is_empty() { String::new() } else { format!(", and {} others", rest.len()) };
    format!("    {what}: {}{others}\n", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_named_and_what_is_too_much_counted() {
        let own = |n: usize| json!({"flagKey": "search", "tenantId": format!("t{n}"), "variant": "on"});
        let removed = json!({
            "overrides": (0..23).map(own).collect::<Vec<_>>(),
            "overridesTotal": 250,
            "tierDefaults": [
                {"flagKey": "search", "tierId": "gold", "variant": ""},
                {"flagKey": "other", "tierId": "gold", "variant": "off"},
            ],
            "tierDefaultsTotal": 2,
        });
        let text = going_with(&removed, "search");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "    tier defaults that go with it: gold: a share");
        assert!(lines[1].starts_with("    overrides that go with it: t0: on, t1: on, "), "{text}");
        assert!(lines[1].ends_with("t19: on, and 3 others"), "{text}");
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(in_all(&removed), "in all: 2 tier defaults, 250 overrides\n");
        assert_eq!(in_all(&Value::Null), "");
    }
}
