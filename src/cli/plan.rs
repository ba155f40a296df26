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
    print(&planned(operation))?;
    print(&later(operation))?;
    print(&following(operation))
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

/// Who would follow a plan: first those that cannot.
fn following(operation: &Value) -> String {
    let all = operation["followerCount"].as_u64().unwrap_or_default();
    let followers = operation["followers"].as_array().into_iter().flatten();
    let named: Vec<String> = followers.take(FOLLOWERS_NAMED).map(follower).collect();
    if all == 0 {
        return String::new();
    }
    let more = if (named.len() as u64) < all { ", …" } else { "" };
    format!("tenants below that follow: {all} ({}{more})\n", named.join(", "))
}

fn follower(follower: &Value) -> String {
    let id = text(&follower["tenantId"]);
    match text(&follower["error"]).as_str() {
        "" => id,
        why => format!("{id} cannot: {why}"),
    }
}
