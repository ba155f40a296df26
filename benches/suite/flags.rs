//! Flags in process, without wire and server: evaluation of one, 50 and 500 flags of the mix that the house was to show,
//! and what a change costs among 10,000 flags and 100,000 overrides.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::json;
use tenantry::domain::{
    flag::{
        Body, Choice, CompiledFlags, Flag, FlagType, Query, Settings, Split, TargetingRule, TenantFacts,
        TenantOverride, TierDefault,
    },
    ids::{FlagKey, Revision, TenantId, TierId, VariantName},
    lifecycle::Access,
    rule::{Condition, Context, Effort, Operator, Rollout, Weight},
};

/// Many and short: on a shared machine some of them are left alone, and the least says what it takes.
const SLICES: usize = 300;
const SLICE: Duration = Duration::from_millis(3);

/// Runs it.
pub(crate) fn run() {
    let now = Timestamp::now();
    let (tenant_id, tier) = (TenantId::parse("t7").unwrap(), TierId::parse("gold").unwrap());
    let facts = TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::Full };
    let context = context();
    let query = Query { tenant: Some(facts), context: &context, now };
    println!("half static, 30 % rules by tier, 10 % lists of 50 tenants, 10 % rollouts");
    println!("{:>6} {:>10} {:>12} {:>12}", "flags", "least, ns", "middle, ns", "ns a flag");
    let mut of_all = 0.0;
    for count in [1, 50, 500] {
        let flags = mix(count, now);
        let evaluate = || {
            let all = black_box(&flags).evaluate_all(black_box(&query), Effort::Full, |key, evaluated| {
                black_box((key, evaluated));
            });
            all.unwrap();
        };
        let [least, middle] = nanoseconds(evaluate);
        let each = least / f64::from(u32::try_from(count).unwrap());
        println!("{count:>6} {least:>10.0} {middle:>12.0} {each:>12.1}");
        of_all = least;
    }
    let slowest = rebuild(now);
    println!("\nSummary: 500 flags in {:.1} µs (aim: 10)", of_all / 1e3);
    println!("Summary: a snapshot rebuilt after one change in {:.3} ms at most (aim: 50)", slowest / 1e6);
}

/// The context that rules see: a tenant's own attributes and some of a caller's.
pub(crate) fn context() -> Context {
    let attributes = json!({
        "targetingKey": "user-4711", "tenantId": "t7", "tier": "gold", "region": "eu-west-1", "status": "ACTIVE",
        "email": "someone@example.com", "app": {"version": "2.3.1"},
    });
    let serde_json::Value::Object(attributes) = attributes else { return Context::default() };
    Context::new(attributes).unwrap()
}

/// Nanoseconds of one call: least and middle of the slices.
fn nanoseconds(mut call: impl FnMut()) -> [f64; 2] {
    let mut rates: Vec<f64> = (0..SLICES)
        .map(|_| {
            let began = Instant::now();
            let mut turns = 0_u32;
            while began.elapsed() < SLICE {
                for _ in 0..4 {
                    call();
                }
                turns += 4;
            }
            began.elapsed().as_secs_f64() * 1e9 / f64::from(turns)
        })
        .collect();
    rates.sort_unstable_by(f64::total_cmp);
    [rates[0], rates[SLICES / 2]]
}

fn variant(name: &str) -> VariantName {
    VariantName::parse(name).unwrap()
}

fn key(number: usize) -> FlagKey {
    FlagKey::parse(&format!("feature-{number:05}")).unwrap()
}

fn flag(number: usize, now: Timestamp, change: impl FnOnce(&mut Settings)) -> Arc<Flag> {
    let mut settings = Settings::new(key(number), FlagType::Boolean);
    settings.fill_boolean_defaults();
    change(&mut settings);
    Arc::new(settings.into_flag(Revision(1), now))
}

fn rule(attribute: &str, values: Vec<serde_json::Value>) -> TargetingRule {
    let condition = Condition { attribute: attribute.to_owned(), operator: Operator::In, values };
    let body = Body::Match { conditions: vec![condition], serve: Choice::Variant(variant("on")) };
    TargetingRule { id: "rule-1".to_owned(), description: String::new(), body }
}

/// The mix that issue 4 asks for: of ten flags five are static, three have a rule by tier, one a list of 50 tenants,
/// one a rollout.
pub(crate) fn mix(count: usize, now: Timestamp) -> CompiledFlags {
    let flags = (0..count).map(|number| {
        flag(number, now, |settings| match number % 10 {
            5..=7 => {
                let tier = if number % 2 == 0 { "gold" } else { "platinum" };
                settings.rules = vec![rule("tier", vec![tier.into()])];
            }
            8 => {
                let tenants = (0..50).map(|tenant| format!("t{}", tenant * 3 + number).into());
                settings.rules = vec![rule("tenantId", tenants.collect())];
            }
            9 => {
                let weight = |name: &str, weight| Weight { variant: variant(name), weight };
                let weights = vec![weight("on", 30), weight("off", 70)];
                let rollout = Rollout { seed: settings.key.to_string(), weights, steps: Vec::new() };
                settings.default_rollout = Some(Split { rollout, bucket_by: "targetingKey".to_owned() });
            }
            _ => {}
        })
    });
    CompiledFlags::build(flags, [], [])
}

/// One change among 10,000 flags with 100,000 overrides, each applied to a snapshot that stays as it is. Nanoseconds of
/// the kind of change that takes longest: the middle of its slices.
fn rebuild(now: Timestamp) -> f64 {
    let overrides = (0..100_000).map(|number| own(number % 10_000, number / 10, "on", now));
    let defaults = (0..10_000).map(|number| {
        Arc::new(TierDefault {
            flag: key(number),
            tier: TierId::parse("gold").unwrap(),
            choice: Choice::Variant(variant("on")),
            revision: Revision(1),
        })
    });
    let began = Instant::now();
    let mut flags = mix(10_000, now);
    flags = defaults.fold(flags, CompiledFlags::with_tier_default);
    flags = overrides.fold(flags, CompiledFlags::with_override);
    println!(
        "10,000 flags, 100,000 overrides: all at once in {} ms; one change:",
        began.elapsed().as_millis()
    );
    let changes: [(&str, &dyn Fn() -> CompiledFlags); 4] = [
        ("an override", &|| flags.clone().with_override(own(4_711, 471, "off", now))),
        ("a flag", &|| flags.clone().with_flag(flag(4_711, now, |it| it.priority = 7))),
        ("a flag with a rule", &|| {
            flags.clone().with_flag(flag(4_712, now, |it| it.rules = vec![rule("tier", vec!["gold".into()])]))
        }),
        ("a flag taken out", &|| flags.clone().without_flag(key(4_711).as_str())),
    ];
    let mut slowest = 0.0_f64;
    for (what, change) in changes {
        let [least, middle] = nanoseconds(|| drop(black_box(change())));
        println!("  {what:<20} {:>8.1} µs (least {:.1})", middle / 1e3, least / 1e3);
        slowest = slowest.max(middle);
    }
    slowest
}

fn own(number: usize, tenant: usize, to: &str, now: Timestamp) -> Arc<TenantOverride> {
    Arc::new(TenantOverride {
        flag: key(number),
        tenant: TenantId::parse(&format!("t{tenant}")).unwrap(),
        choice: Choice::Variant(variant(to)),
        reason: String::new(),
        expire_time: None,
        revision: Revision(1),
        update_time: now,
    })
}
