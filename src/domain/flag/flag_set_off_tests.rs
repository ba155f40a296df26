//! What is off is off in process, too.

use super::*;

/// A provider that fails on an operator gave the code's own default, where the registry gives off whatever the rule says.
#[test]
fn a_flag_that_is_off_for_a_tenant_that_is_not_active_is_handed_out_without_its_rule() {
    let mut flag = settings("warny");
    flag.rules = vec![rule(json!({"if": [{"==": [{"lower": [{"var": "email"}]}, "a@b"]}, "on", null]}))];
    let flags = build(vec![flag], vec![]);
    assert!(seen_with(&flags, "warny", Access::Full).1.is_some());
    assert_eq!(seen_with(&flags, "warny", Access::ReadOnly), ("off".to_owned(), None, false));
}

/// Providers came to the default where the switch or what is needed gave nothing: both branches of the rule were null.
#[test]
fn a_guard_that_gives_nothing_is_not_handed_out_with_what_a_later_layer_gives() {
    let mut switch = settings("stop");
    switch.kind = Kind::KillSwitch;
    switch.rules = vec![rule(json!({"if": [vip(), "on", "off"]}))];
    let mut theme = Settings::new(FlagKey::parse("theme").unwrap(), FlagType::String);
    theme.variants = [("a", "dark"), ("b", "light")]
        .map(|(name, value)| (variant(name), Value::String(value.into())))
        .into();
    theme.kill_switch = Some(switch.key.clone());
    let own = TenantOverride {
        tenant: TenantId::parse("finance").unwrap(),
        flag: theme.key.clone(),
        choice: Choice::Variant(variant("b")),
        reason: String::new(),
        expire_time: None,
        revision: Revision(1),
        update_time: Timestamp::UNIX_EPOCH,
    };
    let flags = build(vec![switch, theme], vec![own]);
    let (default, targeting) = seen(&flags, "theme");
    assert_eq!(default, "", "{targeting:?}");
    for (plan, expected) in [("vip", ""), ("basic", "b")] {
        let attributes = json!({"plan": plan, "tenantId": "finance", "tier": "gold"});
        let context = Context::new(attributes.as_object().unwrap().clone()).unwrap();
        let (tenant_id, tier) = (TenantId::parse("finance").unwrap(), TierId::parse("gold").unwrap());
        let tenant = Some(TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::Full });
        let query = Query { tenant, context: &context, now: Timestamp::UNIX_EPOCH };
        let registry = flags.evaluate(&query, "theme").variant.map(ToString::to_string).unwrap_or_default();
        assert_eq!(registry, expected);
        assert_eq!(provided("theme", (&default, targeting.as_ref()), &query), expected);
    }
}

/// A switch that another flag of its group excludes for an active tenant, and not for one that is not, hid what is below it.
#[test]
fn a_switch_in_a_group_excludes_for_a_tenant_that_is_not_active_what_it_excludes_in_the_registry() {
    let in_group = |key: &str, priority: i32, change: &dyn Fn(&mut Settings)| {
        let mut flag = settings(key);
        (flag.conflict_groups, flag.priority) = ([group("g")].into(), priority);
        change(&mut flag);
        flag
    };
    let on = |name: &'static str| rule(json!({"if": [{"==": [{"var": name}, "x"]}, "on", "on"]}));
    let flags = vec![
        in_group("a", 3, &|flag| flag.rules = vec![on("staff")]),
        in_group("b", 2, &|flag| (flag.kind, flag.rules) = (Kind::KillSwitch, vec![on("plan")])),
        in_group("c", 1, &|flag| flag.default_variant = Some(variant("on"))),
    ];
    let flags = build(flags, vec![]);
    let context = Context::new(json!({"tenantId": "finance"}).as_object().unwrap().clone()).unwrap();
    let (tenant_id, tier) = (TenantId::parse("finance").unwrap(), TierId::parse("gold").unwrap());
    let tenant = Some(TenantFacts { tenant_id: &tenant_id, tier: &tier, access: Access::ReadOnly });
    let query = Query { tenant, context: &context, now: Timestamp::UNIX_EPOCH };
    assert_eq!(flags.evaluate(&query, "c").variant.unwrap().as_str(), "on");
    let (default, targeting, _) = seen_with(&flags, "c", Access::ReadOnly);
    assert_eq!(provided("c", (&default, targeting.as_ref()), &query), "on", "{targeting:?}");
}
