//! What a tenant gets that is not active.

use super::*;

#[test]
fn a_tenant_that_is_not_active_gets_the_safe_variant_or_else_the_default() {
    let mut tenant = Tenant::new("marketing", "silver");
    for access in [Access::None, Access::ReadOnly] {
        tenant.2 = access;
        assert_eq!(
            answer(&seed(), &tenant, "advanced_analytics"),
            (Some(false), Reason::Default, Layer::SafeDefault),
            "its override is not asked"
        );
        let safe = with("plain", |flag| flag.safe_variant = Some(variant("on")));
        assert_eq!(
            answer(&seed().with_flag(Arc::new(safe)), &tenant, "plain"),
            (Some(true), Reason::TargetingMatch, Layer::SafeDefault)
        );
    }
}

/// What was off for it by what another flag is, by its override or by its tier was on while it was suspended.
#[test]
fn a_suspension_turns_nothing_on() {
    let on = |key: &str, change: &dyn Fn(&mut Settings)| {
        Arc::new(with(key, |flag| {
            flag.default_variant = Some(variant("on"));
            change(flag);
        }))
    };
    let needs_plain = |flag: &mut Settings| {
        flag.prerequisites = vec![Prerequisite { flag_key: key("plain"), variants: [variant("on")].into() }];
    };
    let in_group = |priority| {
        move |flag: &mut Settings| {
            flag.conflict_groups = [GroupName::parse("g").unwrap()].into();
            flag.priority = priority;
        }
    };
    let safe = |flag: &mut Settings| flag.safe_variant = Some(variant("on"));
    let flags = [
        on("needs", &needs_plain),
        on("first", &in_group(2)),
        on("second", &in_group(1)),
        on("own", &|_| {}),
        on("of-tier", &|_| {}),
        on("own-on", &|_| {}),
        on("named", &safe),
        on("ended", &|_| {}),
    ];
    let flags = flags.into_iter().fold(seed(), CompiledFlags::with_flag);
    let flags = [("own", "off"), ("own-on", "on"), ("named", "off")]
        .into_iter()
        .fold(flags, |flags, (flag, to)| flags.with_override(own(flag, "marketing", to, None)));
    let flags = flags.with_override(own("ended", "marketing", "off", Some(NOW)));
    let flags = flags.with_tier_default(tier_default("of-tier", "silver", "off"));
    let flags = flags.with_tier_default(tier_default("own-on", "silver", "off"));
    let mut tenant = Tenant::new("marketing", "silver");
    tenant.2 = Access::None;
    let seen = |flag: &str| {
        let (value, _, layer) = answer(&flags, &tenant, flag);
        (value.unwrap(), layer)
    };
    assert_eq!(seen("needs"), (false, Layer::Prerequisite));
    assert_eq!(seen("first"), (true, Layer::SafeDefault));
    assert_eq!(seen("second"), (false, Layer::Conflict));
    assert_eq!(seen("own"), (false, Layer::SafeDefault));
    assert_eq!(seen("of-tier"), (false, Layer::SafeDefault));
    assert_eq!(seen("own-on"), (true, Layer::SafeDefault), "its own is not off, whatever its tier has");
    assert_eq!(seen("named"), (true, Layer::SafeDefault), "a safe variant says itself what is safe");
    assert_eq!(seen("ended"), (true, Layer::SafeDefault));
    let detail = |flag: &str| flags.explain(&tenant.at(NOW), flag)[6].detail.clone();
    assert_eq!(detail("own"), "Tenant marketing is not active; what it, or its tier, has off stays off.");
}

/// It had more than an active one: its safe default stood above the switch and the schedule.
#[test]
fn what_is_off_for_everybody_is_off_for_a_tenant_that_is_not_active() {
    let mut tenant = Tenant::new("marketing", "silver");
    tenant.2 = Access::ReadOnly;
    let on = |key: &str| with(key, |flag| flag.default_variant = Some(variant("on")));
    let killed = with("plain", |flag| {
        (flag.kill_switch, flag.default_variant) = (Some(key("stop")), Some(variant("on")));
    });
    let flags = seed().with_flag(Arc::new(on("stop"))).with_flag(Arc::new(killed));
    assert_eq!(answer(&flags, &tenant, "plain"), (Some(false), Reason::Default, Layer::KillSwitch));
    let later = Window { start_time: Some("2100-01-01T00:00:00Z".parse().unwrap()), end_time: None };
    let closed = with("plain", |flag| {
        (flag.schedule, flag.default_variant) = (vec![later], Some(variant("on")));
    });
    let flags = seed().with_flag(Arc::new(closed));
    assert_eq!(answer(&flags, &tenant, "plain"), (Some(false), Reason::Default, Layer::Schedule));
}
