//! Tenants.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::{Faults, etag, mask, timestamp};
use crate::domain::error::Error;
use crate::domain::health::{Level, Score};
use crate::domain::ids::{MetricName, TenantId, TierId};
use crate::domain::lifecycle::{Access, Status};
use crate::domain::shared_text::TextMap;
use crate::domain::tenant::{
    ChosenNames, Contact, DataClassification, IsolationModel, NewTenant, Pairs, PairsChange, Profile,
    ProfileField, Tenant,
};
use crate::domain::tier::{Limit, LimitSource, Limits, effective_limits, effective_support_level};
use crate::proto::google::r#type::Money;
use crate::proto::v1;
use crate::services::tenant_registry::{Shown, TenantUpdate};

/// Fields that exist, but are not changed by an update.
const FIXED: &[&str] = &[
    "tenant_id",
    "uid",
    "status",
    "status_time",
    "status_reason",
    "pending_status",
    "access",
    "operation_id",
    "limits",
    "resource_names",
    "health_score",
    "health_level",
    "etag",
    "revision",
    "create_time",
    "update_time",
    "delete_time",
    "purge_time",
    "creator",
    "cell",
    "migration",
    "retain_time",
];

/// Nanos in a unit of money.
const NANOS: i64 = 1_000_000_000;

/// Encodes a tenant with all that is shown of it.
pub(in crate::grpc) fn encode(shown: &Shown) -> v1::Tenant {
    let Shown { tenant, health, tier } = shown;
    let profile = &tenant.profile;
    let health_revision = health.as_ref().map_or(tenant.revision, |health| health.revision);
    let score = health.as_ref().map_or(Score::BEST, |health| health.score);
    let tier_limits = tier.as_ref().map(|tier| &tier.limits);
    v1::Tenant {
        tenant_id: tenant.tenant_id.to_string(),
        uid: tenant.uid.to_string(),
        display_name: profile.display_name.to_string(),
        description: profile.description.to_string(),
        parent: profile.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        business_unit: profile.business_unit.to_string(),
        cost_center: profile.cost_center.to_string(),
        owner: profile.owner.to_string(),
        contacts: profile.contacts.iter().map(encode_contact).collect(),
        tier: profile.tier.to_string(),
        status: encode_status(tenant.status).into(),
        status_time: Some(timestamp(tenant.status_time)),
        status_reason: tenant.status_reason.to_string(),
        pending_status: tenant.pending_status.map_or(0, |status| encode_status(status).into()),
        access: encode_access(tenant.access()).into(),
        operation_id: tenant.operation_id.map(|id| id.to_string()).unwrap_or_default(),
        limits: encode_effective_limits(tier_limits, &profile.limit_overrides),
        limit_overrides: encode_limits(&profile.limit_overrides),
        sla_target: profile.sla_target.or_else(|| tier.as_ref().map(|tier| tier.sla_target)),
        support_level: effective_support_level(&profile.support_level, || tier.as_deref()).to_owned(),
        isolation_model: encode_isolation(profile.isolation_model).into(),
        region: profile.region.to_string(),
        data_residency: profile.data_residency.to_string(),
        compliance_frameworks: profile.compliance_frameworks.iter().map(ToString::to_string).collect(),
        data_classification: encode_classification(profile.data_classification).into(),
        encryption_key_ref: profile.encryption_key_ref.to_string(),
        resource_names: Some(encode_names(tenant)),
        time_zone: profile.time_zone.to_string(),
        currency_code: profile.currency_code.to_string(),
        monthly_budget: profile.monthly_budget.map(|amount| encode_money(amount, &profile.currency_code)),
        health_score: i32::from(score.get()),
        health_level: encode_level(score.level()).into(),
        labels: encode_map(&profile.labels),
        annotations: encode_map(&profile.annotations),
        etag: tenant.etag(),
        revision: tenant.revision.max(health_revision).as_i64(),
        create_time: Some(timestamp(tenant.create_time)),
        update_time: Some(timestamp(tenant.update_time)),
        delete_time: tenant.delete_time.map(timestamp),
        purge_time: tenant.purge_time.as_deref().copied().map(timestamp),
        creator: tenant.creator.to_string(),
        cell: tenant.place().cell.into(),
        migration: tenant.migration().map(|change| v1::Migration {
            from_region: change.from.region.to_string(),
            from_cell: change.from.cell.to_string(),
            to_region: change.to.region.to_string(),
            to_cell: change.to.cell.to_string(),
        }),
        retain_time: tenant.retain_time.as_deref().copied().map(timestamp),
    }
}

/// Decodes a tenant to be made. What the server decides is ignored.
pub(in crate::grpc) fn decode_new(message: Option<v1::Tenant>) -> Result<NewTenant, Error> {
    let Some(message) = message else { return Err(Error::field("tenant", "must be set")) };
    let mut faults = Faults::default();
    let tenant_id = faults.id("tenant_id", TenantId::parse(&message.tenant_id));
    let names = message.resource_names.clone().unwrap_or_default();
    let profile = decode_profile(message, &mut faults, &|_| true);
    let resource_names = ChosenNames {
        database_schema: names.database_schema,
        vector_namespace: names.vector_namespace,
        bucket: names.bucket,
        bucket_prefix: names.bucket_prefix,
        cache_prefix: names.cache_prefix,
        monitoring_label: names.monitoring_label,
    };
    // Without an id the rest can still be checked, so that one answer names everything.
    match tenant_id.or_else(|| TenantId::parse("unnamed").ok()).zip(Some(profile)) {
        Some((tenant_id, profile)) => {
            let new = NewTenant { tenant_id, profile, resource_names };
            faults.extend(new.violations());
            faults.check(Some(new))
        }
        None => faults.check(None),
    }
    .map_err(|error| error.within("tenant."))
}

/// Decodes an update. Only what the mask names is looked at, beside the labels and annotations to set or to remove.
pub(in crate::grpc) fn decode_update(request: v1::UpdateTenantRequest) -> Result<TenantUpdate, Error> {
    let Some(mut message) = request.tenant else { return Err(Error::field("tenant", "must be set")) };
    let tenant_id = super::id("tenant.tenant_id", TenantId::parse(&message.tenant_id))?;
    let labels = PairsChange { set: request.set_labels.into_iter().collect(), remove: request.remove_labels };
    let annotations = PairsChange {
        set: request.set_annotations.into_iter().collect(),
        remove: request.remove_annotations,
    };
    let names_any = request.update_mask.as_ref().is_some_and(|mask| !mask.paths.is_empty());
    let fields = if names_any || (labels.is_empty() && annotations.is_empty()) {
        mask(request.update_mask, ProfileField::ALL, ProfileField::as_str, FIXED)?
    } else {
        Vec::new()
    };
    let mut pairs = Faults::default();
    for (whose, change) in [(Pairs::Labels, &labels), (Pairs::Annotations, &annotations)] {
        pairs.extend(change.violations(whose, fields.contains(&whose.field())));
    }
    pairs.check(Some(()))?;
    let etag = etag(std::mem::take(&mut message.etag));
    let budget = message.monthly_budget.as_ref();
    let budget_currency =
        budget.map(|money| money.currency_code.clone()).filter(|currency| !currency.is_empty());
    let mut faults = Faults::default();
    let profile = decode_profile(message, &mut faults, &|field| fields.contains(&field));
    faults
        .check(Some(TenantUpdate { tenant_id, profile, fields, labels, annotations, budget_currency, etag }))
        .map_err(|error| error.within("tenant."))
}

/// Decodes what may be set, as far as it is `wanted`: what is not cannot be at fault.
fn decode_profile(
    message: v1::Tenant,
    faults: &mut Faults,
    wanted: &dyn Fn(ProfileField) -> bool,
) -> Profile {
    let placeholder = || TierId::parse("unset").unwrap_or_else(|_| unreachable!("a valid tier id"));
    let tier = if wanted(ProfileField::Tier) {
        faults.id("tier", TierId::parse(&message.tier)).unwrap_or_else(placeholder)
    } else {
        placeholder()
    };
    let mut profile = Profile::minimal(&message.display_name, tier);
    if wanted(ProfileField::Parent) {
        profile.parent = faults.optional_id("parent", &message.parent, TenantId::parse);
    }
    profile.description = message.description.into();
    profile.business_unit = message.business_unit.into();
    profile.cost_center = message.cost_center.into();
    profile.owner = message.owner.into();
    profile.contacts = message.contacts.into_iter().map(decode_contact).collect();
    if wanted(ProfileField::LimitOverrides) {
        profile.limit_overrides = decode_limits("limit_overrides", message.limit_overrides, faults);
    }
    // The database does not tell -0 from 0, so nobody else may.
    profile.sla_target = message.sla_target.map(|target| target + 0.0);
    profile.support_level = message.support_level.into();
    if wanted(ProfileField::IsolationModel) {
        profile.isolation_model = decode_isolation(message.isolation_model, faults);
    }
    profile.region = message.region.into();
    profile.data_residency = message.data_residency.into();
    profile.compliance_frameworks = message.compliance_frameworks.into_iter().map(Into::into).collect();
    if wanted(ProfileField::DataClassification) {
        profile.data_classification = decode_classification(message.data_classification, faults);
    }
    profile.encryption_key_ref = message.encryption_key_ref.into();
    if !message.time_zone.is_empty() {
        profile.time_zone = message.time_zone.into();
    }
    if !message.currency_code.is_empty() {
        profile.currency_code = message.currency_code.into();
    }
    if wanted(ProfileField::MonthlyBudget) {
        let currency = wanted(ProfileField::CurrencyCode).then(|| profile.currency_code.clone());
        profile.monthly_budget =
            message.monthly_budget.and_then(|money| decode_money(&money, currency.as_deref(), faults));
    }
    profile.labels = message.labels.into_iter().collect();
    profile.annotations = message.annotations.into_iter().collect();
    profile
}

fn encode_contact(contact: &Contact) -> v1::Contact {
    v1::Contact { name: contact.name.clone(), email: contact.email.clone(), role: contact.role.clone() }
}

fn decode_contact(contact: v1::Contact) -> Contact {
    Contact { name: contact.name, email: contact.email, role: contact.role }
}

fn encode_names(tenant: &Tenant) -> v1::ResourceNames {
    let names = tenant.resource_names();
    v1::ResourceNames {
        database_schema: names.database_schema,
        vector_namespace: names.vector_namespace,
        bucket: names.bucket,
        bucket_prefix: names.bucket_prefix,
        cache_prefix: names.cache_prefix,
        monitoring_label: names.monitoring_label,
    }
}

fn encode_map(map: &TextMap) -> BTreeMap<String, String> {
    map.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn encode_limit(limit: Limit) -> v1::Limit {
    let bound = match limit {
        Limit::Unlimited => v1::limit::Bound::Unlimited(true),
        Limit::At(value) => v1::limit::Bound::Value(value),
    };
    v1::Limit { bound: Some(bound) }
}

pub(super) fn encode_limits(limits: &Limits) -> BTreeMap<String, v1::Limit> {
    limits.iter().map(|(metric, limit)| (metric.to_string(), encode_limit(*limit))).collect()
}

fn encode_effective_limits(tier: Option<&Limits>, own: &Limits) -> Vec<v1::EffectiveLimit> {
    let none = Limits::new();
    effective_limits(tier.unwrap_or(&none), own)
        .map(|effective| v1::EffectiveLimit {
            metric: effective.metric.to_string(),
            limit: Some(encode_limit(effective.limit)),
            source: match effective.source {
                LimitSource::Tier => v1::LimitSource::Tier,
                LimitSource::Override => v1::LimitSource::Override,
            }
            .into(),
        })
        .collect()
}

pub(super) fn decode_limits(field: &str, limits: BTreeMap<String, v1::Limit>, faults: &mut Faults) -> Limits {
    let mut decoded = Limits::new();
    for (name, limit) in limits {
        let Some(metric) = faults.id(field, MetricName::parse(&name)) else { continue };
        match limit.bound {
            // What a signed 64-bit number cannot hold, no counter of ours will ever reach.
            Some(v1::limit::Bound::Value(value)) if i64::try_from(value).is_err() => {
                faults.add(
                    format!("{field}[{metric}].value"),
                    format!("must be at most {}; say unlimited instead", i64::MAX),
                );
            }
            Some(v1::limit::Bound::Value(value)) => {
                decoded.insert(metric, Limit::At(value));
            }
            Some(v1::limit::Bound::Unlimited(true)) => {
                decoded.insert(metric, Limit::Unlimited);
            }
            Some(v1::limit::Bound::Unlimited(false)) => {
                faults.add(
                    format!("{field}[{metric}].unlimited"),
                    "must be true; for no bound at all leave the metric out",
                );
            }
            None => faults.add(format!("{field}[{metric}]"), "must have a value or be unlimited"),
        }
    }
    decoded
}

fn encode_money(amount: Decimal, currency: &str) -> Money {
    let units = amount.trunc();
    let nanos = ((amount - units) * Decimal::from(NANOS)).trunc();
    Money {
        currency_code: currency.to_owned(),
        // A budget is bounded far below these.
        units: units.to_i64().unwrap_or_default(),
        nanos: nanos.to_i32().unwrap_or_default(),
    }
}

fn decode_money(money: &Money, currency: Option<&str>, faults: &mut Faults) -> Option<Decimal> {
    let mut fine = true;
    let mut require = |holds: bool, field: &str, why: &str| {
        if !holds {
            faults.add(format!("monthly_budget.{field}"), why);
            fine = false;
        }
    };
    require((0..NANOS).contains(&i64::from(money.nanos)), "nanos", "must be from 0 to 999999999");
    require(money.units >= 0, "units", "must not be negative");
    if let Some(currency) = currency {
        let same = money.currency_code.is_empty() || money.currency_code == currency;
        require(same, "currency_code", "must be the same as the tenant's currency_code, or empty");
    }
    fine.then(|| (Decimal::from(money.units) + Decimal::new(i64::from(money.nanos), 9)).normalize())
}

pub(in crate::grpc) const fn encode_status(status: Status) -> v1::TenantStatus {
    match status {
        Status::Provisioning => v1::TenantStatus::Provisioning,
        Status::Active => v1::TenantStatus::Active,
        Status::Suspended => v1::TenantStatus::Suspended,
        Status::Migrating => v1::TenantStatus::Migrating,
        Status::Archived => v1::TenantStatus::Archived,
        Status::Deleted => v1::TenantStatus::Deleted,
    }
}

/// Decodes a status; `None` where it is not said.
pub(in crate::grpc) fn decode_status(field: &str, number: i32) -> Result<Option<Status>, Error> {
    if number == 0 {
        return Ok(None);
    }
    Status::ALL
        .into_iter()
        .find(|status| encode_status(*status) as i32 == number)
        .map(Some)
        .ok_or_else(|| Error::field(field, format!("{number} is not a number of TenantStatus")))
}

const fn encode_access(access: Access) -> v1::TenantAccess {
    match access {
        Access::Full => v1::TenantAccess::Full,
        Access::ReadOnly => v1::TenantAccess::ReadOnly,
        Access::None => v1::TenantAccess::None,
    }
}

const fn encode_isolation(model: IsolationModel) -> v1::IsolationModel {
    match model {
        IsolationModel::Pool => v1::IsolationModel::Pool,
        IsolationModel::Bridge => v1::IsolationModel::Bridge,
        IsolationModel::Silo => v1::IsolationModel::Silo,
    }
}

fn decode_isolation(number: i32, faults: &mut Faults) -> IsolationModel {
    match v1::IsolationModel::try_from(number) {
        Ok(v1::IsolationModel::Unspecified) => IsolationModel::default(),
        Ok(v1::IsolationModel::Pool) => IsolationModel::Pool,
        Ok(v1::IsolationModel::Bridge) => IsolationModel::Bridge,
        Ok(v1::IsolationModel::Silo) => IsolationModel::Silo,
        Err(_) => {
            faults.add("isolation_model", format!("{number} is not a number of IsolationModel"));
            IsolationModel::default()
        }
    }
}

const fn encode_classification(classification: DataClassification) -> v1::DataClassification {
    match classification {
        DataClassification::Public => v1::DataClassification::Public,
        DataClassification::Internal => v1::DataClassification::Internal,
        DataClassification::Confidential => v1::DataClassification::Confidential,
        DataClassification::Restricted => v1::DataClassification::Restricted,
    }
}

fn decode_classification(number: i32, faults: &mut Faults) -> DataClassification {
    match v1::DataClassification::try_from(number) {
        Ok(v1::DataClassification::Public) => DataClassification::Public,
        Ok(v1::DataClassification::Unspecified | v1::DataClassification::Internal) => {
            DataClassification::Internal
        }
        Ok(v1::DataClassification::Confidential) => DataClassification::Confidential,
        Ok(v1::DataClassification::Restricted) => DataClassification::Restricted,
        Err(_) => {
            faults.add("data_classification", format!("{number} is not a number of DataClassification"));
            DataClassification::default()
        }
    }
}

pub(in crate::grpc) const fn encode_level(level: Level) -> v1::HealthLevel {
    match level {
        Level::Healthy => v1::HealthLevel::Healthy,
        Level::Degraded => v1::HealthLevel::Degraded,
        Level::Critical => v1::HealthLevel::Critical,
    }
}
