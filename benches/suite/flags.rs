//! Evaluation in process: what one tenant sees of 1, 50 and 500 flags, without wire and server.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tenantry::domain::{
    flag::{CompiledFlags, FlagState, FlagType, NewFlag, TenantFacts, TenantOverride, TierDefault},
    ids::{FlagKey, Revision, TenantId, TierId, VariantName},
    lifecycle::Access,
};

const SLICES: usize = 9;
const SLICE: Duration = Duration::from_millis(150);

/// Runs it.
pub(crate) fn run() {
    let now = Timestamp::now();
    println!("{:>6} {:>14} {:>14} {:>12}", "flags", "all, ns", "(min-max)", "ns a flag");
    for count in [1, 50, 500] {
        let flags = compiled(count, now);
        let (tenant_id, tier) = (TenantId::parse("t7").unwrap(), TierId::parse("gold").unwrap());
        let facts = TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::Full };
        let mut rates: Vec<f64> = (0..SLICES).map(|_| slice(&flags, &facts, now)).collect();
        rates.sort_unstable_by(f64::total_cmp);
        let middle = rates[SLICES / 2];
        let each = middle / f64::from(u32::try_from(count).unwrap());
        let spread = format!("({:.0}-{:.0})", rates[0], rates[SLICES - 1]);
        println!("{count:>6} {middle:>14.0} {spread:>14} {each:>12.1}");
    }
}

/// Nanoseconds for all flags once.
fn slice(flags: &CompiledFlags, facts: &TenantFacts<'_>, now: Timestamp) -> f64 {
    let began = Instant::now();
    let mut turns = 0_u32;
    while began.elapsed() < SLICE {
        for _ in 0..32 {
            for evaluated in black_box(flags).evaluate_all(black_box(facts), now) {
                black_box(evaluated);
            }
        }
        turns += 32;
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(turns)
}

/// Half of them with a default for the tier, every tenth with overrides of 50 tenants.
fn compiled(count: usize, now: Timestamp) -> CompiledFlags {
    let (on, gold) = (VariantName::parse("on").unwrap(), TierId::parse("gold").unwrap());
    let (mut flags, mut defaults, mut overrides) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..count {
        let key = FlagKey::parse(&format!("feature-{number:03}")).unwrap();
        let mut flag = NewFlag {
            key: key.clone(),
            flag_type: FlagType::Boolean,
            description: String::new(),
            variants: BTreeMap::default(),
            default_variant: None,
            safe_variant: None,
            state: FlagState::Enabled,
            owner: String::new(),
            labels: BTreeMap::default(),
        };
        flag.fill_boolean_defaults();
        flags.push(Arc::new(flag.into_flag(Revision(1), now)));
        if number % 2 == 0 {
            let (tier, variant) = (gold.clone(), on.clone());
            defaults.push(Arc::new(TierDefault { flag: key.clone(), tier, variant, revision: Revision(1) }));
        }
        if number % 10 == 0 {
            overrides.extend((0..50).map(|tenant| {
                Arc::new(TenantOverride {
                    flag: key.clone(),
                    tenant: TenantId::parse(&format!("t{tenant}")).unwrap(),
                    variant: on.clone(),
                    reason: String::new(),
                    expire_time: None,
                    revision: Revision(1),
                    update_time: now,
                })
            }));
        }
    }
    CompiledFlags::build(flags, defaults, overrides)
}
