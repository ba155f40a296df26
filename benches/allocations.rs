//! How often evaluation asks for memory: never. Run with `cargo bench --bench allocations`; it fails where that is not so.
//!
//! A program of its own, because counting costs every other bench something.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

#[path = "suite/flags.rs"]
#[allow(dead_code)]
mod flags;

use std::alloc::System;
use std::hint::black_box;

use jiff::Timestamp;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tenantry::domain::flag::{Query, TenantFacts};
use tenantry::domain::ids::{TenantId, TierId};
use tenantry::domain::lifecycle::Access;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let now = Timestamp::now();
    let flags = flags::mix(500, now);
    let (tenant_id, tier) = (TenantId::parse("t7").unwrap(), TierId::parse("gold").unwrap());
    let facts = TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::Full };
    let context = flags::context();
    let query = Query { tenant: Some(facts), context: &context, now };
    let region = Region::new(ALLOCATOR);
    let mut on = 0_usize;
    for _ in 0..100 {
        for (_, evaluation) in black_box(&flags).evaluate_all(black_box(&query)) {
            on +=
                usize::from(evaluation.value.and_then(tenantry::domain::flag::Value::as_bool) == Some(true));
        }
        for key in ["feature-00000", "feature-00005", "feature-00008", "feature-00009"] {
            on += usize::from(black_box(&flags).evaluate(black_box(&query), key).value.is_some());
        }
    }
    let asked = region.change().allocations;
    println!("50,400 evaluations, {on} of them on or known, asked for memory {asked} times");
    assert_eq!(asked, 0, "evaluation of booleans allocates");
}
