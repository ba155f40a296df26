//! What one tenant's answers follow from, flag by flag, so that a later state can say which of them may be others now.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::compile::CompiledFlags;
use super::compiled::Compiled;
use super::evaluate::TenantFacts;
use super::{TenantOverride, TierDefault};
use crate::domain::ids::FlagKey;

/// What a tenant's answers follow from at one state of the flags, but for the tenant itself and the time. It holds on to the
/// flags, and to nothing else of that state.
#[derive(Debug, Clone, Default)]
pub struct Basis(Vec<Of>);

/// The same of one flag, but for those that it hangs on.
#[derive(Debug, Clone)]
struct Of {
    compiled: Arc<Compiled>,
    tier_default: Option<Arc<TierDefault>>,
    own: Option<Arc<TenantOverride>>,
}

impl Of {
    fn key(&self) -> &FlagKey {
        self.compiled.flag.key()
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.compiled, &other.compiled)
            && are_same(self.tier_default.as_ref(), other.tier_default.as_ref())
            && are_same(self.own.as_ref(), other.own.as_ref())
    }
}

fn are_same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

impl CompiledFlags {
    /// What the answers of a tenant, or of nobody, follow from.
    pub fn basis(&self, tenant: Option<&TenantFacts<'_>>) -> Basis {
        let mut own = tenant.map(|tenant| self.overrides_of_tenant(tenant.tenant_id.as_str()));
        let mut own = own.iter_mut().flatten().peekable();
        let with_flag = self.entries.values().filter_map(|entry| Some((entry.compiled.as_ref()?, entry)));
        let all = with_flag.map(|(compiled, entry)| {
            // Both are by key: the tenant's own are met in passing.
            let key = compiled.flag.key();
            while own.next_if(|own| own.flag < *key).is_some() {}
            Of {
                compiled: Arc::clone(compiled),
                tier_default: tenant.and_then(|tenant| entry.tier_defaults.get(tenant.tier)).cloned(),
                own: own.next_if(|own| own.flag == *key).cloned(),
            }
        });
        Basis(all.collect())
    }

    /// Whether a flag is the very same in another state, but for what tiers and tenants get of it; so are the segments that
    /// it uses, and its file.
    pub fn has_same(&self, other: &Self, key: &str) -> bool {
        are_same(self.compiled(key), other.compiled(key))
    }

    /// Flags whose answers may be others than at an earlier basis of the same tenant: themselves, or what they hang on. Those
    /// that are gone may be among them, and those whose rules look at the time always are.
    pub fn changed_since(&self, earlier: &Basis, now: &Basis) -> BTreeSet<FlagKey> {
        let mut changed = BTreeSet::new();
        let (mut old, mut new) = (earlier.0.iter().peekable(), now.0.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.key().cmp(new.key()),
            };
            let before = if order == Ordering::Greater { None } else { old.next() };
            let after = if order == Ordering::Less { None } else { new.next() };
            let is_same = before.zip(after).is_some_and(|(before, after)| before.is_same(after));
            if is_same && after.is_none_or(|after| !after.compiled.reads_time()) {
                continue;
            }
            changed.extend([before, after].into_iter().flatten().map(|of| of.key().clone()));
            // Whom it excluded it may exclude no more; who needed it has changed itself where that is over.
            let groups = before.into_iter().flat_map(|before| &before.compiled.flag.settings.conflict_groups);
            changed.extend(groups.flat_map(|group| self.members(group)).map(|(_, member)| member.clone()));
        }
        self.affected_by(changed)
    }
}
