//! The life of a flag: kinds, expiry, schedule, staleness, what is counted of it, whom a change affects.

use std::time::{Duration, SystemTime};

use tenantry::domain::ids::{FlagKey, TenantId};
use tenantry::proto::v1;

use super::{boolean, evaluate, with_flag};
use crate::support::{Replica, fields, metrics, reason};

fn seconds_from_now(seconds: i64) -> prost_types::Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    prost_types::Timestamp { seconds: i64::try_from(now).unwrap() + seconds, nanos: 0 }
}

const DAY: i64 = 24 * 60 * 60;

async fn create(replica: &mut Replica, flag: v1::Flag) -> v1::Flag {
    let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    replica.flags.create_flag(request).await.unwrap().into_inner()
}

/// Only a set may say that a flag has expired: a file can be older than the registry that it is applied to.
async fn apply(replica: &mut Replica, flag: v1::Flag) {
    let request = v1::ApplyFlagsRequest { flags: vec![flag], ..Default::default() };
    replica.flags.apply_flags(request).await.unwrap();
}

async fn sql(replica: &Replica, statement: &str) -> Vec<String> {
    let (client, connection) =
        tokio_postgres::connect(&replica.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query(statement, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_release_flag_expires_after_90_days_and_a_kill_switch_never() {
    let mut replica = with_flag().await;
    let made = create(&mut replica, boolean("export")).await;
    let (made_at, ends) = (made.create_time.unwrap().seconds, made.expire_time.unwrap().seconds);
    assert_eq!(ends - made_at, 90 * DAY);
    assert_eq!(made.kind(), v1::FlagKind::Release);
    for kind in [v1::FlagKind::KillSwitch, v1::FlagKind::Permission] {
        let flag = v1::Flag { kind: kind.into(), ..boolean(&format!("{kind:?}")) };
        assert_eq!(create(&mut replica, flag).await.expire_time, None);
    }
    replica.stop().await;
}

#[tokio::test]
async fn an_extension_is_an_event_of_its_own_with_its_reason() {
    let mut replica = with_flag().await;
    let flag = v1::Flag { expire_time: Some(seconds_from_now(200 * DAY)), ..boolean("search") };
    let request = v1::UpdateFlagRequest {
        flag: Some(flag),
        update_mask: Some(prost_types::FieldMask { paths: vec!["expire_time".into()] }),
        reason: "the pilot goes on".into(),
        ..Default::default()
    };
    replica.flags.update_flag(request).await.unwrap();
    let entries =
        sql(&replica, "SELECT convert_from(entry, 'UTF8') FROM log WHERE kind = 'flag_expiry_extended'")
            .await;
    assert_eq!(entries.len(), 1);
    assert!(entries[0].contains("the pilot goes on") && entries[0].contains("previous_expire_time"));
    replica.stop().await;
}

#[tokio::test]
async fn who_extended_a_flag_s_life_when_and_why_is_told_with_the_flag() {
    let mut replica = with_flag().await;
    let made = replica.flags.get_flag(v1::GetFlagRequest { flag_key: "search".into() }).await.unwrap();
    let first = made.into_inner().expire_time;
    let extend = |end: prost_types::Timestamp, reason: &str| v1::UpdateFlagRequest {
        flag: Some(v1::Flag { expire_time: Some(end), ..boolean("search") }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["expire_time".into()] }),
        reason: reason.into(),
        ..Default::default()
    };
    let (later, sooner, latest) =
        (seconds_from_now(200 * DAY), seconds_from_now(150 * DAY), seconds_from_now(300 * DAY));
    replica.flags.update_flag(extend(later, "the pilot goes on")).await.unwrap();
    replica.flags.update_flag(extend(sooner, "not so long")).await.unwrap();
    apply(&mut replica, v1::Flag { expire_time: Some(latest), ..boolean("search") }).await;

    // Another replica has them from the database.
    let setup = crate::support::Setup { no_targets: true, ..Default::default() };
    let mut other = Replica::on(&replica.database_url, &setup).await;
    let flag = other.flags.get_flag(v1::GetFlagRequest { flag_key: "search".into() }).await.unwrap();
    let found: Vec<_> = flag
        .into_inner()
        .extensions
        .into_iter()
        .map(|it| {
            assert!(!it.actor.is_empty() && it.extend_time.is_some(), "{it:?}");
            (it.previous_expire_time, it.expire_time, it.reason)
        })
        .collect();
    let expected =
        [(first, Some(later), "the pilot goes on".to_owned()), (Some(sooner), Some(latest), String::new())];
    assert_eq!(found, expected);
    let shown = super::command_line::said(&other, &["flag", "get", "search"]).await;
    assert!(shown.contains(": the pilot goes on") && shown.contains(" by "), "{shown}");
    let exported = super::command_line::said(&other, &["flag", "export", "--format", "tenantry"]).await;
    assert!(!exported.contains("extensions"), "{exported}");
    other.stop().await;
    replica.stop().await;
}

#[tokio::test]
async fn an_expired_flag_gives_its_expired_variant_or_else_goes_on() {
    let mut replica = with_flag().await;
    let over =
        v1::Flag { expire_time: Some(seconds_from_now(-5)), default_variant: "on".into(), ..boolean("over") };
    apply(&mut replica, over.clone()).await;
    assert_eq!(evaluate(&mut replica, "over").await.variant, "on");
    let gone = v1::Flag { flag_key: "gone".into(), expired_variant: "off".into(), ..over };
    apply(&mut replica, gone).await;
    let seen = evaluate(&mut replica, "gone").await;
    assert_eq!((seen.layer(), seen.variant.as_str()), (v1::FlagLayer::Expired, "off"));
    replica.stop().await;
}

#[tokio::test]
async fn outside_of_its_schedule_a_flag_is_off() {
    let mut replica = with_flag().await;
    let window = |from, to| v1::ScheduleWindow {
        start_time: Some(seconds_from_now(from)),
        end_time: Some(seconds_from_now(to)),
    };
    let now = v1::Flag { schedule: vec![window(-DAY, DAY)], default_variant: "on".into(), ..boolean("now") };
    create(&mut replica, now).await;
    assert_eq!(evaluate(&mut replica, "now").await.variant, "on");
    let later =
        v1::Flag { schedule: vec![window(DAY, 2 * DAY)], default_variant: "on".into(), ..boolean("later") };
    create(&mut replica, later).await;
    let seen = evaluate(&mut replica, "later").await;
    assert_eq!((seen.layer(), seen.variant.as_str()), (v1::FlagLayer::Schedule, "off"));
    let upside_down = v1::Flag { schedule: vec![window(DAY, -DAY)], ..boolean("never") };
    let request = v1::CreateFlagRequest { flag: Some(upside_down), ..Default::default() };
    assert_eq!(fields(&replica.flags.create_flag(request).await.unwrap_err()), ["flag.schedule[0]"]);
    replica.stop().await;
}

/// How many tenants they were was told, and of none of them what.
#[tokio::test]
async fn the_tenants_that_evaluated_a_stale_flag_last_are_named_with_how_often_and_when() {
    let mut replica = with_flag().await;
    apply(&mut replica, v1::Flag { expire_time: Some(seconds_from_now(-5)), ..boolean("over") }).await;
    let registry = replica.server.registry.clone();
    let key = FlagKey::parse("over").unwrap();
    let at = |second: i64| jiff::Timestamp::from_second(second).unwrap();
    for place in 0..25 {
        let tenant = TenantId::parse(&format!("tenant-{place:02}")).unwrap();
        replica.tenant(tenant.as_str()).await;
        for _ in 0..=place {
            registry.evaluations.count(&key, Some(&tenant), at(1_000 + place));
        }
    }
    registry.evaluations.count(&key, None, at(2_000));
    registry.evaluations.flush(&registry.database).await;
    let listed = replica.flags.list_stale_flags(v1::ListStaleFlagsRequest::default()).await.unwrap();
    let flag = listed.into_inner().flags.remove(0);
    assert_eq!((flag.tenants, flag.evaluations, flag.latest_tenants.len()), (25, 326, 20));
    let shown: Vec<_> = flag
        .latest_tenants
        .iter()
        .map(|of| (of.tenant_id.as_str(), of.evaluations, of.last_evaluated_time.unwrap().seconds))
        .collect();
    assert_eq!((shown[0], shown[19]), (("tenant-24", 25, 1_024), ("tenant-05", 6, 1_005)));
    let table = super::command_line::said(&replica, &["flag", "stale"]).await;
    assert!(table.contains("tenant-24 (25), tenant-23 (24), tenant-22 (23), 22 more"), "{table}");
    let json = super::command_line::said(&replica, &["flag", "stale", "-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["flags"][0]["latestTenants"][19]["tenantId"], "tenant-05");
    replica.stop().await;
}

#[tokio::test]
async fn stale_flags_are_listed_with_how_often_and_when_last_they_were_evaluated() {
    let mut replica = with_flag().await;
    let soon = v1::Flag {
        expire_time: Some(seconds_from_now(10 * DAY)),
        owner: "search-team".into(),
        ..boolean("soon")
    };
    let made = create(&mut replica, soon).await;
    assert!(made.warnings[0].contains("expires in"), "{:?}", made.warnings);
    apply(&mut replica, v1::Flag { expire_time: Some(seconds_from_now(-5)), ..boolean("over") }).await;
    for _ in 0..3 {
        evaluate(&mut replica, "over").await;
    }
    let all = v1::EvaluateFlagsRequest { tenant_id: "finance".into(), ..Default::default() };
    replica.flags.evaluate_flags(all).await.unwrap();
    replica.server.registry.evaluations.flush(&replica.server.registry.database).await;
    let request = v1::ListStaleFlagsRequest::default();
    let listed = replica.flags.list_stale_flags(request).await.unwrap().into_inner().flags;
    let shown: Vec<_> = listed
        .iter()
        .map(|flag| {
            let counts = (flag.evaluations, flag.bulk_evaluations, flag.tenants);
            (flag.flag_key.as_str(), flag.staleness().as_str_name(), counts)
        })
        .collect();
    assert_eq!(shown, [("over", "STALENESS_EXPIRED", (3, 1, 1)), ("soon", "STALENESS_EXPIRING", (0, 1, 0))]);
    assert!(listed.iter().all(|flag| flag.last_evaluated_time.is_some()));
    assert_eq!(listed[1].owner, "search-team");
    let filtered = v1::ListStaleFlagsRequest { filter: "owner = search-team".into(), ..Default::default() };
    assert_eq!(replica.flags.list_stale_flags(filtered).await.unwrap().into_inner().total_size, 1);
    replica.stop().await;
}

/// A flag was said to have had every bulk call that its tenants ever made as soon as one had come after it.
#[tokio::test]
async fn a_bulk_evaluation_counts_for_the_flags_that_were_there_and_for_no_later_one() {
    let mut replica = with_flag().await;
    replica.tenant("marketing").await;
    let mut counts = Vec::new();
    for (round, key) in ["first", "second", "third"].into_iter().enumerate() {
        let soon = v1::Flag { expire_time: Some(seconds_from_now(10 * DAY)), ..boolean(key) };
        create(&mut replica, soon).await;
        for tenant_id in ["finance", "marketing", "finance"].into_iter().take(3 - round) {
            let all = v1::EvaluateFlagsRequest { tenant_id: tenant_id.into(), ..Default::default() };
            replica.flags.evaluate_flags(all).await.unwrap();
        }
        if round == 1 {
            // What is counted in two writes adds up.
            replica.server.registry.evaluations.flush(&replica.server.registry.database).await;
        }
    }
    create(&mut replica, v1::Flag { expire_time: Some(seconds_from_now(10 * DAY)), ..boolean("unasked") })
        .await;
    replica.server.registry.evaluations.flush(&replica.server.registry.database).await;
    let listed = replica.flags.list_stale_flags(v1::ListStaleFlagsRequest::default()).await.unwrap();
    for flag in listed.into_inner().flags {
        let is_known = flag.last_evaluated_time.is_some();
        counts.push((flag.flag_key, flag.bulk_evaluations, is_known));
    }
    let expected = [("first", 6, true), ("second", 3, true), ("third", 1, true), ("unasked", 0, false)];
    assert_eq!(counts, expected.map(|(key, count, is_known)| (key.to_owned(), count, is_known)));
    replica.stop().await;
}

/// A row came with every flag that was made, and none ever went.
#[tokio::test]
async fn counts_of_bulk_evaluations_are_put_together_and_forgotten_after_400_days() {
    let mut replica = with_flag().await;
    let all = || v1::EvaluateFlagsRequest { tenant_id: "finance".into(), ..Default::default() };
    for key in ["first", "second"] {
        let soon = v1::Flag { expire_time: Some(seconds_from_now(10 * DAY)), ..boolean(key) };
        create(&mut replica, soon).await;
        replica.flags.evaluate_flags(all()).await.unwrap();
    }
    let gone = v1::DeleteFlagRequest { flag_key: "second".into(), ..Default::default() };
    replica.flags.delete_flag(gone).await.unwrap();
    let registry = replica.server.registry.clone();
    registry.evaluations.flush(&registry.database).await;
    let aged = "UPDATE flag_bulk_evaluation SET last_time = now() - interval '2 days';
        INSERT INTO flag_bulk_evaluation
        SELECT NULL, now() + n * interval '1 second', 1, now() - interval '3 days' FROM generate_series(1, 2500) n;
        INSERT INTO flag_bulk_evaluation
        SELECT 'nowhere', now() + n * interval '1 second', 1, now() - interval '3 days' FROM generate_series(1, 3) n;
        INSERT INTO flag_bulk_evaluation VALUES (NULL, now() + interval '1 day', 7, now() - interval '401 days')";
    crate::support::sql(&replica.database_url, aged).await;
    // What is counted now is left alone, whichever flag it is counted under.
    replica.flags.evaluate_flags(all()).await.unwrap();
    let late = "INSERT INTO flag_bulk_evaluation VALUES (NULL, now() + interval '2 days', 1, now())";
    crate::support::sql(&replica.database_url, late).await;
    registry.evaluations.tidy(&registry.database).await;
    let client = registry.database.pooled().await.unwrap();
    let rows = client
        .query("SELECT evaluations FROM flag_bulk_evaluation ORDER BY newest_flag_time", &[])
        .await
        .unwrap();
    let counts: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(counts, [2_502, 1]);
    registry.evaluations.flush(&registry.database).await;
    let listed = replica.flags.list_stale_flags(v1::ListStaleFlagsRequest::default()).await.unwrap();
    let counts: Vec<_> =
        listed.into_inner().flags.into_iter().map(|flag| (flag.flag_key, flag.bulk_evaluations)).collect();
    assert_eq!(counts, [("first".to_owned(), 2_504)]);
    replica.stop().await;
}

#[tokio::test]
async fn flags_are_listed_by_what_they_are_and_in_the_order_asked_for() {
    let mut replica = with_flag().await;
    for (key, days) in [("b", 30), ("a", 60)] {
        let flag = v1::Flag {
            expire_time: Some(seconds_from_now(days * DAY)),
            labels: [("team".to_owned(), "core".to_owned())].into(),
            ..boolean(key)
        };
        create(&mut replica, flag).await;
    }
    let list = |filter: &str, order_by: &str| v1::ListFlagsRequest {
        filter: filter.into(),
        order_by: order_by.into(),
        ..Default::default()
    };
    let keys = |response: v1::ListFlagsResponse| {
        response.flags.into_iter().map(|flag| flag.flag_key).collect::<Vec<_>>()
    };
    let by_expiry = replica.flags.list_flags(list("labels.team = core", "expire_time")).await.unwrap();
    assert_eq!(keys(by_expiry.into_inner()), ["b", "a"]);
    let wrong = replica.flags.list_flags(list("colour = red", "")).await.unwrap_err();
    assert_eq!(reason(&wrong), "INVALID_FILTER");
    let wrong = replica.flags.list_flags(list("", "labels")).await.unwrap_err();
    assert_eq!(reason(&wrong), "INVALID_ORDER");
    replica.stop().await;
}

#[tokio::test]
async fn a_change_that_is_only_tried_tells_whom_it_would_affect() {
    let mut replica = with_flag().await;
    replica.tenant("marketing").await;
    replica.flags.set_tenant_override(super::set_tenant("off")).await.unwrap();
    let dependent = v1::Flag {
        prerequisites: vec![v1::Prerequisite { flag_key: "search".into(), variants: vec!["on".into()] }],
        default_variant: "on".into(),
        ..boolean("export")
    };
    create(&mut replica, dependent).await;
    let request = v1::UpdateFlagRequest {
        flag: Some(v1::Flag { default_variant: "on".into(), ..boolean("search") }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["default_variant".into()] }),
        validate_only: true,
        ..Default::default()
    };
    let impact = replica.flags.update_flag(request).await.unwrap().into_inner().impact.unwrap();
    assert_eq!((impact.tenants_affected, impact.tenants_examined), (1, 2));
    assert_eq!(impact.dependents, ["export"]);
    let shifts: Vec<_> = impact
        .examples
        .iter()
        .map(|it| {
            (
                it.tenant_id.as_str(),
                it.flag_key.as_str(),
                it.variant_before.as_str(),
                it.variant_after.as_str(),
            )
        })
        .collect();
    assert_eq!(shifts, [("marketing", "export", "off", "on"), ("marketing", "search", "off", "on")]);
    assert_eq!(evaluate(&mut replica, "search").await.variant, "off", "nothing was changed");
    replica.stop().await;
}

#[tokio::test]
async fn more_than_50_flags_for_one_tenant_are_warned_of() {
    let mut replica = with_flag().await;
    let flags = (0..51).map(|number| boolean(&format!("f{number:02}"))).collect();
    let apply = v1::ApplyFlagsRequest { flags, ..Default::default() };
    replica.flags.apply_flags(apply).await.unwrap();
    let mut warnings = Vec::new();
    for number in 0..51 {
        let own =
            v1::SetTenantOverrideRequest { flag_key: format!("f{number:02}"), ..super::set_tenant("on") };
        warnings = replica.flags.set_tenant_override(own).await.unwrap().into_inner().warnings;
        assert_eq!(warnings.is_empty(), number < 50, "{number}: {warnings:?}");
    }
    assert!(warnings[0].contains("51"), "{warnings:?}");
    let all = v1::EvaluateFlagsRequest { tenant_id: "finance".into(), ..Default::default() };
    assert_eq!(replica.flags.evaluate_flags(all).await.unwrap().into_inner().warnings, warnings);
    assert_eq!(replica.server.registry.view.snapshot().unwrap().flags.crowded_tenants(), 1);
    tokio::time::timeout(Duration::from_secs(10), replica.stop()).await.unwrap();
}

#[tokio::test]
async fn an_end_that_has_passed_is_refused_on_its_field_and_one_that_was_there_may_stay() {
    let mut replica = with_flag().await;
    let past = v1::Flag { expire_time: Some(seconds_from_now(-5)), ..boolean("over") };
    let request = v1::CreateFlagRequest { flag: Some(past.clone()), ..Default::default() };
    assert_eq!(fields(&replica.flags.create_flag(request).await.unwrap_err()), ["flag.expire_time"]);
    let update = |flag: v1::Flag, paths: &[&str]| v1::UpdateFlagRequest {
        flag: Some(flag),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.into()).collect() }),
        ..Default::default()
    };
    let ended = v1::Flag { expire_time: Some(seconds_from_now(-9)), ..boolean("search") };
    let error = replica.flags.update_flag(update(ended, &["expire_time"])).await.unwrap_err();
    assert_eq!(fields(&error), ["flag.expire_time"]);
    let mut own = super::set_tenant("on");
    own.expire_time = Some(seconds_from_now(-5));
    assert_eq!(fields(&replica.flags.set_tenant_override(own).await.unwrap_err()), ["expire_time"]);

    apply(&mut replica, past.clone()).await;
    let owned = v1::Flag { owner: "core".into(), ..past.clone() };
    replica.flags.update_flag(update(owned.clone(), &["owner"])).await.unwrap();
    // Whoever sends back what was read says nothing new.
    replica.flags.update_flag(update(owned.clone(), &["owner", "expire_time"])).await.unwrap();
    let later = v1::Flag { expire_time: Some(seconds_from_now(DAY)), ..owned };
    replica.flags.update_flag(update(later, &["expire_time"])).await.unwrap();
    apply(&mut replica, past).await;
    replica.stop().await;
}

/// Whoever extended an override by its end alone deleted it, and was told that all was well.
#[tokio::test]
async fn an_end_without_a_value_does_not_remove_an_override() {
    let mut replica = with_flag().await;
    replica.flags.set_tenant_override(super::set_tenant("on")).await.unwrap();
    let mut extension = super::set_tenant("");
    extension.reason = "extended".into();
    extension.expire_time = Some(seconds_from_now(DAY));
    let refused = replica.flags.set_tenant_override(extension).await.unwrap_err();
    assert_eq!(fields(&refused), ["variant"]);
    assert_eq!(super::seen(&mut replica).await, (v1::FlagLayer::TenantOverride, "on".into()));
    replica.stop().await;
}

#[tokio::test]
async fn evaluations_are_told_by_flag_and_tenant_for_as_long_as_there_are_both() {
    let mut replica = with_flag().await;
    create(&mut replica, boolean("export")).await;
    for key in ["search", "search", "export"] {
        evaluate(&mut replica, key).await;
    }
    let registry = replica.server.registry.clone();
    let gone = TenantId::parse("gone").unwrap();
    registry.evaluations.count(&FlagKey::parse("search").unwrap(), Some(&gone), jiff::Timestamp::now());
    registry.evaluations.flush(&registry.database).await;
    let series = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("tenantry_flag_evaluations_"));
        lines.map(|line| line.trim_start_matches("tenantry_flag_evaluations_").to_owned()).collect()
    };
    let told = series(&metrics(&replica).await);
    let expected = [
        "by_tenant_left_out_total 0",
        "by_tenant_total{flag_key=\"export\",tenant_id=\"finance\"} 1",
        "by_tenant_total{flag_key=\"search\",tenant_id=\"finance\"} 2",
        "dropped_total 0",
        "total{flag_key=\"export\"} 1",
        "total{flag_key=\"search\"} 3",
    ];
    assert_eq!(told, expected);
    let delete = v1::DeleteFlagRequest { flag_key: "search".into(), ..Default::default() };
    replica.flags.delete_flag(delete).await.unwrap();
    let told = series(&metrics(&replica).await);
    assert!(!told.iter().any(|line| line.contains("search")), "{told:?}");
    assert!(told.iter().any(|line| line == expected[1]), "{told:?}");
    replica.stop().await;
}

/// A change that changes nothing was told to every stream.
#[tokio::test]
async fn setting_what_is_so_already_is_no_change() {
    let mut replica = with_flag().await;
    let own = |reason: &str| v1::SetTenantOverrideRequest {
        tenant_id: "finance".into(),
        flag_key: "search".into(),
        variant: "on".into(),
        reason: reason.into(),
        ..Default::default()
    };
    let of_tier = |variant: &str| v1::SetTierDefaultRequest {
        tier_id: "gold".into(),
        flag_key: "search".into(),
        variant: variant.into(),
        ..Default::default()
    };
    let mut revisions = Vec::new();
    for reason in ["pilot", "pilot", "trial"] {
        revisions.push(replica.flags.set_tenant_override(own(reason)).await.unwrap().into_inner().revision);
    }
    for variant in ["on", "on", "off"] {
        revisions.push(replica.flags.set_tier_default(of_tier(variant)).await.unwrap().into_inner().revision);
    }
    assert_eq!((revisions[0], revisions[3]), (revisions[1], revisions[4]), "{revisions:?}");
    assert!(revisions[1] < revisions[2] && revisions[4] < revisions[5], "{revisions:?}");
    replica.stop().await;
}
