//! Which flags in-process providers get otherwise than they are.

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::json;

use super::{ALWAYS_THERE, Resolver};
use crate::domain::flag::{CompiledFlags, Query};
use crate::domain::rule::Context;

/// Tells which flags in-process providers get as for a client without attributes.
pub struct InProcess<'a> {
    flags: &'a CompiledFlags,
    now: Timestamp,
    /// What is known from one flag to the next.
    known: RefCell<HashMap<&'a str, bool>>,
}

impl<'a> InProcess<'a> {
    /// Of these flags, at a moment.
    pub fn new(flags: &'a CompiledFlags, now: Timestamp) -> Self {
        Self { flags, now, known: RefCell::default() }
    }

    /// Whether a flag is [cut](super::Resolved::is_cut) for a tenant that nothing names. Only those that hang on others are
    /// looked at.
    pub fn is_cut(&self, key: &str) -> bool {
        let asked = self.flags.compiled(key).filter(|compiled| compiled.hangs_on_others);
        let Some(asked) = asked else { return false };
        let mut known = self.known.borrow_mut();
        if let Some(is_cut) = known.get(key) {
            return *is_cut;
        }
        // No name of a tenant or a tier is like this.
        let nobody = ALWAYS_THERE.map(|name| (name.to_owned(), json!("-"))).into_iter().collect();
        let context = Context::new(nobody).unwrap_or_default();
        let query = Query { tenant: None, context: &context, now: self.now };
        let mut resolver = Resolver::new(self.flags, &query);
        if known.is_empty() {
            resolver.resolve(asked.flag.key());
        } else {
            // Whoever asks for a second one goes through a list.
            let all = self.flags.flags().map(|flag| flag.key());
            all.filter(|key| self.flags.compiled(key.as_str()).is_some_and(|it| it.hangs_on_others))
                .for_each(|key| resolver.resolve(key));
        }
        known.extend(resolver.found.iter().map(|(key, found)| (*key, found.resolved.is_cut)));
        known.get(key).copied().unwrap_or_default()
    }
}
