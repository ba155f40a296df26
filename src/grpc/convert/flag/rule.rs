//! Targeting rules and conditions.

use serde_json::Value as Json;

use super::super::{Faults, value};
use super::{choice, decode_list};
use crate::domain::flag::validate::{self, LOGIC_DEPTH_MAX, LOGIC_MAX};
use crate::domain::flag::{Body, TargetingRule};
use crate::domain::ids::FlagKey;
use crate::domain::json_fault;
use crate::domain::rule::{Condition, Operator};
use crate::proto::v1;

pub(super) fn encode(rule: &TargetingRule) -> v1::TargetingRule {
    let message = v1::TargetingRule {
        id: rule.id.clone(),
        description: rule.description.clone(),
        ..v1::TargetingRule::default()
    };
    match &rule.body {
        Body::Logic(source) => v1::TargetingRule { logic: source.to_string(), ..message },
        Body::Match { conditions, serve } => {
            let (variant, rollout) = choice::encode_choice(serve);
            let conditions = conditions.iter().map(encode_condition).collect();
            v1::TargetingRule { conditions, variant, rollout, ..message }
        }
    }
}

pub(super) fn decode(
    message: v1::TargetingRule,
    field: &str,
    flag: &FlagKey,
    faults: &mut Faults,
) -> TargetingRule {
    let v1::TargetingRule { id, description, logic, conditions, variant, rollout } = message;
    let says_what_is_given = !variant.is_empty() || rollout.is_some();
    let has_conditions = !conditions.is_empty();
    let conditions = decode_conditions(&format!("{field}.conditions"), conditions, faults);
    let serve = choice::decode_choice(&variant, rollout, &format!("{field}."), flag, faults);
    let body = if logic.is_empty() {
        if !says_what_is_given {
            faults.add(field, "must have logic, a variant or a rollout");
        }
        serve.map(|serve| Body::Match { conditions, serve })
    } else {
        if has_conditions || says_what_is_given {
            faults.add(field, "must have either logic or conditions with what is given, not both");
        }
        decode_logic(&logic, &format!("{field}.logic"), faults).map(Body::Logic)
    };
    let rule = TargetingRule { id, description, body: body.unwrap_or(Body::Logic(Json::Null)) };
    faults.extend(validate::rule_texts(&rule, field));
    rule
}

/// Names rules that have no id by their place.
pub(super) fn name(rules: &mut [TargetingRule]) {
    for (place, rule) in rules.iter_mut().enumerate() {
        if rule.id.is_empty() {
            rule.id = format!("rule-{}", place + 1);
        }
    }
}

/// Reads a rule of the rule language from JSON text.
pub(super) fn decode_logic(text: &str, field: &str, faults: &mut Faults) -> Option<Json> {
    if text.len() > LOGIC_MAX {
        faults.add(field, format!("must have at most {LOGIC_MAX} bytes"));
        return None;
    }
    serde_json::from_str(text)
        .map_err(|error| {
            faults.add(
                field,
                // How deep it is read is more than a rule may be.
                if json_fault::is_too_deep(&error) {
                    format!(
                        "must nest at most {LOGIC_DEPTH_MAX} deep; it goes much deeper at line {}, column {}",
                        error.line(),
                        error.column()
                    )
                } else {
                    format!("must be JSON; {}", json_fault::cause(&error))
                },
            );
        })
        .ok()
}

pub(super) fn decode_conditions(
    field: &str,
    messages: Vec<v1::Condition>,
    faults: &mut Faults,
) -> Vec<Condition> {
    let conditions = decode_list(field, messages, faults, decode_condition);
    let mut found = Vec::new();
    validate::conditions(&conditions, field, &mut found);
    faults.extend(found);
    conditions
}

fn decode_condition(message: v1::Condition, field: &str, faults: &mut Faults) -> Option<Condition> {
    let operator = operator_from(message.operator);
    if operator.is_none() {
        let why = match message.operator {
            0 => "must be set".to_owned(),
            number => format!("{number} is not a number of ConditionOperator"),
        };
        faults.add(format!("{field}.operator"), why);
    }
    let values = decode_list(&format!("{field}.values"), message.values, faults, |value, field, faults| {
        value::decode(value).map_err(|why| faults.add(field, why)).ok()
    });
    Some(Condition { attribute: message.attribute, operator: operator?, values })
}

pub(super) fn encode_condition(condition: &Condition) -> v1::Condition {
    v1::Condition {
        attribute: condition.attribute.clone(),
        operator: operator_to(condition.operator).into(),
        values: condition.values.iter().cloned().map(value::encode).collect(),
    }
}

macro_rules! operators {
    ($($name:ident)*) => {
        const fn operator_to(operator: Operator) -> v1::ConditionOperator {
            match operator {
                $(Operator::$name => v1::ConditionOperator::$name,)*
            }
        }

        fn operator_from(number: i32) -> Option<Operator> {
            match v1::ConditionOperator::try_from(number).ok()? {
                v1::ConditionOperator::Unspecified => None,
                $(v1::ConditionOperator::$name => Some(Operator::$name),)*
            }
        }
    };
}

operators! {
    In NotIn LessThan AtMost GreaterThan AtLeast StartsWith EndsWith Contains Matches VersionEqual VersionLessThan
    VersionAtMost VersionGreaterThan VersionAtLeast VersionSameMajor VersionSameMinor Present Absent InSegment
    NotInSegment
}
