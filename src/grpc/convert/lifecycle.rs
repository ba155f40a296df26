//! What is asked of tenants, operations and targets.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::flag::choice::REASON_MAX;
use super::operation::{decode_migration_end, encode_verb};
use super::{Faults, decode_timestamp, etag, page, timestamp};
use crate::cascade::CircuitState;
use crate::config::cascade::Drift;
use crate::domain::bulk::{Bulk, BulkState, CONCURRENT_DEFAULT, CONCURRENT_MAX};
use crate::domain::error::{Error, invalid_filter};
use crate::domain::filter::Filter;
use crate::domain::filter::tenant::SCHEMA;
use crate::domain::ids::{OperationId, TargetName, TenantId, TierId};
use crate::domain::lifecycle::Verb;
use crate::domain::operation::{Children, Place, Wish};
use crate::domain::tenant::LINE_MAX;
use crate::domain::text;
use crate::grpc::metadata::now;
use crate::proto::v1;
use crate::services::StartOperation;
use crate::services::lifecycle::{
    BULK_VERBS, Intervene, Intervention, ListOperations, SetTarget, ShownTarget, StartBulk, VerifyTenant,
    WAIT_MAX,
};

/// Furthest time for which an operation can be scheduled.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(366 * 24);
/// Most targets that an operation goes without from the start on.
const SKIPPED_MAX: usize = 100;
/// Longest retention, in days: 100 years.
const RETENTION_DAYS_MAX: i64 = 36_525;

/// The fields that all verbs have.
pub(in crate::grpc) struct Asked {
    pub(in crate::grpc) tenant_id: String,
    pub(in crate::grpc) reason: String,
    pub(in crate::grpc) etag: String,
    pub(in crate::grpc) wait: Option<prost_types::Duration>,
    pub(in crate::grpc) at: Option<prost_types::Timestamp>,
}

/// Decodes a verb; `wish` decodes what is asked for beside it.
pub(in crate::grpc) fn decode_start(
    asked: &Asked,
    verb: Verb,
    wish: impl FnOnce(&mut Faults) -> Wish,
) -> Result<StartOperation, Error> {
    let mut faults = Faults::default();
    let tenant_id = faults.id("tenant_id", TenantId::parse(&asked.tenant_id));
    check_reason(&asked.reason, &mut faults);
    let wait = decode_wait(asked.wait.as_ref(), &mut faults);
    let at = asked.at.and_then(|at| decode_at(at, &mut faults));
    let wish = wish(&mut faults);
    let start = tenant_id.zip(wait).map(|(tenant_id, wait)| StartOperation {
        tenant_id,
        verb,
        reason: asked.reason.clone(),
        etag: etag(asked.etag.clone()),
        wait,
        at,
        wish,
        bulk_id: None,
    });
    faults.check(start)
}

fn check_reason(reason: &str, faults: &mut Faults) {
    if let Err(invalid) = text::reason(reason, REASON_MAX) {
        faults.add("reason", invalid.why);
    }
}

fn require_reason(reason: &str, faults: &mut Faults) {
    if reason.trim().is_empty() {
        faults.add("reason", "must say why");
    }
    check_reason(reason, faults);
}

fn decode_wait(wait: Option<&prost_types::Duration>, faults: &mut Faults) -> Option<Duration> {
    let Some(wait) = wait else { return Some(Duration::ZERO) };
    // Bounded before it is converted: the conversion overflows at the far end of `seconds`.
    let within = (0..=WAIT_MAX.as_secs().cast_signed()).contains(&wait.seconds) && wait.nanos >= 0;
    let wait = within.then(|| Duration::try_from(*wait).ok()).flatten().filter(|wait| *wait <= WAIT_MAX);
    if wait.is_none() {
        faults.add("wait", "must be from 0 to 30 seconds");
    }
    wait
}

fn decode_at(at: prost_types::Timestamp, faults: &mut Faults) -> Option<Timestamp> {
    let furthest = now().checked_add(AHEAD_MAX).unwrap_or(Timestamp::MAX);
    // Compared before it is converted: what is too far to be written is too far first of all.
    let why = match decode_timestamp(at) {
        Ok(at) if at <= furthest => return Some(at),
        Err(why) if at.seconds <= furthest.as_second() => why,
        Ok(_) | Err(_) => "must be at most 366 days from now",
    };
    faults.add("at", why);
    None
}

/// Decodes what becomes of the tenants below.
pub(in crate::grpc) fn decode_children(number: i32, faults: &mut Faults) -> Wish {
    let children = match v1::ChildrenPolicy::try_from(number) {
        Ok(v1::ChildrenPolicy::Unspecified | v1::ChildrenPolicy::Ignore) => Children::Ignore,
        Ok(v1::ChildrenPolicy::Block) => Children::Block,
        Ok(v1::ChildrenPolicy::Follow) => Children::Follow,
        Err(_) => {
            faults.add("children", format!("{number} is not a number of ChildrenPolicy"));
            Children::Ignore
        }
    };
    Wish { children, ..Wish::default() }
}

/// Decodes where a tenant moves to; `None` where neither is given.
pub(in crate::grpc) fn decode_place(region: &str, cell: &str, faults: &mut Faults) -> Option<Place> {
    if region.is_empty() && cell.is_empty() {
        return None;
    }
    if !region.is_empty()
        && let Err(invalid) = text::one_line(region, LINE_MAX)
    {
        faults.add("to_region", invalid.why);
    }
    if let Err(invalid) = text::label_value(cell) {
        faults.add("to_cell", invalid.why);
    }
    Some(Place { region: region.into(), cell: cell.into() })
}

/// Decodes for how long data must be kept, in seconds.
pub(in crate::grpc) fn decode_retention(
    retention: Option<prost_types::Duration>,
    shortens: bool,
    faults: &mut Faults,
) -> Option<i64> {
    if shortens && retention.is_none() {
        faults.add("shorten_retention", "must not be set without retention");
    }
    decode_period("retention", retention, faults)
}

/// Decodes a time of up to 100 years, in seconds.
pub(in crate::grpc) fn decode_period(
    field: &'static str,
    period: Option<prost_types::Duration>,
    faults: &mut Faults,
) -> Option<i64> {
    let period = period?;
    let days = RETENTION_DAYS_MAX * 24 * 3_600;
    if !(0..=days).contains(&period.seconds) || !(0..1_000_000_000).contains(&period.nanos) {
        faults.add(field, format!("must be from 0 to {RETENTION_DAYS_MAX} days"));
    }
    Some(period.seconds)
}

/// Decodes a change of tier.
pub(in crate::grpc) fn decode_tier(tier: &str, faults: &mut Faults) -> Wish {
    Wish { tier: faults.id("tier", TierId::parse(tier)), ..Wish::default() }
}

/// Decodes which tenant is to be looked at.
pub(in crate::grpc) fn decode_verify(message: &v1::VerifyTenantRequest) -> Result<VerifyTenant, Error> {
    let mut faults = Faults::default();
    let tenant_id = faults.id("tenant_id", TenantId::parse(&message.tenant_id));
    let wait = decode_wait(message.wait.as_ref(), &mut faults);
    let policy = match v1::DriftPolicy::try_from(message.drift) {
        Ok(v1::DriftPolicy::Unspecified) => None,
        Ok(v1::DriftPolicy::Repair) => Some(Drift::Repair),
        Ok(v1::DriftPolicy::Report) => Some(Drift::Report),
        Err(_) => {
            faults.add("drift", format!("{} is not a number of DriftPolicy", message.drift));
            None
        }
    };
    let asked = tenant_id.zip(wait).map(|(tenant_id, wait)| VerifyTenant { tenant_id, policy, wait });
    faults.check(asked)
}

/// Decodes an intervention in an operation; `what` decodes which.
pub(in crate::grpc) fn decode_intervene(
    operation_id: &str,
    wait: Option<&prost_types::Duration>,
    what: impl FnOnce(&mut Faults) -> Option<Intervention>,
) -> Result<Intervene, Error> {
    let mut faults = Faults::default();
    let operation_id = faults.id("operation_id", OperationId::parse(operation_id));
    let wait = decode_wait(wait, &mut faults);
    let what = what(&mut faults);
    let asked = operation_id.zip(wait).zip(what).map(|((operation_id, wait), what)| Intervene {
        operation_id,
        what,
        wait,
    });
    faults.check(asked)
}

/// Decodes that a target is to be tried again.
pub(in crate::grpc) fn decode_retry(
    message: &v1::RetryTargetRequest,
    faults: &mut Faults,
) -> Option<Intervention> {
    if message.adopt {
        require_reason(&message.reason, faults);
    } else if !message.reason.is_empty() {
        faults.add("reason", "must not be set without adopt");
    }
    let target = faults.id("target", TargetName::parse(&message.target))?;
    Some(Intervention::Retry { target, adopt: message.adopt.then(|| message.reason.clone()) })
}

/// Decodes that a target is to be skipped.
pub(in crate::grpc) fn decode_skip(target: &str, reason: &str, faults: &mut Faults) -> Option<Intervention> {
    require_reason(reason, faults);
    let target = faults.id("target", TargetName::parse(target))?;
    Some(Intervention::Skip { target, reason: reason.to_owned() })
}

/// Decodes which targets an operation goes without from the start on; that needs a reason.
pub(in crate::grpc) fn decode_skipped(
    targets: &[String],
    reason: &str,
    faults: &mut Faults,
) -> Vec<TargetName> {
    if targets.is_empty() {
        return Vec::new();
    }
    if reason.trim().is_empty() {
        faults.add("reason", "must say why targets are skipped");
    }
    if targets.len() > SKIPPED_MAX {
        faults.add("skip_targets", format!("must be at most {SKIPPED_MAX}"));
    }
    let targets = targets.iter().take(SKIPPED_MAX).enumerate();
    targets
        .filter_map(|(at, target)| faults.id(&format!("skip_targets[{at}]"), TargetName::parse(target)))
        .collect()
}

/// Decodes that all is to be taken back.
pub(in crate::grpc) fn decode_abort(reason: &str, faults: &mut Faults) -> Intervention {
    check_reason(reason, faults);
    Intervention::Abort { reason: reason.to_owned() }
}

/// Decodes that a target is to be paused, with a reason, or used again.
pub(in crate::grpc) fn decode_set_target(
    target: &str,
    reason: &str,
    paused: bool,
) -> Result<SetTarget, Error> {
    let mut faults = Faults::default();
    let target = faults.id("target", TargetName::parse(target));
    if paused {
        require_reason(reason, &mut faults);
    } else {
        check_reason(reason, &mut faults);
    }
    faults.check(target.map(|target| SetTarget { target, paused, reason: reason.to_owned() }))
}

/// Decodes which operations are asked for.
pub(in crate::grpc) fn decode_list(message: v1::ListOperationsRequest) -> Result<ListOperations, Error> {
    let mut faults = Faults::default();
    let tenant_id = faults.optional_id("tenant_id", &message.tenant_id, TenantId::parse);
    faults.check(Some(()))?;
    Ok(ListOperations {
        page: page(message.page_size, message.page_token)?,
        tenant_id,
        state: super::operation::decode_state("state", message.state)?,
        filter: message.filter,
    })
}

/// Decodes a verb on many tenants.
pub(in crate::grpc) fn decode_bulk(message: &v1::StartBulkOperationRequest) -> Result<StartBulk, Error> {
    let filter = Filter::parse(&message.filter, &SCHEMA).map_err(|error| invalid_filter("filter", &error))?;
    let mut faults = Faults::default();
    if filter.is_all() {
        faults.add("filter", "must say which tenants; `tenant_id:*` is all of them");
    }
    check_reason(&message.reason, &mut faults);
    let concurrent_max = match message.concurrent_max {
        0 => CONCURRENT_DEFAULT,
        given => u32::try_from(given).ok().filter(|given| *given <= CONCURRENT_MAX).unwrap_or_else(|| {
            faults.add("concurrent_max", format!("must be from 1 to {CONCURRENT_MAX}, or 0 for 20"));
            CONCURRENT_DEFAULT
        }),
    };
    let end = decode_migration_end(message.to_status);
    let verb = BULK_VERBS
        .into_iter()
        .filter(|verb| match (verb, &end) {
            (Verb::FinishMigration { to }, Ok(end)) => to == end,
            _ => true,
        })
        .find(|verb| encode_verb(*verb) as i32 == message.verb);
    if verb.is_none() {
        faults.add("verb", "must be one that can be asked of many tenants");
    }
    let mut wish =
        Wish { to: decode_place(&message.to_region, &message.to_cell, &mut faults), ..Wish::default() };
    if verb == Some(Verb::ChangeTier) || !message.tier.is_empty() {
        wish.tier = decode_tier(&message.tier, &mut faults).tier;
    }
    misplaced(message, verb, &mut faults);
    end?;
    let start = verb.map(|verb| StartBulk {
        filter,
        filter_text: message.filter.clone(),
        verb,
        wish,
        reason: message.reason.clone(),
        concurrent_max,
    });
    faults.check(start)
}

/// What belongs to another verb is a mistake, not something to pass over.
fn misplaced(message: &v1::StartBulkOperationRequest, verb: Option<Verb>, faults: &mut Faults) {
    let Some(verb) = verb else { return };
    let mut only = |field: &str, given: bool, fits: bool| {
        if given && !fits {
            faults.add(field, format!("is not for {verb}"));
        }
    };
    only("tier", !message.tier.is_empty(), verb == Verb::ChangeTier);
    only("to_region", !message.to_region.is_empty(), verb == Verb::StartMigration);
    only("to_cell", !message.to_cell.is_empty(), verb == Verb::StartMigration);
    only("to_status", message.to_status != 0, matches!(verb, Verb::FinishMigration { .. }));
}

/// Encodes a target.
pub(in crate::grpc) fn encode_target(shown: &ShownTarget) -> v1::Target {
    let control = shown.control.as_deref();
    let error = shown.health.as_ref().and_then(|health| health.last_error.as_ref());
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    v1::Target {
        target: shown.target.to_string(),
        configured: shown.health.is_some(),
        paused: control.is_some_and(|control| control.paused),
        reason: control.map(|control| control.reason.clone()).unwrap_or_default(),
        actor: control.map(|control| control.actor.clone()).unwrap_or_default(),
        update_time: control.map(|control| timestamp(control.update_time)),
        circuit: match shown.health.as_ref().map(|health| health.circuit) {
            None => v1::CircuitState::Unspecified,
            Some(CircuitState::Closed) => v1::CircuitState::Closed,
            Some(CircuitState::Open) => v1::CircuitState::Open,
            Some(CircuitState::Probing) => v1::CircuitState::Probing,
        }
        .into(),
        in_flight: shown.health.as_ref().map_or(0, |health| count(health.in_flight)),
        waiting_operations: count(shown.waiting),
        failing_operations: count(shown.failing),
        last_error: error.map(|error| error.message.clone()).unwrap_or_default(),
        last_error_time: error.map(|error| timestamp(error.time)),
        revision: control.map_or(0, |control| control.revision.as_i64()),
    }
}

/// Encodes a bulk operation.
pub(in crate::grpc) fn encode_bulk(bulk: &Bulk) -> v1::BulkOperation {
    let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let place = bulk.wish.to.clone().unwrap_or_default();
    v1::BulkOperation {
        bulk_operation_id: bulk.bulk_id.to_string(),
        verb: encode_verb(bulk.verb).into(),
        filter: bulk.filter.clone(),
        parent: bulk.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        reason: bulk.reason.clone(),
        actor: bulk.actor.clone(),
        state: match bulk.state {
            BulkState::Running => v1::BulkOperationState::Running,
            BulkState::Succeeded => v1::BulkOperationState::Succeeded,
            BulkState::Failed => v1::BulkOperationState::Failed,
            BulkState::Cancelling => v1::BulkOperationState::Cancelling,
            BulkState::Cancelled => v1::BulkOperationState::Cancelled,
        }
        .into(),
        concurrent_max: count(bulk.concurrent_max),
        total: count(bulk.total),
        waiting: count(bulk.waiting),
        running: count(bulk.running),
        needs_operator: count(bulk.needs_operator),
        succeeded: count(bulk.succeeded),
        failed: count(bulk.failed),
        create_time: Some(timestamp(bulk.create_time)),
        update_time: Some(timestamp(bulk.update_time)),
        finish_time: bulk.finish_time.map(timestamp),
        revision: bulk.revision.as_i64(),
        tier: bulk.wish.tier.as_ref().map(ToString::to_string).unwrap_or_default(),
        to_region: place.region.into(),
        to_cell: place.cell.into(),
        error: bulk.error.clone(),
        overruled: count(bulk.overruled),
    }
}
