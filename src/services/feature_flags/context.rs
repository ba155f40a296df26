//! The context of an evaluation: what the caller says, under what is known of the tenant and what is configured.

use serde_json::{Map, Value};

use crate::domain::error::Error;
use crate::domain::rule::{Context, ContextError};
use crate::services::Registry;
use crate::view::Record;

/// OpenFeature's name for whom an answer is for.
const TARGETING_KEY: &str = "targetingKey";

impl Registry {
    /// Lays the tenant's attributes over the caller's, and the configured ones over both. Where the caller names
    /// nobody, the answer is for the tenant as a whole.
    ///
    /// # Errors
    ///
    /// Where the caller's are too many, too large or nested too deeply.
    pub fn evaluation_context(
        &self,
        record: Option<&Record>,
        mut attributes: Map<String, Value>,
    ) -> Result<Context, Error> {
        if let Some(record) = record {
            let tenant = || record.tenant.tenant_id.as_str().into();
            attributes.entry(TARGETING_KEY).or_insert_with(tenant);
            attributes.extend(record.tenant.attributes());
        }
        let context = Context::new(attributes).map_err(refused)?;
        if self.static_context.iter().next().is_none() {
            return Ok(context);
        }
        Ok(context.with_overlay(&self.static_context))
    }
}

fn refused(error: ContextError) -> Error {
    let ContextError { path, why } = error;
    let field = if path == "context" { path } else { format!("context.{path}") };
    Error::field(field, why)
}
