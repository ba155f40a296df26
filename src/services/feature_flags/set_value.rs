//! Setting and taking back what a tier or a tenant sees of a flag.

use jiff::Timestamp;

use super::get_flag;
use crate::domain::error::{Error, Reason};
use crate::domain::flag::{TenantOverride, TierDefault};
use crate::domain::ids::{FlagKey, Revision, TenantId, TierId, VariantName};
use crate::domain::lifecycle::Status;
use crate::services::change::{Decision, Reply};
use crate::services::tenant_registry::{get_tenant, not_found};
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
    /// Which variant; `None` takes the default back.
    pub variant: Option<VariantName>,
}

/// What a tenant is to see of a flag.
#[derive(Debug, Clone)]
pub struct SetTenantOverride {
    /// Which flag.
    pub flag: FlagKey,
    /// Which tenant.
    pub tenant: TenantId,
    /// Which variant; `None` takes the override back.
    pub variant: Option<VariantName>,
    /// Why, for people.
    pub reason: String,
    /// From then on it no longer counts.
    pub expire_time: Option<Timestamp>,
}

impl Registry {
    /// Sets or takes back what a tier sees of a flag. Taking back what is not set is no failure.
    pub async fn set_tier_default(
        &self,
        set: &SetTierDefault,
        command: &Command,
    ) -> Result<Option<TierDefault>, Error> {
        self.change(command, |snapshot, context| {
            check_variant(snapshot, &set.flag, set.variant.as_ref())?;
            get_tier(snapshot, &set.tier)?;
            let Some(variant) = set.variant.clone() else {
                if !snapshot.flags.tier_defaults(set.flag.as_str()).any(|default| default.tier == set.tier) {
                    return Ok(Decision::Nothing(None));
                }
                let change = flags::tier_default_clear(&set.flag, &set.tier, context);
                return Ok(Decision::Make(Box::new(change), None));
            };
            let default = TierDefault {
                tier: set.tier.clone(),
                flag: set.flag.clone(),
                variant,
                revision: Revision::ZERO,
            };
            Ok(Decision::Make(Box::new(flags::tier_default_set(&default, context)), Some(default)))
        })
        .await
    }

    /// Sets or takes back what a tenant sees of a flag. Taking back what is not set is no failure.
    pub async fn set_tenant_override(
        &self,
        set: &SetTenantOverride,
        command: &Command,
    ) -> Result<Option<TenantOverride>, Error> {
        self.change(command, |snapshot, context| {
            check_variant(snapshot, &set.flag, set.variant.as_ref())?;
            if get_tenant(snapshot, &set.tenant)?.tenant.status == Status::Deleted {
                return Err(not_found(&set.tenant));
            }
            let Some(variant) = set.variant.clone() else {
                if !snapshot.flags.overrides_of_tenant(set.tenant.as_str()).any(|own| own.flag == set.flag) {
                    return Ok(Decision::Nothing(None));
                }
                let change = flags::tenant_override_clear(&set.flag, &set.tenant, context);
                return Ok(Decision::Make(Box::new(change), None));
            };
            if set.expire_time.is_some_and(|time| time <= context.now) {
                return Err(Error::field("expire_time", "must lie in the future"));
            }
            let own = TenantOverride {
                tenant: set.tenant.clone(),
                flag: set.flag.clone(),
                variant,
                reason: set.reason.clone(),
                expire_time: set.expire_time,
                revision: Revision::ZERO,
                update_time: context.now,
            };
            Ok(Decision::Make(Box::new(flags::tenant_override_set(&own, context)), Some(own)))
        })
        .await
    }
}

fn check_variant(
    snapshot: &Snapshot,
    flag_key: &FlagKey,
    variant: Option<&VariantName>,
) -> Result<(), Error> {
    let flag = get_flag(snapshot, flag_key)?;
    match variant {
        Some(variant) if !flag.variants.contains_key(variant) => {
            let known: Vec<&str> = flag.variants.keys().map(VariantName::as_str).collect();
            Err(Error::missing(Reason::VariantNotFound, "variant", "variant", variant)
                .with("flag_key", flag_key)
                .with("variants", known.join(",")))
        }
        _ => Ok(()),
    }
}
