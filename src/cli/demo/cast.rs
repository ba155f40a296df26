//! Who plays: which tenants and flags of the story there are, and whose they are.
//!
//! What the demo makes carries a label. Before it changes anything it looks for things of its names that do not: they are
//! somebody's, and it leaves them alone unless it is told to take them over.

use serde_json::{Map, Value, json};

use crate::cli::client::Client;
use crate::cli::exit::{Failure, class};
use crate::cli::output::text;

/// The label of what the demo made.
const MARK: (&str, &str) = ("demo", "tenantry");

/// The flags of the story, each with its global default.
pub(super) const FLAGS: [(&str, &str); 6] = [
    ("basic_search", "on"),
    ("advanced_analytics", "off"),
    ("api_access", "off"),
    ("dedicated_namespace", "off"),
    ("shared_namespace", "off"),
    ("priority_support", "off"),
];

/// The ids of the business units. One that was archived or deleted cannot come back as it was: its place is taken by the
/// next of its name, such as `hr-2`.
pub(super) struct Cast {
    pub(super) finance: String,
    pub(super) legal: String,
    pub(super) hr: String,
    pub(super) ops: String,
    pub(super) marketing: String,
}

impl Cast {
    /// Finds out who can play.
    ///
    /// # Errors
    ///
    /// Where a tenant or a flag of the story is somebody else's and is not to be taken over.
    pub(super) async fn find(client: &Client, take_over: bool) -> Result<Self, Failure> {
        let mut foreign = Vec::new();
        let cast = Self {
            finance: unit(client, "finance", &mut foreign).await?,
            legal: unit(client, "legal", &mut foreign).await?,
            hr: unit(client, "hr", &mut foreign).await?,
            ops: unit(client, "ops", &mut foreign).await?,
            marketing: unit(client, "marketing", &mut foreign).await?,
        };
        for (key, _) in FLAGS {
            let request = json!({ "flagKey": key });
            if found(client, "FeatureFlags/GetFlag", request).await?.is_some_and(|flag| !is_ours(&flag)) {
                foreign.push(format!("flag {key}"));
            }
        }
        if foreign.is_empty() || take_over {
            return Ok(cast);
        }
        Err(Failure::conflict(format!(
            "the demo would change what it has not made ({}): play it on another server, named by --server, or let it \
             change them with --take-over; nothing was changed",
            foreign.join(", ")
        )))
    }
}

/// The first of `hr`, `hr-2`, … that is free or can play; noted as foreign where it is somebody's.
async fn unit(client: &Client, name: &str, foreign: &mut Vec<String>) -> Result<String, Failure> {
    let mut number = 1;
    loop {
        let id = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
        let request = json!({ "tenantId": id });
        let Some(tenant) = found(client, "TenantRegistry/GetTenant", request).await? else { return Ok(id) };
        let is_put_away = [&tenant["status"], &tenant["pendingStatus"]]
            .iter()
            .any(|status| matches!(text(status).as_str(), "ARCHIVED" | "DELETED"));
        if !is_put_away {
            if !is_ours(&tenant) {
                foreign.push(format!("tenant {id}"));
            }
            return Ok(id);
        }
        number += 1;
    }
}

async fn found(client: &Client, method: &str, request: Value) -> Result<Option<Value>, Failure> {
    match client.call(method, request).await {
        Err(failure) if failure.code() == class::NOT_FOUND => Ok(None),
        answer => answer.map(Some),
    }
}

fn is_ours(thing: &Value) -> bool {
    thing["labels"][MARK.0] == MARK.1
}

/// The labels of a thing, with the demo's.
pub(super) fn marked(thing: &Value) -> Value {
    let mut labels = thing["labels"].as_object().cloned().unwrap_or_else(Map::new);
    labels.insert(MARK.0.to_owned(), MARK.1.into());
    labels.into()
}
