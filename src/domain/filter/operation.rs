//! The fields by which operations can be filtered.

use jiff::Timestamp;

use super::{FieldId, FieldType, FieldValue, Record, record_fields};
use crate::domain::operation::{Operation, TargetState};

const VERB: FieldType = FieldType::Enum(&[
    "PROVISION",
    "ACTIVATE",
    "SUSPEND",
    "START_MIGRATION",
    "FINISH_MIGRATION",
    "ARCHIVE",
    "DELETE",
    "UNDELETE",
    "PURGE",
    "REPAIR",
    "CHANGE_TIER",
]);
const STATE: FieldType = FieldType::Enum(&[
    "RUNNING",
    "SUCCEEDED",
    "REVERTING",
    "FAILED",
    "NEEDS_OPERATOR",
    "SUPERSEDED",
    "SCHEDULED",
    "CANCELLED",
]);

record_fields! {
    /// A field of an operation.
    OperationField, OperationId;
    /// Its id.
    OperationId "operation_id" FieldType::Text, true;
    /// Its tenant.
    TenantId "tenant_id" FieldType::Text, true;
    /// What was asked for.
    Verb "verb" VERB, false;
    /// Where it stands.
    State "state" STATE, false;
    /// Whether it has not ended and is not only scheduled.
    Open "open" FieldType::Boolean, false;
    /// Whether somebody should look.
    Stuck "stuck" FieldType::Boolean, false;
    /// Whether it went, or goes, beyond a newer generation of a target.
    Adopted "adopted" FieldType::Boolean, false;
    /// The targets it reaches.
    Target "target" FieldType::List, false;
    /// The targets for which it is open: they have failed and are not done.
    FailingTarget "failing_target" FieldType::List, false;
    /// Who asked.
    Actor "actor" FieldType::Text, false;
    /// Why.
    Reason "reason" FieldType::Text, false;
    /// The bulk operation that it is part of.
    BulkId "bulk_id" FieldType::Text, false;
    /// When it was asked for.
    CreateTime "create_time" FieldType::Time, true;
    /// When it last changed.
    UpdateTime "update_time" FieldType::Time, true;
    /// When it ended.
    FinishTime "finish_time" FieldType::Time, true;
    /// When it begins, or was to begin.
    ScheduleTime "schedule_time" FieldType::Time, true;
}

/// An operation as a row: ids as text, made once.
pub struct Row<'a> {
    operation: &'a Operation,
    now: Timestamp,
    operation_id: String,
    bulk_id: String,
}

impl<'a> Row<'a> {
    /// The row of an operation as it is at `now`.
    pub fn of(operation: &'a Operation, now: Timestamp) -> Self {
        Self {
            operation,
            now,
            operation_id: operation.operation_id.to_string(),
            bulk_id: operation.bulk_id.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

impl Record for Row<'_> {
    fn field(&self, id: FieldId) -> FieldValue<'_> {
        let Some(field) = OperationField::from_id(id) else { return FieldValue::Absent };
        let operation = self.operation;
        let text = |text| if str::is_empty(text) { FieldValue::Absent } else { FieldValue::Text(text) };
        let time = |time: Option<_>| time.map_or(FieldValue::Absent, FieldValue::Time);
        match field {
            OperationField::OperationId => FieldValue::Text(&self.operation_id),
            OperationField::TenantId => FieldValue::Text(operation.tenant_id.as_str()),
            OperationField::Verb => FieldValue::Text(operation.verb.as_str()),
            OperationField::State => FieldValue::Text(operation.state.as_str()),
            OperationField::Open => FieldValue::Boolean(operation.state.is_open()),
            OperationField::Stuck => FieldValue::Boolean(operation.is_stuck(self.now)),
            OperationField::Adopted => FieldValue::Boolean(operation.went_beyond()),
            OperationField::Actor => text(&operation.actor),
            OperationField::Reason => text(&operation.reason),
            OperationField::BulkId => text(&self.bulk_id),
            OperationField::CreateTime => FieldValue::Time(operation.create_time),
            OperationField::UpdateTime => FieldValue::Time(operation.update_time),
            OperationField::FinishTime => time(operation.finish_time),
            OperationField::ScheduleTime => time(operation.schedule_time),
            OperationField::Target | OperationField::FailingTarget => FieldValue::Absent,
        }
    }

    fn entry(&self, _: FieldId, _: &str) -> Option<&str> {
        None
    }

    fn has_any(&self, id: FieldId) -> bool {
        self.any_item(id, &mut |_| true)
    }

    fn any_item(&self, id: FieldId, test: &mut dyn FnMut(&str) -> bool) -> bool {
        let failing = match OperationField::from_id(id) {
            Some(OperationField::Target) => false,
            Some(OperationField::FailingTarget) => true,
            // No list: whether it has a value says nothing of the targets.
            _ => return false,
        };
        self.operation
            .steps
            .iter()
            .filter(|step| {
                let fails = !step.last_error.is_empty() || step.state == TargetState::NeedsOperator;
                !failing || (self.operation.state.is_open() && !step.state.is_done() && fails)
            })
            .any(|step| test(step.target.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::filter::Filter;
    use crate::domain::ids::{OperationId, TargetName, TenantId, TierId};
    use crate::domain::lifecycle::{Status, Verb};
    use crate::domain::operation::{Details, Request, State};
    use crate::domain::tenant::{Profile, Tenant};

    /// A suspension of nobody's, for no reason, that is open at one target.
    fn bare() -> Operation {
        let profile = Profile::minimal("Finance", TierId::parse("gold").unwrap());
        let (id, now) = (TenantId::parse("finance").unwrap(), Timestamp::UNIX_EPOCH);
        let mut tenant = Tenant::provisioning(id, uuid::Uuid::from_u128(7), profile, "ada".into(), now);
        tenant.status = Status::Active;
        let request = Request {
            operation_id: OperationId::from_uuid(uuid::Uuid::from_u128((7 << 76) | (2 << 62))),
            verb: Verb::Suspend,
            reason: String::new(),
            actor: String::new(),
            details: Details::default(),
            bulk_id: None,
        };
        Operation::start(&tenant, request, &[TargetName::parse("cache").unwrap()], 2, now).unwrap()
    }

    /// The fields of which a filter that asks for any value says that they are there.
    fn there(operation: &Operation) -> Vec<&'static str> {
        let row = Row::of(operation, Timestamp::UNIX_EPOCH);
        let fields = SCHEMA.fields.iter().filter(|field| field.field_type != FieldType::Boolean);
        let fields = fields.map(|field| field.name).filter(|name| {
            let matches = |filter: String| Filter::parse(&filter, &SCHEMA).unwrap().matches(&row);
            let is_there = matches(format!("{name}:*"));
            assert_eq!(matches(format!("NOT {name}:*")), !is_there, "{name}");
            is_there
        });
        fields.collect()
    }

    #[test]
    fn any_value_of_a_field_is_asked_of_that_field_whatever_targets_there_are() {
        let always = ["operation_id", "tenant_id", "verb", "state", "create_time", "update_time"];
        let named = |more: &[&'static str]| -> Vec<&str> {
            let wanted = |name: &&str| always.contains(name) || more.contains(name);
            SCHEMA.fields.iter().map(|field| field.name).filter(wanted).collect()
        };
        let mut operation = bare();
        assert_eq!(there(&operation), named(&["target"]));
        operation.steps[0].last_error = "it is down".to_owned();
        assert_eq!(there(&operation), named(&["target", "failing_target"]));
        let now = Timestamp::UNIX_EPOCH;
        operation.steps.clear();
        assert_eq!(there(&operation), named(&[]));
        operation.reason = "unpaid".into();
        operation.actor = "ada".into();
        operation.bulk_id = Some(operation.operation_id);
        (operation.schedule_time, operation.finish_time) = (Some(now), Some(now));
        let all = ["reason", "actor", "bulk_id", "schedule_time", "finish_time"];
        assert_eq!(there(&operation), named(&all));
    }

    #[test]
    fn the_enum_names_are_those_of_the_types() {
        assert!(matches!(STATE, FieldType::Enum(names) if names == State::ALL.map(State::as_str)));
        let FieldType::Enum(names) = VERB else { panic!("verbs have names") };
        assert!(Verb::ALL.iter().all(|verb| names.contains(&verb.as_str())));
    }
}
