use std::sync::Arc;

use serde_json::json;

use super::super::{FlagType, Prerequisite, Settings, TargetingRule, TenantFacts};
use super::*;
use crate::domain::flag::Choice;
use crate::domain::ids::{Revision, TierId, VariantName};
use crate::domain::lifecycle::Access;

fn key(text: &str) -> FlagKey {
    FlagKey::parse(text).unwrap()
}

fn variant(text: &str) -> VariantName {
    VariantName::parse(text).unwrap()
}

fn flag(name: &str, default: &str, change: impl FnOnce(&mut Settings)) -> Arc<Flag> {
    let mut settings = Settings::new(key(name), FlagType::Boolean);
    settings.fill_boolean_defaults();
    settings.default_variant = Some(variant(default));
    change(&mut settings);
    Arc::new(settings.into_flag(Revision(1), Timestamp::UNIX_EPOCH))
}

/// A switch that is thrown and needs `cause`, and what it guards.
fn emergency() -> CompiledFlags {
    let switch = flag("stop", "on", |stop| {
        stop.kind = Kind::KillSwitch;
        stop.prerequisites = vec![Prerequisite { flag_key: key("cause"), variants: [variant("on")].into() }];
    });
    let guarded = flag("guarded", "on", |it| it.kill_switch = Some(key("stop")));
    [flag("cause", "on", |_| {}), switch, guarded]
        .into_iter()
        .fold(CompiledFlags::new(), CompiledFlags::with_flag)
}

fn ending(change: Arc<Flag>) -> Option<Ending> {
    let before = emergency();
    let changed = BTreeSet::from([change.key().clone()]);
    let after = before.clone().with_flag(change);
    let (id, tier) = (TenantId::parse("finance").unwrap(), TierId::parse("gold").unwrap());
    let facts = TenantFacts { tenant_id: &id, tier: &tier, access: Access::Full };
    let context = Context::new(json!({"tenantId": "finance"}).as_object().unwrap().clone()).unwrap();
    let subject = Subject { facts, context };
    let reach = Reach::of(&before, &after, &changed);
    reach.ending(|flag| flag.settings.kind == Kind::KillSwitch, [subject].into_iter(), Timestamp::UNIX_EPOCH)
}

fn rule(attribute: &str, value: &str) -> TargetingRule {
    let condition = json!({"attribute": attribute, "operator": "IN", "values": [value]});
    let conditions = vec![serde_json::from_value(condition).unwrap()];
    let body = Body::Match { conditions, serve: Choice::Variant(variant("off")) };
    TargetingRule { id: "r".to_owned(), description: String::new(), body }
}

#[test]
fn what_a_thrown_switch_needs_cannot_be_turned_off_for_anybody() {
    let whom = |change: Arc<Flag>| ending(change).map(|ending| ending.whom);
    assert_eq!(whom(flag("cause", "on", |cause| cause.owner = "core".to_owned())), None);
    assert_eq!(whom(flag("cause", "off", |_| {})), Some(Whom::NoTenant(Timestamp::UNIX_EPOCH)));
    let ruled = |attribute: &str, value: &str| {
        whom(flag("cause", "on", |cause| cause.rules = vec![rule(attribute, value)]))
    };
    assert_eq!(ruled("tenantId", "legal"), None, "nobody of that name is there");
    let finance = TenantId::parse("finance").unwrap();
    assert_eq!(ruled("tenantId", "finance"), Some(Whom::Tenant(finance, Timestamp::UNIX_EPOCH)));
    assert_eq!(ruled("email", "a"), Some(Whom::Unknown), "it is the callers who say that");
    let end = Timestamp::from_second(60).unwrap();
    let later = flag("cause", "on", |cause| {
        cause.schedule = vec![super::super::Window { start_time: None, end_time: Some(end) }];
    });
    assert_eq!(whom(later), Some(Whom::NoTenant(end)));
}

#[test]
fn what_is_turned_off_goes_on_giving_the_same_and_what_is_not_reached_is_free() {
    let guarded = |change: &dyn Fn(&mut Settings)| {
        ending(flag("guarded", "on", |it| {
            it.kill_switch = Some(key("stop"));
            change(it);
        }))
    };
    assert_eq!(guarded(&|it| it.default_variant = Some(variant("off"))), None);
    let found = guarded(&|it| it.off_variant = Some(variant("on"))).unwrap();
    assert_eq!((found.switch, found.flag), (key("stop"), key("guarded")));
    assert_eq!(ending(flag("other", "off", |_| {})), None);
}

/// A file that changed a rule of a guarded flag was refused as if it ended the emergency, and the way out that was named did.
#[test]
fn what_callers_say_of_a_guarded_flag_ends_no_emergency_while_its_switch_is_as_it_was() {
    let guarded = |change: &dyn Fn(&mut Settings)| {
        ending(flag("guarded", "on", |it| {
            it.kill_switch = Some(key("stop"));
            change(it);
        }))
        .map(|ending| ending.whom)
    };
    assert_eq!(guarded(&|it| it.rules = vec![rule("email", "a")]), None);
    let freed = guarded(&|it| {
        it.kill_switch = None;
        it.rules = vec![rule("email", "a")];
    });
    assert!(freed.is_some());
}
