//! `tenantry flag delete` and `archive`, and what goes with a flag that is deleted in another way.

use clap::Args;
use serde_json::{Value, json};

use super::apply::confirmed;
use super::read::show_flag;
use crate::cli::escape::harmless;
use crate::cli::output::{print, show, text};
use crate::cli::{Context, Failure, Format, class};

/// Most things of a kind that are named.
const NAMED_MAX: usize = 20;

/// What `delete` and `archive` take.
#[derive(Debug, Clone, Args)]
pub struct Removal {
    /// Which.
    flag_key: String,
    /// Even if flags that hang on it would break.
    #[arg(long)]
    force: bool,
    /// Without asking.
    #[arg(long, short)]
    yes: bool,
    /// Only show what would go, and whom that would affect.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn delete(delete: Removal, context: &Context<'_>) -> Result<(), Failure> {
    let request = json!({ "flagKey": delete.flag_key, "force": delete.force });
    let format = context.connection.output;
    let name = harmless(&delete.flag_key);
    let plan = |going: &Value| {
        if format == Format::Table {
            let impact = text(&going["impact"]);
            return print(&format!("- flag {name}\n{}{impact}\n", all_of(going, &delete.flag_key)));
        }
        if delete.dry_run { show(format, going) } else { Ok(()) }
    };
    let way = ("FeatureFlags/DeleteFlag", "Delete this?");
    match shown_first(way, request, &delete, plan, context).await? {
        None => Ok(()),
        Some(gone) => print(&format!("{}flag {name} is deleted\n", all_of(&gone, &delete.flag_key))),
    }
}

/// All that goes with a flag.
fn all_of(going: &Value, flag_key: &str) -> String {
    going_with(&going["removed"], flag_key) + &in_all(&going["removed"])
}

pub(super) async fn archive(archive: Removal, context: &Context<'_>) -> Result<(), Failure> {
    let mut request = json!({ "flagKey": archive.flag_key, "force": archive.force });
    let format = context.connection.output;
    if !archive.yes {
        // What is shown is what is archived, or nothing is.
        let named = json!({ "flagKey": archive.flag_key });
        request["etag"] = context.client.call("FeatureFlags/GetFlag", named).await?["etag"].take();
    }
    let plan = |archived: &Value| {
        if format == Format::Table {
            let (name, state) = (harmless(&archive.flag_key), text(&archived["state"]));
            // One that is archived already affects nobody, and nobody is looked for.
            let impact = text(&archived["impact"]);
            let plan = format!("~ flag {name}\n    state: {state}\n{impact}");
            return print(&format!("{}\n", plan.trim_end()));
        }
        if archive.dry_run { show_flag(format, archived) } else { Ok(()) }
    };
    let way = ("FeatureFlags/ArchiveFlag", "Archive this?");
    match shown_first(way, request, &archive, plan, context).await? {
        None => Ok(()),
        Some(_) if format == Format::Table => {
            print(&format!("flag {} is archived\n", harmless(&archive.flag_key)))
        }
        Some(archived) => show_flag(format, &archived),
    }
}

/// Tries a removal, shows what it would do, asks, and does it: the answer, where it was done. What was agreed to is what is
/// done, or nothing is.
async fn shown_first(
    (method, question): (&str, &str),
    mut request: Value,
    removal: &Removal,
    plan: impl FnOnce(&Value) -> Result<(), Failure>,
    context: &Context<'_>,
) -> Result<Option<Value>, Failure> {
    let mut tried = request.clone();
    tried["validateOnly"] = true.into();
    match context.client.call(method, tried).await {
        // It may be this very request that deleted it, which then gets its answer again.
        Err(failure) if failure.code() == class::NOT_FOUND && context.connection.request_id.is_some() => {}
        told => {
            let mut told = told?;
            plan(&told)?;
            if removal.dry_run || !confirmed(removal.yes, question)? {
                return Ok(None);
            }
            if !removal.yes && told["planEtag"].is_string() {
                request["planEtag"] = told["planEtag"].take();
            }
        }
    }
    context.change(method, request).await.map(Some)
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
