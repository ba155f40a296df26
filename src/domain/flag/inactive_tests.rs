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
            "its override turns nothing on"
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
    let detail = |flag: &str| flags.explain(&tenant.at(NOW), Effort::Full, flag).unwrap()[6].detail.clone();
    assert_eq!(
        detail("own"),
        "Tenant marketing is not active; what would be off for it if it were stays off."
    );
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

/// Who had it off by a share that one variant has as a whole was let have it by a suspension.
#[test]
fn a_whole_share_is_off_for_a_tenant_that_is_not_active_as_a_variant_is() {
    let share = |on: u32, bucket_by: &str| {
        let weight = |name: &str, weight| Weight { variant: variant(name), weight };
        let weights = vec![weight("on", on), weight("off", 100 - on)];
        let rollout = Rollout { seed: "s".to_owned(), weights, steps: Vec::new() };
        Split { rollout, bucket_by: bucket_by.to_owned() }
    };
    let choice = |on, by: &str| Choice::Rollout(share(on, by));
    let flag = Arc::new(with("plain", |flag| flag.default_variant = Some(variant("on"))));
    let flags = seed().with_flag(flag);
    let mut tenant = Tenant::new("hr", "gold");
    tenant.2 = Access::None;
    for (on, by, expected) in
        [(0, "tenantId", false), (0, "email", false), (50, "email", true), (100, "email", true)]
    {
        let mut mine = (*own("plain", "hr", "off", None)).clone();
        mine.choice = choice(on, by);
        let of_tenant = flags.clone().with_override(Arc::new(mine));
        let mut tiers = (*tier_default("plain", "gold", "off")).clone();
        tiers.choice = choice(on, by);
        let of_tier = flags.clone().with_tier_default(Arc::new(tiers));
        let of_all = Arc::new(with("plain", |flag| {
            flag.default_variant = Some(variant("on"));
            flag.default_rollout = Some(share(on, by));
        }));
        for flags in [of_tenant, of_tier, seed().with_flag(of_all)] {
            let seen = answer(&flags, &tenant, "plain");
            assert_eq!((seen.0, seen.2), (Some(expected), Layer::SafeDefault), "{on} by {by}");
        }
    }
}

/// A rule that had it off for the tenant was forgotten: the suspension turned it on.
#[test]
fn what_a_rule_or_a_share_has_off_for_a_caller_stays_off_for_it_while_its_tenant_is_not_active() {
    let logic = |source: serde_json::Value| TargetingRule {
        id: "r".to_owned(),
        description: String::new(),
        body: Body::Logic(source),
    };
    let ruled = |key: &str, source: serde_json::Value| {
        Arc::new(with(key, |flag| {
            flag.default_variant = Some(variant("on"));
            flag.rules = vec![logic(source)];
        }))
    };
    let guests = json!({"if": [{"==": [{"var": "role"}, "guest"]}, "off"]});
    let flags = [
        ruled("of-tenant", json!({"if": [{"in": [{"var": "tenantId"}, ["hr"]]}, "off"]})),
        ruled("of-nobody", json!("off")),
        ruled("of-guests", guests),
        ruled("broken", json!({"if": [true, "gone"]})),
    ];
    let flags = flags.into_iter().fold(seed(), CompiledFlags::with_flag);
    let mut tenant = Tenant::new("hr", "gold");
    for access in [Access::None, Access::ReadOnly] {
        tenant.2 = access;
        let seen = |key: &str, role: &str| {
            let attributes = json!({"tenantId": "hr", "role": role});
            let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
            let found = flags.evaluate(&Query { context: &context, ..tenant.at(NOW) }, key);
            assert_eq!(found.layer, Layer::SafeDefault);
            found.value.and_then(Value::as_bool)
        };
        for (key, role, expected) in [
            ("of-tenant", "owner", false),
            ("of-nobody", "owner", false),
            ("of-guests", "guest", false),
            ("of-guests", "owner", true),
            ("broken", "owner", false),
        ] {
            assert_eq!(seen(key, role), Some(expected), "{key} {role}");
        }
    }
}

/// 5 and 5.0 went to other shares, so that OFREP's clients saw another variant than all others.
#[test]
fn a_number_has_one_share_however_it_is_written() {
    let weights = ["on", "off"].map(|name| Weight { variant: variant(name), weight: 1 }).to_vec();
    let split = Split {
        rollout: Rollout { seed: "s".to_owned(), weights, steps: Vec::new() },
        bucket_by: "account".to_owned(),
    };
    let flags = seed().with_flag(Arc::new(with("plain", |flag| flag.default_rollout = Some(split))));
    let given = |account: serde_json::Value| {
        let context = Context::new(json!({ "account": account }).as_object().unwrap().clone()).unwrap();
        flags.evaluate(&Query { tenant: None, context: &context, now: NOW }, "plain").variant.cloned()
    };
    for number in 1..100 {
        assert_eq!(given(json!(number)), given(json!(f64::from(number))), "{number}");
        assert_eq!(given(json!(number)), given(json!(number.to_string())), "{number}");
    }
}
