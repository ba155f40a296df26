//! `tenantry flag set-tier` and `set-tenant`: one variant, or a share of several; `unset-tier` and `unset-tenant` take it back.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::{Value, json};

use super::rollout::rollout;
use crate::cli::number::time;
use crate::cli::output::{print, show, text};
use crate::cli::{Context, Failure, Format};

/// A share of several variants, now and later.
#[derive(Debug, Clone, Args)]
pub(super) struct Shares {
    /// Instead of a variant, a share of several: VARIANT=WEIGHT, separated by commas.
    #[arg(long, value_name = "VARIANT=WEIGHT,…", conflicts_with = "variant")]
    rollout: Option<String>,
    /// Later shares; may be given several times.
    #[arg(long = "then", value_name = "TIME SHARES")]
    later: Vec<String>,
    /// The attribute that decides: the tenant's id where not given, so that a tenant's users see the same.
    #[arg(long, value_name = "ATTRIBUTE", value_parser = NonEmptyStringValueParser::new())]
    bucket_by: Option<String>,
}

/// What `set-tier` takes.
#[derive(Debug, Clone, Args)]
pub struct SetTier {
    /// Which flag.
    flag_key: String,
    /// Which tier.
    tier_id: String,
    /// Which variant.
    variant: Option<String>,
    #[command(flatten)]
    shares: Shares,
    /// Only show what it would look like, and whom it would affect.
    #[arg(long)]
    dry_run: bool,
}

/// What `set-tenant` takes.
#[derive(Debug, Clone, Args)]
pub struct SetTenant {
    /// Which flag.
    flag_key: String,
    /// Which tenant.
    tenant_id: String,
    /// Which variant.
    variant: Option<String>,
    #[command(flatten)]
    shares: Shares,
    /// Why, for people.
    #[arg(long)]
    reason: Option<String>,
    /// RFC 3339; from then on it no longer counts.
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires: Option<String>,
    /// Only show what it would look like, and whom it would affect.
    #[arg(long)]
    dry_run: bool,
}

/// What `unset-tier` takes.
#[derive(Debug, Clone, Args)]
pub struct UnsetTier {
    /// Which flag.
    flag_key: String,
    /// Which tier.
    tier_id: String,
    /// Only show whom it would affect.
    #[arg(long)]
    dry_run: bool,
}

/// What `unset-tenant` takes.
#[derive(Debug, Clone, Args)]
pub struct UnsetTenant {
    /// Which flag.
    flag_key: String,
    /// Which tenant.
    tenant_id: String,
    /// Only show whom it would affect.
    #[arg(long)]
    dry_run: bool,
}

/// Adds what is given to a request: the variant, or the shares. To the API nothing given is to take back; here it is a word that
/// was forgotten, or a variable of a script that is empty, and `way_back` says how to take back.
fn give(
    request: &mut Value,
    variant: Option<String>,
    shares: &Shares,
    way_back: &str,
) -> Result<(), Failure> {
    if shares.rollout.is_none() && !(shares.later.is_empty() && shares.bucket_by.is_none()) {
        return Err(Failure::usage("--then and --bucket-by need --rollout"));
    }
    match (&shares.rollout, variant.filter(|variant| !variant.is_empty())) {
        (Some(now), _) => request["rollout"] = rollout(now, &shares.later, shares.bucket_by.as_deref())?,
        (None, Some(variant)) => request["variant"] = variant.into(),
        (None, None) => {
            return Err(Failure::usage(format!(
                "name a variant, or give a share of several with --rollout; to take back what was set: `tenantry flag {way_back}`"
            )));
        }
    }
    Ok(())
}

pub(super) async fn set_tier(set: SetTier, context: &Context<'_>) -> Result<(), Failure> {
    let mut request = json!({ "flagKey": set.flag_key, "tierId": set.tier_id, "validateOnly": set.dry_run });
    let way_back = format!("unset-tier {} {}", set.flag_key, set.tier_id);
    give(&mut request, set.variant, &set.shares, &way_back)?;
    show(context.connection.output, &context.change("FeatureFlags/SetTierDefault", request).await?)
}

pub(super) async fn unset_tier(unset: UnsetTier, context: &Context<'_>) -> Result<(), Failure> {
    let request =
        json!({ "flagKey": unset.flag_key, "tierId": unset.tier_id, "validateOnly": unset.dry_run });
    let left = context.change("FeatureFlags/SetTierDefault", request).await?;
    show_taken_back(&left, &format!("tier {}", unset.tier_id), unset.dry_run, context)
}

pub(super) async fn set_tenant(set: SetTenant, context: &Context<'_>) -> Result<(), Failure> {
    let mut request = json!({
        "flagKey": set.flag_key,
        "tenantId": set.tenant_id,
        "reason": set.reason.unwrap_or_default(),
        "validateOnly": set.dry_run,
    });
    let way_back = format!("unset-tenant {} {}", set.flag_key, set.tenant_id);
    give(&mut request, set.variant, &set.shares, &way_back)?;
    if let Some(expires) = set.expires {
        request["expireTime"] = expires.into();
    }
    show(context.connection.output, &context.change("FeatureFlags/SetTenantOverride", request).await?)
}

pub(super) async fn unset_tenant(unset: UnsetTenant, context: &Context<'_>) -> Result<(), Failure> {
    let request =
        json!({ "flagKey": unset.flag_key, "tenantId": unset.tenant_id, "validateOnly": unset.dry_run });
    let left = context.change("FeatureFlags/SetTenantOverride", request).await?;
    show_taken_back(&left, &format!("tenant {}", unset.tenant_id), unset.dry_run, context)
}

/// Shows whom taking back would affect; once it is done nothing is left to show.
fn show_taken_back(left: &Value, whose: &str, dry_run: bool, context: &Context<'_>) -> Result<(), Failure> {
    let format = context.connection.output;
    if format != Format::Table || dry_run {
        return show(format, left);
    }
    print(&format!("{whose} has nothing of its own of flag {} now\n", text(&left["flagKey"])))
}
