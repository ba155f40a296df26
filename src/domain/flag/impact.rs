//! Whom a change would affect: which tenants would see something else, and which flags hang on it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{CompiledFlags, Query, TenantFacts};
use crate::domain::ids::{FlagKey, TenantId, VariantName};
use crate::domain::rule::Context;

/// Most examples that are told.
pub const EXAMPLES_MAX: usize = 100;
/// Most dependents that are told by name.
pub const DEPENDENTS_MAX: usize = 100;
/// Most answers that are compared: about half a second of work. With more, the first tenants stand for all.
const ANSWERS_MAX: usize = 1_000_000;

/// What one tenant would see instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// Which tenant.
    pub tenant: TenantId,
    /// Which flag.
    pub flag: FlagKey,
    /// The variant it sees now.
    pub before: Option<VariantName>,
    /// The variant it would see.
    pub after: Option<VariantName>,
}

/// Whom a change would affect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impact {
    /// How many of the tenants looked at would see something else, of any flag.
    pub tenants_affected: usize,
    /// How many were looked at.
    pub tenants_examined: usize,
    /// The first [`EXAMPLES_MAX`] shifts.
    pub examples: Vec<Shift>,
    /// The flags that hang on what is changed, at most [`DEPENDENTS_MAX`].
    pub dependents: Vec<FlagKey>,
    /// How many of them there are.
    pub dependents_total: usize,
}

/// One tenant to look at.
pub struct Subject<'a> {
    /// Its facts.
    pub facts: TenantFacts<'a>,
    /// Its attributes, and no others: what a caller would add is not known.
    pub context: Context,
}

/// Compares what tenants see before and after a change of `changed`.
pub fn impact<'a>(
    before: &CompiledFlags,
    after: &CompiledFlags,
    changed: &BTreeSet<FlagKey>,
    tenants: impl Iterator<Item = Subject<'a>>,
    now: Timestamp,
) -> Impact {
    let mut affected = before.affected_by(changed.iter().cloned());
    affected.extend(after.affected_by(changed.iter().cloned()));
    let mut impact = Impact::default();
    let dependents: Vec<_> = affected.difference(changed).collect();
    impact.dependents_total = dependents.len();
    impact.dependents = dependents.into_iter().take(DEPENDENTS_MAX).cloned().collect();
    let tenants_max = ANSWERS_MAX / affected.len().max(1);
    for subject in tenants.take(tenants_max) {
        let query = Query { tenant: Some(subject.facts), context: &subject.context, now };
        let mut shifted = false;
        for key in &affected {
            let (old, new) = (before.evaluate(&query, key.as_str()), after.evaluate(&query, key.as_str()));
            if old.value == new.value && old.variant == new.variant {
                continue;
            }
            shifted = true;
            if impact.examples.len() < EXAMPLES_MAX {
                impact.examples.push(Shift {
                    tenant: subject.facts.tenant_id.clone(),
                    flag: key.clone(),
                    before: old.variant.cloned(),
                    after: new.variant.cloned(),
                });
            }
        }
        impact.tenants_examined += 1;
        impact.tenants_affected += usize::from(shifted);
    }
    impact
}
