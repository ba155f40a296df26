//! `tenantry flag delete`, and what goes with a flag that is deleted in another way.

use clap::Args;
use serde_json::{Value, json};

use super::apply::confirmed;
use super::read::{end, given, tiers};
use crate::cli::escape::harmless;
use crate::cli::output::{print, show, text};
use crate::cli::{Client, Context, Failure, Format, class};

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
    let format = context.connection.output;
    match Going::of(&context.client, &flag_key).await {
        // It may be this very request that deleted it, which then gets its answer again.
        Err(failure) if failure.code() == class::NOT_FOUND && context.connection.request_id.is_some() => {}
        going => {
            let going = going?;
            let mut tried = request.clone();
            tried["validateOnly"] = true.into();
            context.client.call("FeatureFlags/DeleteFlag", tried).await?;
            if format == Format::Table {
                print(&format!("- flag {}\n{}", harmless(&flag_key), going.described()))?;
            } else if dry_run {
                show(format, &going.structured())?;
            }
            if dry_run || !confirmed(yes, "Delete this?")? {
                return Ok(());
            }
            request["etag"] = going.flag["etag"].clone();
        }
    }
    context.change("FeatureFlags/DeleteFlag", request).await?;
    print(&format!("flag {} is deleted\n", harmless(&flag_key)))
}

/// What goes with a flag, and who hangs on it.
pub(super) struct Going {
    flag: Value,
    overrides: Value,
    dependents: Value,
}

impl Going {
    pub(super) async fn of(client: &Client, flag_key: &str) -> Result<Self, Failure> {
        let request = json!({ "flagKey": flag_key });
        let mut first = request.clone();
        first["pageSize"] = NAMED_MAX.into();
        Ok(Self {
            flag: client.call("FeatureFlags/GetFlag", request).await?,
            overrides: client.call("FeatureFlags/ListTenantOverrides", first.clone()).await?,
            dependents: client.call("FeatureFlags/ListDependents", first).await?,
        })
    }

    /// For people: a line for each kind of thing that there is.
    pub(super) fn described(&self) -> String {
        let tiers = tiers(&self.flag);
        let own = |own: &Value| {
            let gives = format!("{}: {}", text(&own["tenantId"]), given(&own["variant"], &own["rollout"]));
            let end = end(own, "ended");
            if end.is_empty() { gives } else { format!("{gives} until {end}") }
        };
        let overrides = things(&self.overrides["overrides"], own);
        let dependents = things(&self.dependents["dependents"], |dependent| text(&dependent["flagKey"]));
        let total = |list: &Value| {
            list["totalSize"].as_u64().and_then(|total| usize::try_from(total).ok()).unwrap_or_default()
        };
        let lines = [
            line("tier defaults that go with it", &tiers, tiers.len()),
            line("overrides that go with it", &overrides, total(&self.overrides)),
            line("flags that hang on it", &dependents, total(&self.dependents)),
        ];
        lines.concat()
    }

    fn structured(&self) -> Value {
        json!({
            "flag": self.flag,
            "overrides": self.overrides["overrides"],
            "overridesTotal": self.overrides["totalSize"],
            "dependents": self.dependents["dependents"],
            "dependentsTotal": self.dependents["totalSize"],
        })
    }
}

fn things(list: &Value, say: impl Fn(&Value) -> String) -> Vec<String> {
    list.as_array().into_iter().flatten().map(say).collect()
}

fn line(what: &str, named: &[String], total: usize) -> String {
    if named.is_empty() {
        return String::new();
    }
    let named = &named[..named.len().min(NAMED_MAX)];
    let others = match total.saturating_sub(named.len()) {
        0 => String::new(),
        others => format!(", and {others} others"),
    };
    format!("    {what}: {}{others}\n", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_named_and_what_is_too_much_counted() {
        let overrides: Vec<_> = (0..20)
            .map(|n| json!({"tenantId": format!("t{n}"), "variant": "on", "expireTime": null}))
            .collect();
        let going = Going {
            flag: json!({"tierDefaults": {"gold": "on"}, "tierRollouts": {}}),
            overrides: json!({"overrides": overrides, "totalSize": 23}),
            dependents: json!({"dependents": [], "totalSize": 0}),
        };
        let text = going.described();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "    tier defaults that go with it: gold: on");
        assert!(lines[1].starts_with("    overrides that go with it: t0: on, t1: on, "), "{text}");
        assert!(lines[1].ends_with("t19: on, and 3 others"), "{text}");
        assert_eq!(lines.len(), 2, "{text}");
    }
}
