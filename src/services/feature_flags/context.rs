//! The context of an evaluation: what the caller says, under what is known of the tenant and what is configured.

use serde_json::{Map, Value};

use crate::domain::error::Error;
use crate::domain::rule::{Context, ContextError};
use crate::services::Registry;
use crate::view::{Record, Snapshot};

/// OpenFeature's name for whom an answer is for.
const TARGETING_KEY: &str = "targetingKey";

impl Registry {
    /// Lays the tenant's attributes over the caller's, and the configured ones over both. Some clients send an empty
    /// targeting key where others send none: they get the same.
    ///
    /// # Errors
    ///
    /// Where the caller's are too many, too large or nested too deeply, or its targeting key is no text.
    pub fn evaluation_context(
        &self,
        snapshot: &Snapshot,
        record: Option<&Record>,
        mut attributes: Map<String, Value>,
    ) -> Result<Context, Error> {
        match attributes.get(TARGETING_KEY) {
            None => {}
            Some(Value::String(key)) if !key.is_empty() => {}
            Some(Value::String(_) | Value::Null) => drop(attributes.remove(TARGETING_KEY)),
            Some(_) => return Err(Error::field(format!("context.{TARGETING_KEY}"), "must be a string")),
        }
        overlaid(attributes, snapshot, record, &self.static_context).map_err(refused)
    }
}

/// What is known of whom flags are for, whatever a caller says: the tenant's attributes, and those that are configured.
/// All others are the caller's.
pub fn known_context(
    snapshot: &Snapshot,
    record: Option<&Record>,
    fixed: &Context,
) -> Result<Context, Error> {
    // A tenant's own attributes are within the bounds of a context.
    overlaid(Map::new(), snapshot, record, fixed).map_err(|error| Error::bug(error.to_string()))
}

fn overlaid(
    mut attributes: Map<String, Value>,
    snapshot: &Snapshot,
    record: Option<&Record>,
    fixed: &Context,
) -> Result<Context, ContextError> {
    if let Some(record) = record {
        attributes.extend(snapshot.attributes(record));
    }
    let context = Context::new(attributes)?;
    if fixed.iter().next().is_none() {
        return Ok(context);
    }
    Ok(context.with_overlay(fixed))
}

fn refused(error: ContextError) -> Error {
    let ContextError { path, why } = error;
    let field = if path == "context" { path } else { format!("context.{path}") };
    Error::field(field, why)
}
