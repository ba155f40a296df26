//! What a move would do, for people.

use serde_json::Value;

use super::Failure;
use super::contract::enum_name;
use super::output::{Column, Format, print, show_list, text};

/// Tenants that follow and that a plan names in a table.
const FOLLOWERS_NAMED: usize = 10;
/// What a plan shows of each target.
const PLAN: [Column; 5] = [
    ("TARGET", "target"),
    ("IS", "observed"),
    ("WILL BE", "desired"),
    ("CHANGE", "plannedChange"),
    ("ERROR", "lastError"),
];

/// Shows a plan: each target, and what else it leads to.
pub(super) fn show(operation: &Value) -> Result<(), Failure> {
    show_list(Format::Table, operation, "targets", &PLAN)?;
    print(&stays(operation))?;
    print(&planned(operation))?;
    print(&later(operation))?;
    print(&following(operation))
}

/// Of a plan that finds the tenant where it leads: what it decides all the same.
fn stays(operation: &Value) -> String {
    let moves = ["ACTIVATE", "SUSPEND", "ARCHIVE", "DELETE"]
        .contains(&enum_name(operation["verb"].as_str().unwrap_or_default()));
    let is_there = operation["fromStatus"] == operation["toStatus"];
    let asks = operation["targets"].as_array().is_some_and(|targets| !targets.is_empty());
    // A plan for later that would be refused says why.
    if !moves || !is_there || asks || !text(&operation["error"]).is_empty() {
        return String::new();
    }
    format!(
        "it is {} already, and stays so: nothing is asked of any target, and it leaves any older bulk operation that is to take \
         it elsewhere\n",
        text(&operation["toStatus"])
    )
}

/// What a plan leads to beside the states of its targets.
fn planned(operation: &Value) -> String {
    let [region, cell, tier] = ["toRegion", "toCell", "tier"].map(|field| text(&operation[field]));
    let place = [region, cell].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let end = text(&operation["toStatus"]);
    match (enum_name(operation["verb"].as_str().unwrap_or_default()), place.is_empty()) {
        ("START_MIGRATION", false) => {
            format!(
                "it is to move to {place}; until finish-migration it runs where it is, and an abort leads back\n"
            )
        }
        ("FINISH_MIGRATION", false) => format!(
            "it will be {end} at {place}; this is the point of no return: once asked for, it only goes forward\n"
        ),
        ("START_MIGRATION" | "FINISH_MIGRATION", true) => "it stays in its region and cell\n".to_owned(),
        ("CHANGE_TIER", _) => {
            format!("it will be on tier {tier}, whose limits count in the registry at once\n")
        }
        _ => String::new(),
    }
}

/// Of a plan for later: what it goes by, and why it would be refused.
fn later(operation: &Value) -> String {
    let (begin, refusal) = (text(&operation["scheduleTime"]), text(&operation["error"]));
    if begin.is_empty() {
        return String::new();
    }
    let refusal = if refusal.is_empty() { refusal } else { format!("{refusal}\n") };
    format!("it is to begin at {begin}; what is shown is as things are now\n{refusal}")
}

/// Who would follow a plan: first those that cannot, each with why.
fn following(operation: &Value) -> String {
    let all = operation["followerCount"].as_u64().unwrap_or_default();
    if all == 0 {
        return String::new();
    }
    let (mut able, mut unable) = (Vec::new(), Vec::new());
    for follower in operation["followers"].as_array().into_iter().flatten() {
        let id = text(&follower["tenantId"]);
        match text(&follower["error"]) {
            why if why.is_empty() => able.push(id),
            why => unable.push(format!("  {id}: {why}\n")),
        }
    }
    let mut said = String::new();
    if !unable.is_empty() {
        said = format!("tenants below that cannot follow:\n{}", unable.concat());
    }
    let others = all.saturating_sub(unable.len() as u64);
    if able.is_empty() && others > 0 {
        // The answer has not room for all, and begins with those that cannot.
        return said + &format!("tenants below that follow: at most {others}\n");
    }
    able.truncate(FOLLOWERS_NAMED);
    if (able.len() as u64) < others {
        able.push("…".to_owned());
    }
    let names = if able.is_empty() { String::new() } else { format!(" ({})", able.join(", ")) };
    said + &format!("tenants below that follow: {others}{names}\n")
}
