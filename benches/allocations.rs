//! How often evaluation asks for memory: never, but once to walk over all flags. It fails where that is not so, with `cargo test` as well as with
//! `cargo bench --bench allocations`.
//!
//! A program of its own, because it counts what the whole process does.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

#[path = "suite/flags.rs"]
#[allow(dead_code)]
mod flags;

use std::alloc::System;
use std::hint::black_box;

use jiff::Timestamp;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tenantry::domain::flag::{Query, TenantFacts, Value};
use tenantry::domain::ids::{TenantId, TierId};
use tenantry::domain::lifecycle::Access;
use tenantry::domain::rule::Effort;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a walk over all flags asks for.
const WALK: usize = 1;

fn main() {
    let now = Timestamp::now();
    let flags = flags::mix(500, now);
    let (tenant_id, tier) = (TenantId::parse("t7").unwrap(), TierId::parse("gold").unwrap());
    let facts = TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::Full };
    let context = flags::context();
    let query = Query { tenant: Some(facts), context: &context, now };
    let region = Region::new(ALLOCATOR);
    drop(black_box(Box::new(now)));
    assert_eq!(region.change().allocations, 1, "the counter counts");
    let mut on = 0;
    let mut tell = |value: Option<&Value>| on += usize::from(value.and_then(Value::as_bool) == Some(true));
    let one_by_one = Region::new(ALLOCATOR);
    for key in flags.flags().map(|flag| flag.key()) {
        tell(black_box(&flags).evaluate(black_box(&query), key.as_str()).value);
    }
    // The walk over all flags remembers its way in a list of its own, whether there are 100 of them or 100,000.
    let one_by_one = one_by_one.change().allocations - WALK;
    let all = Region::new(ALLOCATOR);
    for _ in 0..100 {
        black_box(&flags)
            .evaluate_all(black_box(&query), Effort::Full, |_, evaluation| tell(evaluation.value))
            .unwrap();
    }
    let all = all.change().allocations;
    println!("500 evaluations one by one asked for memory {one_by_one} times (aim: 0)");
    println!("100 times all 500 flags asked for memory {all} times (aim: at most {WALK} a time)");
    assert!(on > 0, "some flags are on");
    assert_eq!(one_by_one, 0, "evaluation of a boolean allocates");
    assert!(all <= 100 * WALK, "evaluation of all flags allocates by the flag");
}
