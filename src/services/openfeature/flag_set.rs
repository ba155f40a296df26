//! A flag set as flagd's JSON.

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::resolve::own_metadata;
use super::scope::Scope;
use crate::domain::error::Error;
use crate::domain::flag::{Query, Resolved};
use crate::domain::flagd;
use crate::domain::rule::Context;
use crate::services::feature_flags::known_context;
use crate::view::{Record, Snapshot};

/// What an in-process provider gets.
#[derive(Debug, Clone)]
pub struct FlagSet {
    /// flagd's JSON.
    pub configuration: String,
    /// What the provider is to merge into every context.
    pub context: Context,
}

impl FlagSet {
    /// The flags of a scope as they are at a moment.
    pub(super) fn new(
        snapshot: &Snapshot,
        scope: &Scope,
        fixed: &Context,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let context = known_context(snapshot, scope.tenant.as_deref(), fixed)?;
        let query = Query { tenant: scope.tenant.as_deref().map(Record::facts), context: &context, now };
        let resolved = snapshot.flags.resolved(&query);
        let chosen = resolved.iter().filter(|resolved| scope.has(&resolved.flag.settings));
        let flags: Map<String, Json> =
            chosen.map(|resolved| (resolved.flag.key().to_string(), flag(snapshot, resolved))).collect();
        let mut metadata = Map::new();
        // Providers put what is here into every flag and tell their applications of each flag that is another than before.
        // With a version of the set, whatever changed would be a change of all flags.
        // Go's takes an empty name for that of another set, and finds none of the flags.
        if let Some(id) = id(scope).filter(|id| !id.is_empty()) {
            metadata.insert("flagSetId".to_owned(), json!(id));
        }
        let configuration = json!({ "flags": flags, "metadata": metadata }).to_string();
        Ok(Self { configuration, context })
    }

    /// Whether providers would make the same of another one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.configuration == other.configuration && self.context.hash() == other.context.hash()
    }
}

/// The set's name: that of the tenant, else of the flag set.
fn id(scope: &Scope) -> Option<&str> {
    let tenant = scope.tenant.as_ref().map(|record| record.tenant.tenant_id.as_str());
    tenant.or(scope.flag_set.as_deref())
}

fn flag(snapshot: &Snapshot, resolved: &Resolved<'_>) -> Json {
    let settings = &resolved.flag.settings;
    let mut flag = Map::new();
    flag.insert("state".to_owned(), json!(if resolved.is_enabled { "ENABLED" } else { "DISABLED" }));
    flag.insert("variants".to_owned(), Json::Object(flagd::named_values(settings)));
    // Without a default, flagd sends the empty name.
    let default = resolved.default.map_or("", |variant| variant.as_str());
    flag.insert("defaultVariant".to_owned(), json!(default));
    if let Some(targeting) = &resolved.targeting {
        flag.insert("targeting".to_owned(), targeting.clone());
    }
    let mut metadata = own_metadata(snapshot, resolved.flag);
    metadata.insert("revision".to_owned(), json!(resolved.flag.revision.get()));
    if resolved.is_cut {
        metadata.insert("withoutAttributes".to_owned(), json!(true));
    }
    flag.insert("metadata".to_owned(), Json::Object(flagd::named_metadata(metadata)));
    Json::Object(flag)
}
