//! What becomes of an operation, target by target, while it happens.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::client::Client;
use super::contract::enum_name;
use super::escape::harmless;
use super::exit::Failure;
use super::output::{print, text};

/// Watches an operation and shows each target's way to its end, or to where only paused targets are left: whoever asked for
/// it is not to wait for somebody to end the pause. Answers the operation as it is then. With `quiet` nothing is shown: a
/// script reads the end.
pub(super) async fn follow(client: &Client, operation_id: &str, quiet: bool) -> Result<Value, Failure> {
    follow_until(client, operation_id, quiet, |operation| !paused(operation).is_empty()).await
}

/// As [`follow`], and on through every pause: nothing else was asked for.
pub(super) async fn follow_to_end(
    client: &Client,
    operation_id: &str,
    quiet: bool,
) -> Result<Value, Failure> {
    follow_until(client, operation_id, quiet, |_| false).await
}

/// That an operation waits for paused targets alone, in words.
pub(super) fn held_up(operation: &Value) -> Option<String> {
    let paused = paused(operation);
    let first = paused.first()?;
    let (id, state) = (text(&operation["operationId"]), text(&operation["state"]));
    Some(format!(
        "operation {id} is {state} and goes on when the pause of {} ends\n  tenantry target resume {first}",
        paused.join(", ")
    ))
}

/// The targets for which alone an operation waits, where all of them are paused.
fn paused(operation: &Value) -> Vec<String> {
    let steps = operation["targets"].as_array();
    let open = steps.into_iter().flatten().filter(|step| {
        !matches!(enum_name(step["state"].as_str().unwrap_or("PENDING")), "VERIFIED" | "SKIPPED")
    });
    let names = open.map(|step| (step["hold"] == "TARGET_HOLD_PAUSED").then(|| text(&step["target"])));
    names.collect::<Option<_>>().unwrap_or_default()
}

async fn follow_until(
    client: &Client,
    operation_id: &str,
    quiet: bool,
    ends: impl Fn(&Value) -> bool,
) -> Result<Value, Failure> {
    let mut watch = client.watch("Lifecycle/WatchOperation", json!({ "operationId": operation_id })).await?;
    let mut shown = Shown::new(quiet);
    let mut last = Value::Null;
    let goes_on =
        format!("operation {operation_id} goes on by itself: tenantry operation watch {operation_id}");
    while let Some(operation) = watch.next().await.map_err(|failure| failure.unless_seen(&goes_on))? {
        shown.update(&operation)?;
        let waits = ends(&operation)
            || enum_name(operation["state"].as_str().unwrap_or_default()) == "NEEDS_OPERATOR";
        last = operation;
        if waits {
            // Nothing moves until somebody does something.
            break;
        }
    }
    shown.end();
    Ok(last)
}

/// Says how an operation ended; anything but success is a failure.
pub(super) fn verdict(operation: &Value) -> Result<(), Failure> {
    let state = enum_name(operation["state"].as_str().unwrap_or_default());
    if state == "SUCCEEDED" {
        return Ok(());
    }
    if let Some(why) = held_up(operation) {
        return Err(Failure::unsuccessful(why));
    }
    let why = operation["error"].as_str().unwrap_or_default();
    let id = text(&operation["operationId"]);
    Err(Failure::unsuccessful(format!(
        "operation {id} is {state}{}{why}{}",
        if why.is_empty() { "" } else { ": " },
        what_next(operation)
    )))
}

/// The names of the targets that an operation waits for.
pub(super) fn stuck(operation: &Value) -> Vec<String> {
    open_steps(operation).map(|step| text(&step["target"])).collect()
}

fn open_steps(operation: &Value) -> impl Iterator<Item = &Value> {
    let steps = operation["targets"].as_array().into_iter().flatten();
    let done = ["TARGET_STATE_VERIFIED", "TARGET_STATE_SKIPPED"];
    steps.filter(move |step| !done.iter().any(|state| step["state"] == *state))
}

/// What whoever asked for it can do now, a line each.
fn what_next(operation: &Value) -> String {
    let id = text(&operation["operationId"]);
    match (enum_name(operation["state"].as_str().unwrap_or_default()), &operation["verb"]) {
        ("NEEDS_OPERATOR", _) => {
            let retry = open_steps(operation).map(|step| {
                let target = text(&step["target"]);
                let retry = format!("tenantry operation retry {id} {target}");
                if step["state"] == "TARGET_STATE_PENDING" {
                    return format!(
                        "\n  {target} goes on once that is decided; if this counts there already: {retry} --adopt --reason …"
                    );
                }
                if text(&step["aheadGeneration"]) == "0" {
                    return format!("\n  when {target} is mended: {retry}");
                }
                format!(
                    "\n  if this counts at {target}, whatever it was told since: {retry} --adopt --reason …"
                )
            });
            let ahead = open_steps(operation).find(|step| text(&step["aheadGeneration"]) != "0");
            let what_counts = ahead.and_then(|step| what_it_was_told_since(operation, step));
            // What is on its way back does not come to what was asked for, with whatever target less.
            let ends = match operation["backward"] == true {
                true if text(&operation["abortReason"]).is_empty() => ", which ends it as FAILED",
                true => ", which ends it as CANCELLED",
                false => "",
            };
            let decides_nothing =
                if ahead.is_none() { "" } else { " (decides nothing: what waits there waits on)" };
            let is_waited_for = open_steps(operation).any(|step| step["state"] == "TARGET_STATE_PENDING");
            let goes_on = if is_waited_for {
                " (decides nothing there, and the others go on without it)"
            } else {
                decides_nothing
            };
            let skip = format!(
                "\n  without a target{ends}{goes_on}: tenantry operation skip {id} TARGET --reason …"
            );
            let abort =
                format!("\n  to take it back{decides_nothing}: tenantry operation abort {id} --reason …");
            what_counts
                .into_iter()
                .chain(retry)
                .chain([skip])
                .chain(can_be_taken_back(operation).then_some(abort))
                .collect()
        }
        ("FAILED", verb) if verb == "OPERATION_VERB_PROVISION" || verb == "OPERATION_VERB_ACTIVATE" => {
            let again = format!("tenantry tenant activate {}", text(&operation["tenantId"]));
            format!(
                "\n  to try it again: {again}\n  without a target that refuses: {again} --skip TARGET --reason …"
            )
        }
        _ => String::new(),
    }
}

/// Where a target holds a newer change than the registry knows: how the registry comes to that, which is right most often.
fn what_it_was_told_since(operation: &Value, ahead: &Value) -> Option<String> {
    // Nothing takes over from that; to take it back leaves the tenant without access, and is named anyway.
    if operation["verb"] == "OPERATION_VERB_PROVISION" {
        return None;
    }
    let tenant = text(&operation["tenantId"]);
    let verbs = match enum_name(ahead["observed"].as_str().unwrap_or_default()) {
        "ARCHIVED" => format!("tenantry tenant suspend {tenant} && tenantry tenant archive {tenant}"),
        "DELETED" => format!(
            "tenantry tenant suspend {tenant} && tenantry tenant archive {tenant} && tenantry tenant delete {tenant}"
        ),
        "SUSPENDED" => format!("tenantry tenant suspend {tenant}"),
        _ => return None,
    };
    let target = text(&ahead["target"]);
    Some(format!("\n  if what {target} was told since counts, as after a restore of the registry: {verbs}"))
}

/// Whether an abort would be taken: it is not on its way back already, nor past the point of no return.
fn can_be_taken_back(operation: &Value) -> bool {
    let moves_away = ["toRegion", "toCell"].iter().any(|part| !text(&operation[*part]).is_empty());
    let verb = enum_name(operation["verb"].as_str().unwrap_or_default());
    operation["backward"] != true && verb != "PURGE" && !(verb == "FINISH_MIGRATION" && moves_away)
}

enum Shown {
    Nothing,
    /// A line for each target that changes in place.
    Bars(MultiProgress, BTreeMap<String, ProgressBar>),
    /// A line for each change.
    Lines(BTreeMap<String, String>),
}

impl Shown {
    fn new(quiet: bool) -> Self {
        if quiet {
            Self::Nothing
        } else if std::io::stdout().is_terminal() {
            Self::Bars(MultiProgress::new(), BTreeMap::new())
        } else {
            Self::Lines(BTreeMap::new())
        }
    }

    fn update(&mut self, operation: &Value) -> Result<(), Failure> {
        let none = Vec::new();
        for step in operation["targets"].as_array().unwrap_or(&none) {
            let target = text(&step["target"]);
            // The bars write by themselves.
            let line = harmless(&line(step));
            match self {
                Self::Nothing => {}
                Self::Bars(all, bars) => {
                    let bar = bars.entry(target.clone()).or_insert_with(|| {
                        let bar = all.add(ProgressBar::new_spinner().with_prefix(format!("{target:14}")));
                        bar.set_style(ProgressStyle::default_spinner());
                        if let Ok(style) = ProgressStyle::with_template("  {spinner} {prefix} {msg}") {
                            bar.set_style(style);
                        }
                        bar.enable_steady_tick(std::time::Duration::from_millis(100));
                        bar
                    });
                    if step["state"] == "TARGET_STATE_VERIFIED" || step["state"] == "TARGET_STATE_SKIPPED" {
                        bar.finish_with_message(line);
                    } else {
                        bar.set_message(line);
                    }
                }
                Self::Lines(seen) => {
                    if seen.get(&target) != Some(&line) {
                        print(&format!("  {target:14} {line}\n"))?;
                        seen.insert(target, line);
                    }
                }
            }
        }
        Ok(())
    }

    fn end(self) {
        if let Self::Bars(_, bars) = self {
            for bar in bars.values() {
                bar.abandon();
            }
        }
    }
}

fn line(step: &Value) -> String {
    let state = enum_name(step["state"].as_str().unwrap_or("PENDING"));
    let desired = text(&step["desired"]);
    let attempts = step["attempts"].as_u64().unwrap_or_default();
    let mut line = match state {
        "VERIFIED" if step["verification"] == "VERIFICATION_POLICY_ONLY" => {
            format!("{desired}, as its stored policy says")
        }
        "VERIFIED" => format!("{desired}, read back"),
        "PENDING" => format!("→ {desired}"),
        other => format!("→ {desired}: {other}"),
    };
    if attempts > 1 {
        line.push_str(&format!(" after {attempts} attempts"));
    }
    match enum_name(step["hold"].as_str().unwrap_or_default()) {
        "PAUSED" => line.push_str(", waits: the target is paused"),
        "CIRCUIT_OPEN" => line.push_str(", waits: the target fails for every tenant"),
        _ => {}
    }
    if let Some(reason) = step["skipReason"].as_str().filter(|reason| !reason.is_empty()) {
        line.push_str(&format!(": {reason}"));
    }
    if let Some(error) = step["lastError"].as_str().filter(|error| !error.is_empty()) {
        // What was not tried since is not known to be wrong still.
        let when = if state == "PENDING" { "last: " } else { "" };
        line.push_str(&format!(" ({when}{error})"));
    }
    line
}
