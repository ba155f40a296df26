//! The rule language by itself: what 500 rules cost for one context, by kind.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tenantry::domain::rule::{Context, HashVersion, Input, Rule, Segments};

/// Many and short, as for flags.
const SLICES: usize = 300;
const SLICE: Duration = Duration::from_millis(3);

/// A name, how many there are, and what the one with a number says.
type Kind = (&'static str, usize, fn(usize) -> Value);

/// Runs it.
pub(crate) fn run() {
    let context = json!({
        "targetingKey": "user-4711", "tenantId": "tenant-42", "tier": "gold", "region": "eu-west-1",
        "status": "ACTIVE", "email": "someone@example.com", "version": "1.2.3", "beta": true,
    });
    let context = Context::new(context.as_object().unwrap().clone()).unwrap();
    let kinds: [Kind; 4] = [
        ("constant", 250, constant),
        ("tier", 150, tier),
        ("list of 50", 50, list),
        ("rollout", 50, rollout),
    ];
    println!("{:>12} {:>6} {:>10} {:>16}", "rule", "count", "least, ns", "middle, ns");
    let mut all = Vec::new();
    for (name, count, make) in kinds {
        let rules: Vec<(String, Rule)> =
            (0..count).map(|number| (format!("{name}-{number:03}"), compile(&make(number)))).collect();
        print(name, &rules, &context);
        all.extend(rules);
    }
    print("all", &all, &context);
}

fn compile(source: &Value) -> Rule {
    Rule::compile(source, &Segments::new(), HashVersion::V2).unwrap()
}

fn constant(_: usize) -> Value {
    json!("on")
}

fn tier(number: usize) -> Value {
    let tier = ["gold", "silver", "bronze"][number % 3];
    json!({"if": [{"==": [{"var": "tier"}, tier]}, "on", "off"]})
}

fn list(number: usize) -> Value {
    let tenants: Vec<String> = (0..50).map(|tenant| format!("tenant-{}", 7 * number + tenant)).collect();
    json!({"if": [{"in": [{"var": "tenantId"}, tenants]}, "on", "off"]})
}

fn rollout(number: usize) -> Value {
    json!({"fractional": [["on", number], ["off", 100 - number]]})
}

fn print(name: &str, rules: &[(String, Rule)], context: &Context) {
    let mut times: Vec<f64> = (0..SLICES).map(|_| slice(rules, context)).collect();
    times.sort_unstable_by(f64::total_cmp);
    println!("{name:>12} {:>6} {:>10.0} {:>16.0}", rules.len(), times[0], times[SLICES / 2]);
}

/// Nanoseconds for all rules once.
fn slice(rules: &[(String, Rule)], context: &Context) -> f64 {
    let now = Timestamp::UNIX_EPOCH;
    let began = Instant::now();
    let mut turns = 0_u32;
    while began.elapsed() < SLICE {
        for _ in 0..4 {
            for (flag_key, rule) in black_box(rules) {
                black_box(rule.select(&Input { flag_key, now, context: black_box(context) }));
            }
        }
        turns += 4;
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(turns)
}
