//! `tenantry flag set-tier` and `set-tenant`: one variant, or a share of several.

use clap::Args;
use serde_json::{Value, json};

use super::rollout::rollout;
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
    #[arg(long, value_name = "ATTRIBUTE")]
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
    #[arg(long)]
    expires: Option<String>,
    /// Only show what it would look like, and whom it would affect.
    #[arg(long)]
    dry_run: bool,
}

/// Adds what is given to a request: the variant, or the shares.
fn give(request: &mut Value, variant: Option<String>, shares: &Shares) -> Result<(), Failure> {
    if shares.rollout.is_none() && !(shares.later.is_empty() && shares.bucket_by.is_none()) {
        return Err(Failure::usage("--then and --bucket-by need --rollout"));
    }
    if let Some(now) = &shares.rollout {
        request["rollout"] = rollout(now, &shares.later, shares.bucket_by.as_deref())?;
    } else {
        request["variant"] = variant.unwrap_or_default().into();
    }
    Ok(())
}

pub(super) async fn set_tier(set: SetTier, context: &Context<'_>) -> Result<(), Failure> {
    let mut request = json!({ "flagKey": set.flag_key, "tierId": set.tier_id, "validateOnly": set.dry_run });
    give(&mut request, set.variant, &set.shares)?;
    let whose = format!("tier {}", set.tier_id);
    show_value(&context.change("FeatureFlags/SetTierDefault", request).await?, &whose, set.dry_run, context)
}

pub(super) async fn set_tenant(set: SetTenant, context: &Context<'_>) -> Result<(), Failure> {
    let mut request = json!({
        "flagKey": set.flag_key,
        "tenantId": set.tenant_id,
        "reason": set.reason.unwrap_or_default(),
        "validateOnly": set.dry_run,
    });
    give(&mut request, set.variant, &set.shares)?;
    if let Some(expires) = set.expires {
        request["expireTime"] = expires.into();
    }
    let whose = format!("tenant {}", set.tenant_id);
    show_value(
        &context.change("FeatureFlags/SetTenantOverride", request).await?,
        &whose,
        set.dry_run,
        context,
    )
}

/// Shows what was set; what was taken back leaves nothing to show.
fn show_value(value: &Value, whose: &str, dry_run: bool, context: &Context<'_>) -> Result<(), Failure> {
    let format = context.connection.output;
    let is_cleared = value["variant"] == "" && value["rollout"].is_null();
    if is_cleared && !dry_run && format == Format::Table {
        return print(&format!("{whose} has nothing of its own of flag {} now\n", text(&value["flagKey"])));
    }
    show(format, value)
}
