//! A flag set as flagd's JSON.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::resolve::own_metadata;
use super::scope::Scope;
use crate::domain::error::Error;
use crate::domain::flag::{Basis, Edition, Query, Resolved};
use crate::domain::flagd;
use crate::domain::ids::{FlagKey, TierId};
use crate::domain::lifecycle::Access;
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
    /// Whether providers would make the same of another one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.configuration == other.configuration && self.context.hash() == other.context.hash()
    }
}

/// A set, with what it was made of and where each flag stands in it: the next is made of it where little has changed.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) set: Arc<FlagSet>,
    flags: Arc<BTreeMap<FlagKey, Range<usize>>>,
    basis: Basis,
    edition: Edition,
    /// What counts of the tenant beside its attributes.
    tenant: Option<(TierId, Access)>,
    from: Timestamp,
    until: Option<Timestamp>,
}

fn facts(scope: &Scope) -> Option<(TierId, Access)> {
    scope.tenant.as_ref().map(|record| (record.tenant.profile.tier.clone(), record.tenant.access()))
}

impl Made {
    /// Whether it is what would be made now, which is seen without looking at any flag.
    pub(super) fn stands(
        &self,
        snapshot: &Snapshot,
        scope: &Scope,
        fixed: &Context,
        now: Timestamp,
    ) -> Result<bool, Error> {
        Ok(self.edition == *snapshot.flags.edition()
            && self.from <= now
            && self.until.is_none_or(|end| now < end)
            && self.tenant == facts(scope)
            && self.set.context == known_context(snapshot, scope.tenant.as_deref(), fixed)?)
    }

    /// The flags of a scope as they are at a moment, and how many had to be worked out: of an earlier set of the same scope
    /// is taken what is the same.
    pub(super) fn make(
        earlier: Option<&Self>,
        snapshot: &Snapshot,
        scope: &Scope,
        fixed: &Context,
        now: Timestamp,
    ) -> Result<(Self, u64), Error> {
        let context = known_context(snapshot, scope.tenant.as_deref(), fixed)?;
        let (tenant, flags) = (facts(scope), &snapshot.flags);
        let query = Query { tenant: scope.tenant.as_deref().map(Record::facts), context: &context, now };
        let basis = flags.basis(query.tenant.as_ref());
        let chosen: Vec<_> = flags.flags().filter(|flag| scope.has(&flag.settings)).collect();
        let earlier = earlier.filter(|earlier| {
            earlier.set.context == context && earlier.tenant == tenant && earlier.from <= now
        });
        let mut kept: BTreeMap<&FlagKey, &str> = BTreeMap::new();
        if let Some(earlier) = earlier {
            let mut changed = flags.changed_since(&earlier.basis, &basis);
            changed.extend(flags.changed_by_time(earlier.from, now));
            let standing = earlier.flags.iter().filter(|(key, _)| !changed.contains(*key));
            kept.extend(
                standing.filter_map(|(key, at)| Some((key, earlier.set.configuration.get(at.clone())?))),
            );
        }
        let open = chosen.iter().map(|flag| flag.key()).filter(|key| !kept.contains_key(key));
        let resolved = flags.resolved_of(&query, open);
        let made: BTreeMap<_, _> = resolved
            .iter()
            .map(|resolved| (resolved.flag.key(), flag(snapshot, resolved).to_string()))
            .collect();
        let count = u64::try_from(made.len()).unwrap_or(u64::MAX);
        let unchanged = earlier
            .filter(|earlier| made.is_empty() && earlier.flags.len() == chosen.len())
            .map(|earlier| (Arc::clone(&earlier.set), Arc::clone(&earlier.flags)));
        let (set, places) = unchanged.unwrap_or_else(|| {
            let texts = chosen.iter().filter_map(|flag| {
                let key = flag.key();
                let text = made.get(key).map(String::as_str).or_else(|| kept.get(key).copied())?;
                Some((key, text))
            });
            let (configuration, places) = put_together(scope, texts);
            (Arc::new(FlagSet { configuration, context }), Arc::new(places))
        });
        let (edition, until) = (flags.edition().clone(), flags.next_change(now));
        Ok((Self { set, flags: places, basis, edition, tenant, from: now, until }, count))
    }
}

/// The whole set, and where each flag stands in it.
fn put_together<'a>(
    scope: &Scope,
    flags: impl Iterator<Item = (&'a FlagKey, &'a str)>,
) -> (String, BTreeMap<FlagKey, Range<usize>>) {
    let mut places = BTreeMap::new();
    let mut text = r#"{"flags":{"#.to_owned();
    for (key, flag) in flags {
        if !places.is_empty() {
            text.push(',');
        }
        text.push_str(&json!(key.as_str()).to_string());
        text.push(':');
        let start = text.len();
        text.push_str(flag);
        places.insert(key.clone(), start..text.len());
    }
    let mut metadata = Map::new();
    // Providers put what is here into every flag and tell their applications of each flag that is another than before.
    // With a version of the set, whatever changed would be a change of all flags.
    // Go's takes an empty name for that of another set, and finds none of the flags.
    if let Some(id) = id(scope).filter(|id| !id.is_empty()) {
        metadata.insert("flagSetId".to_owned(), json!(id));
    }
    text.push_str(r#"},"metadata":"#);
    text.push_str(&Json::Object(metadata).to_string());
    text.push('}');
    (text, places)
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
    // The flag's owner has the last word on a name, as over the other protocols.
    metadata.entry("revision").or_insert_with(|| json!(resolved.flag.revision.get()));
    if resolved.is_cut {
        metadata.insert("withoutAttributes".to_owned(), json!(true));
    }
    flag.insert("metadata".to_owned(), Json::Object(flagd::named_metadata(metadata)));
    Json::Object(flag)
}
