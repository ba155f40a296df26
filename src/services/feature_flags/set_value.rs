//! Setting and taking back what a tier or a tenant sees of a flag.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::judge::impact_on;
use super::{Deciding, Judged, get_flag};
use crate::domain::error::{Error, Reason};
use crate::domain::flag::{Choice, CompiledFlags, TenantOverride, TierDefault, validate};
use crate::domain::ids::{FlagKey, Revision, TenantId, TierId, VariantName};
use crate::domain::lifecycle::Status;
use crate::services::change::{Decision, Reply};
use crate::services::tenant_registry::{get_tenant, is_deleted};
use crate::services::tiers::get_tier;
use crate::services::{Command, Registry};
use crate::store::flags;
use crate::view::Snapshot;

impl Reply for TierDefault {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

impl Reply for TenantOverride {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

/// Answers of taking back, where there is nothing left to show.
impl<T: Reply> Reply for Option<T> {
    fn set_revision(&mut self, revision: Revision) {
        if let Some(reply) = self {
            reply.set_revision(revision);
        }
    }
}

/// What a tier is to see of a flag.
#[derive(Debug, Clone)]
pub struct SetTierDefault {
    /// Which flag.
    pub flag: FlagKey,
    /// Which tier.
    pub tier: TierId,
    /// What it gives; `None` takes the default back.
    pub choice: Option<Choice>,
}

/// What a tenant is to see of a flag.
#[derive(Debug, Clone)]
pub struct SetTenantOverride {
    /// Which flag.
    pub flag: FlagKey,
    /// Which tenant.
    pub tenant: TenantId,
    /// What it gives; `None` takes the override back.
    pub choice: Option<Choice>,
    /// Why, for people.
    pub reason: String,
    /// From then on it no longer counts.
    pub expire_time: Option<Timestamp>,
}

impl Registry {
    /// Sets or takes back what a tier sees of a flag. Taking back what is not set is no failure, and setting what is so
    /// already no change.
    pub async fn set_tier_default(
        &self,
        set: &SetTierDefault,
        command: &Command,
    ) -> Result<Judged<Option<TierDefault>>, Error> {
        self.change(command, |snapshot, context| {
            let choice = checked(snapshot, &set.flag, set.choice.as_ref())?;
            get_tier(snapshot, &set.tier)?;
            let flags = snapshot.flags.clone();
            let key = set.flag.as_str();
            let deciding = Deciding { snapshot, fixed: &self.static_context, context, force: false, command };
            let changed = BTreeSet::from([set.flag.clone()]);
            let Some(choice) = choice else {
                if !flags.tier_defaults(key).any(|default| default.tier == set.tier) {
                    return Ok(Decision::Nothing(Judged { made: None, impact: None }));
                }
                let change = flags::tier_default_clear(&set.flag, &set.tier, context);
                let after = flags.without_tier_default(key, set.tier.as_str());
                let impact = deciding.impact(&after, &changed);
                return Ok(Decision::Make(Box::new(change), Judged { made: None, impact }));
            };
            if let Some(same) = flags.tier_defaults(key).find(|it| it.tier == set.tier && it.choice == choice)
            {
                return Ok(Decision::Nothing(Judged { made: Some(TierDefault::clone(same)), impact: None }));
            }
            let default = TierDefault {
                tier: set.tier.clone(),
                flag: set.flag.clone(),
                choice,
                revision: Revision::ZERO,
            };
            let change = flags::tier_default_set(&default, context);
            let after = flags.with_tier_default(Arc::new(default.clone()));
            let impact = deciding.impact(&after, &changed);
            Ok(Decision::Make(Box::new(change), Judged { made: Some(default), impact }))
        })
        .await
    }

    /// Sets or takes back what a tenant sees of a flag. Taking back what is not set is no failure, and setting what is so
    /// already no change.
    pub async fn set_tenant_override(
        &self,
        set: &SetTenantOverride,
        command: &Command,
    ) -> Result<Judged<Option<TenantOverride>>, Error> {
        self.change(command, |snapshot, context| {
            let choice = checked(snapshot, &set.flag, set.choice.as_ref())?;
            let record = get_tenant(snapshot, &set.tenant)?;
            if record.tenant.status == Status::Deleted {
                return Err(is_deleted(&set.tenant, "a deleted tenant takes no overrides"));
            }
            let (flags, key, tenant) = (snapshot.flags.clone(), set.flag.as_str(), set.tenant.as_str());
            let changed = BTreeSet::from([set.flag.clone()]);
            let impact = |after: &CompiledFlags| {
                let tenants = std::iter::once(record);
                command.validate_only.then(|| {
                    impact_on((snapshot, &self.static_context), after, &changed, tenants, context.now)
                })
            };
            let Some(choice) = choice else {
                if !flags.overrides_of_tenant(tenant).any(|own| own.flag == set.flag) {
                    return Ok(Decision::Nothing(Judged { made: None, impact: None }));
                }
                let change = flags::tenant_override_clear(&set.flag, &set.tenant, context);
                let impact = impact(&flags.without_override(key, tenant));
                return Ok(Decision::Make(Box::new(change), Judged { made: None, impact }));
            };
            let is_same = |own: &&Arc<TenantOverride>| {
                own.flag == set.flag
                    && (&own.choice, &own.reason, own.expire_time) == (&choice, &set.reason, set.expire_time)
            };
            if let Some(same) = flags.overrides_of_tenant(tenant).find(is_same) {
                return Ok(Decision::Nothing(Judged {
                    made: Some(TenantOverride::clone(same)),
                    impact: None,
                }));
            }
            if set.expire_time.is_some_and(|time| time <= context.now) {
                return Err(Error::field("expire_time", "must lie in the future"));
            }
            let own = TenantOverride {
                tenant: set.tenant.clone(),
                flag: set.flag.clone(),
                choice,
                reason: set.reason.clone(),
                expire_time: set.expire_time,
                revision: Revision::ZERO,
                update_time: context.now,
            };
            let change = flags::tenant_override_set(&own, context);
            let impact = impact(&flags.with_override(Arc::new(own.clone())));
            Ok(Decision::Make(Box::new(change), Judged { made: Some(own), impact }))
        })
        .await
    }
}

/// The choice, where the flag exists and has its variants.
fn checked(
    snapshot: &Snapshot,
    flag_key: &FlagKey,
    choice: Option<&Choice>,
) -> Result<Option<Choice>, Error> {
    let flag = get_flag(snapshot, flag_key)?;
    let Some(choice) = choice else { return Ok(None) };
    let variants = &flag.settings.variants;
    if let Some(variant) = choice.variants().into_iter().find(|variant| !variants.contains_key(*variant)) {
        let known: Vec<&str> = variants.keys().map(VariantName::as_str).collect();
        return Err(Error::missing(Reason::VariantNotFound, "variant", "variant", variant)
            .with("flag_key", flag_key)
            .with("variants", known.join(",")));
    }
    let mut violations = Vec::new();
    validate::choice(choice, "", variants, &mut violations);
    if violations.is_empty() {
        return Ok(Some(choice.clone()));
    }
    Err(Error::invalid(Reason::InvalidField, violations))
}
