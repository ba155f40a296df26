//! `tenantry flag apply`: shows what would change, asks, and makes it so.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::delete::{going_with, in_all};
use super::set;
use crate::cli::escape::harmless;
use crate::cli::output::{print, show, standard_output, text as said, warn};
use crate::cli::{Context, Failure, Format};

/// Longest value that is shown of a field, in characters.
const SHOWN_MAX: usize = 160;

/// What `apply` takes.
#[derive(Debug, Clone, Args)]
pub struct Apply {
    /// A file, a folder with .yaml, .yml and .json files in it and in those below (names that begin with a dot are left
    /// out), or `-` for the standard input; may be given several times.
    #[arg(long = "file", short = 'f', value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    manner: Manner,
}

/// How a set of flags is brought in.
// Each is a switch of its own on the command line.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, Args)]
pub(super) struct Manner {
    /// Also delete what is not named: flags of the same flag sets, their tier defaults, segments that only these flags used.
    #[arg(long)]
    prune: bool,
    /// Change without asking.
    #[arg(long, short)]
    yes: bool,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: exit with 8 where something would change, and with 0 where nothing would. For pipelines.
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
    /// Even if flags that hang on what is changed would break.
    #[arg(long)]
    force: bool,
    /// Kill switches that are to stand as the file says; any other stays as it stands.
    #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
    reset_kill_switches: Vec<String>,
}

pub(super) async fn run(apply: Apply, context: &Context<'_>) -> Result<(), Failure> {
    let set = set::read(&apply.files)?;
    let request = set.request();
    if apply.manner.prune && request["flags"].as_array().is_none_or(Vec::is_empty) {
        warn(
            "what is given names no flag, and so no flag set in which others would be pruned: no flag is deleted. \
             `tenantry flag delete KEY` deletes the last ones",
        );
    }
    let done = show_then_change("FeatureFlags/ApplyFlags", request, &apply.manner, context).await;
    done.map_err(|failure| set.named(failure))
}

/// Shows what a request would change, asks, and makes it.
pub(super) async fn show_then_change(
    method: &str,
    mut request: Value,
    manner: &Manner,
    context: &Context<'_>,
) -> Result<(), Failure> {
    request["prune"] = manner.prune.into();
    request["force"] = manner.force.into();
    request["resetKillSwitches"] = manner.reset_kill_switches.clone().into();
    let format = context.connection.output;
    let mut tried = request.clone();
    tried["validateOnly"] = true.into();
    let mut planned = context.client.call(method, tried).await?;
    let nothing = planned["differences"].as_array().is_none_or(Vec::is_empty);
    if format == Format::Table {
        print(&described(&planned))?;
    } else if nothing || manner.dry_run {
        show(format, &planned)?;
    }
    if manner.exit_code && !nothing {
        return Err(Failure::different());
    }
    if nothing || manner.dry_run || !confirmed(manner.yes, "Apply this?")? {
        return Ok(());
    }
    if !manner.yes {
        // What was agreed to is what is made, or nothing is.
        request["planEtag"] = planned["planEtag"].take();
    }
    let applied = context.change(method, request).await?;
    if format == Format::Table && applied["differences"].as_array().is_none_or(Vec::is_empty) {
        return print("nothing to change any more: somebody else has just made it so\n");
    }
    if format == Format::Table {
        return print(&format!("{}applied as revision {}\n", gone(&applied), applied["revision"]));
    }
    show(format, &applied)
}

/// What went with the flags that were deleted.
fn gone(applied: &Value) -> String {
    let deleted = applied["differences"].as_array().into_iter().flatten().filter(|it| is_deleted_flag(it));
    let mut text = String::new();
    for key in deleted.filter_map(|difference| difference["name"].as_str()) {
        let going = going_with(&applied["removed"], key);
        if !going.is_empty() {
            text.push_str(&format!("deleted with flag {}:\n{going}", harmless(key)));
        }
    }
    text + &in_all(&applied["removed"])
}

fn is_deleted_flag(difference: &Value) -> bool {
    difference["resource"] == "flag" && difference["action"] == "ACTION_DELETE"
}

/// Asks, where somebody can answer.
pub(super) fn confirmed(yes: bool, question: &str) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("nothing was changed: give --yes to do this without being asked"));
    }
    // A terminal shows a line once it ends, and this one does not end before the answer.
    print(&format!("{question} [y/N] "))?;
    standard_output().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y") || answer.trim().eq_ignore_ascii_case("yes"))
}

/// What would change, for people.
fn described(planned: &Value) -> String {
    let none = Vec::new();
    let differences = planned["differences"].as_array().unwrap_or(&none);
    let mut text = String::new();
    for warning in planned["warnings"].as_array().unwrap_or(&none).iter().filter_map(Value::as_str) {
        text.push_str(&format!("warning: {}\n", harmless(warning)));
    }
    text.push_str(&kept(&planned["kept"]));
    if differences.is_empty() {
        text.push_str("nothing to change\n");
        return text;
    }
    for difference in differences {
        let sign = match difference["action"].as_str() {
            Some("ACTION_CREATE") => '+',
            Some("ACTION_DELETE") => '-',
            _ => '~',
        };
        let word = |field: &str| harmless(difference[field].as_str().unwrap_or_default());
        text.push_str(&format!("{sign} {}\n", named(&word("resource"), &word("name"))));
        if is_deleted_flag(difference) {
            let key = difference["name"].as_str().unwrap_or_default();
            text.push_str(&going_with(&planned["removed"], key));
        }
        for (field, values) in changes(difference) {
            match values {
                None => text.push_str(&format!("    {field}\n")),
                Some([old, new]) => text.push_str(&format!("    {field}: {old} → {new}\n")),
            }
        }
    }
    text.push_str(&in_all(&planned["removed"]));
    text.push_str(&format!("{}\n", said(&planned["impact"])));
    text
}

/// How kill switches and what they guard stay that should be otherwise, and how to make them so.
fn kept(kept: &Value) -> String {
    let mut text = String::new();
    for difference in kept.as_array().into_iter().flatten() {
        let name = difference["name"].as_str().unwrap_or_default();
        let is_guarded = parsed(&difference["before"])["kind"] != "KILL_SWITCH";
        if difference["resource"] == "segment" {
            text.push_str(&format!(
                "= segment {} stays as it is: a kill switch uses it (given otherwise): kept\n",
                harmless(name)
            ));
            continue;
        }
        if difference["action"] == "ACTION_DELETE" && difference["resource"] == "flag" {
            let (what, why) = if is_guarded {
                ("flag", "a kill switch that is thrown guards or needs it")
            } else {
                ("kill switch", "it is thrown, or one that is needs it or is guarded by it")
            };
            text.push_str(&format!("= {what} {} stays: {why} (not given): kept\n", harmless(name)));
            continue;
        }
        if difference["resource"] == "flag" && is_guarded {
            for (field, [old, new]) in
                changes(difference).into_iter().filter_map(|(it, both)| Some((it, both?)))
            {
                let name = harmless(name);
                text.push_str(&format!("= flag {name} has {field}: {old} (given: {new}): kept\n"));
            }
            continue;
        }
        let (switch, what) = match name.split_once(' ') {
            Some((switch, tier)) => (switch, format!("tier {}", harmless(tier))),
            None => (name, String::new()),
        };
        let mut changed = changes(difference);
        if changed.is_empty() {
            // A tier's value as a whole, that is there or not.
            changed.push(("choice", values(difference, "choice")));
        }
        for (field, [old, new]) in changed.into_iter().filter_map(|(field, both)| Some((field, both?))) {
            let what = if what.is_empty() { field } else { &what };
            text.push_str(&format!(
                "= kill switch {} stands at {what}: {old} (given: {new}): kept\n",
                harmless(switch)
            ));
        }
    }
    if !text.is_empty() {
        text.push_str("  --reset-kill-switches, with a switch's key, makes it stand and guard as given\n");
    }
    text
}

/// The fields that differ, each with its values before and after where the server tells them.
fn changes(difference: &Value) -> Vec<(&str, Option<[String; 2]>)> {
    let fields = difference["fields"].as_array().into_iter().flatten().filter_map(Value::as_str);
    fields.map(|field| (field, values(difference, field))).collect()
}

fn values(difference: &Value, field: &str) -> Option<[String; 2]> {
    let [before, after] = ["before", "after"].map(|when| parsed(&difference[when]));
    match (part(&before, field), part(&after, field)) {
        (None, None) => None,
        (old, new) => Some([old, new].map(|value| shown(value.unwrap_or(&Value::Null)))),
    }
}

/// A thing by its kind and its name; a file that names no flag set has none.
fn named(resource: &str, name: &str) -> String {
    match (resource, name) {
        ("file", "") => "file of the default flag set".to_owned(),
        ("file", set) => format!("file of the flag set {set}"),
        (resource, name) => format!("{} {name}", resource.replace('_', " ")),
    }
}

/// The part that a field names; of what has only one part, the whole. None where the server does not tell it.
fn part<'a>(whole: &'a Value, field: &str) -> Option<&'a Value> {
    match field {
        "choice" => Some(whole),
        "type" => whole.get("flag_type"),
        _ => whole.get(field),
    }
}

fn parsed(text: &Value) -> Value {
    text.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_cannot_hide_a_line_of_the_plan() {
        let planned = json!({
            "warnings": ["key\r\x1b[2K"],
            "differences": [{"resource": "flag", "name": "a\n+ flag b\x1b[1A\u{202e}", "action": "ACTION_CREATE"}],
        });
        let text = described(&planned);
        let lines: Vec<_> = text.lines().take(2).collect();
        assert_eq!(lines, [r"warning: key\r\u{1b}[2K", r"+ flag a\n+ flag b\u{1b}[1A\u{202e}"]);
    }

    #[test]
    fn a_type_is_shown_and_where_no_value_is_told_none_is_made_up() {
        let planned = json!({"differences": [
            {"resource": "flag", "name": "price", "action": "ACTION_UPDATE", "fields": ["type", "origin"],
             "before": "{\"flag_type\":\"string\"}", "after": "{\"flag_type\":\"integer\"}"},
            {"resource": "tier_default", "name": "price gold", "action": "ACTION_UPDATE", "fields": ["choice"],
             "before": "\"on\"", "after": "\"off\""},
        ]});
        let text = described(&planned);
        let lines: Vec<_> = text.lines().take(5).collect();
        let expected = [
            "~ flag price",
            "    type: \"string\" → \"integer\"",
            "    origin",
            "~ tier default price gold",
            "    choice: \"on\" → \"off\"",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_plan_reads_like_a_patch() {
        let planned = json!({
            "differences": [
                {"resource": "flag", "name": "new", "action": "ACTION_CREATE", "fields": [], "before": "", "after": "{}"},
                {"resource": "flag", "name": "old", "action": "ACTION_UPDATE", "fields": ["owner"],
                 "before": "{\"owner\":\"a\"}", "after": "{\"owner\":\"b\"}"},
                {"resource": "tier_default", "name": "old gold", "action": "ACTION_DELETE", "fields": [], "before": "{}", "after": ""},
            ],
            "impact": {"tenantsAffected": 1, "tenantsExamined": 3, "dependentsTotal": 0},
        });
        let text = described(&planned);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "+ flag new",
                "~ flag old",
                "    owner: \"a\" → \"b\"",
                "- tier default old gold",
                "1 of 3 tenants would see something else; 0 other flags hang on what changes",
            ]
        );
        assert_eq!(described(&json!({"differences": []})), "nothing to change\n");
    }
}
