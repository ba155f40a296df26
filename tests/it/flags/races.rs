//! Two writers at the same moment: what was agreed to by its plan is made as it was shown, or not at all.

use tenantry::proto::v1;

use super::{boolean, set_tenant, set_tier};
use crate::support::{Replica, Setup, reason};

/// Each round is a race that either side may win; in so many both sides do.
const ROUNDS: usize = 24;

/// Two replicas, so that neither sees what the other has made before it is told; finance, and no flag.
async fn two_writers() -> (Replica, Replica) {
    let setup = Setup { no_targets: true, ..Setup::default() };
    let mut first = Replica::start(&setup).await;
    first.tenant("finance").await;
    let second = Replica::on(&first.database_url, &setup).await;
    (first, second)
}

async fn create_search(replica: &mut Replica) {
    let request = v1::CreateFlagRequest { flag: Some(boolean("search")), ..Default::default() };
    replica.flags.create_flag(request).await.unwrap();
}

/// Waits until the other replica has seen the flag, without any value of it.
async fn seen_by(replica: &mut Replica) {
    let mut request = tonic::Request::new(v1::GetFlagRequest { flag_key: "search".into() });
    request.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
    replica.flags.get_flag(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_that_is_set_while_its_flag_is_deleted_stands_in_the_way_or_comes_too_late() {
    let (mut first, mut second) = two_writers().await;
    let (mut kept, mut late) = (0, 0);
    for round in 0..ROUNDS {
        create_search(&mut first).await;
        seen_by(&mut second).await;
        let delete = |plan_etag: String, validate_only| v1::DeleteFlagRequest {
            flag_key: "search".into(),
            plan_etag,
            validate_only,
            ..Default::default()
        };
        let plan = first.flags.delete_flag(delete(String::new(), true)).await.unwrap().into_inner();
        let (deleted, set) = tokio::join!(
            first.flags.delete_flag(delete(plan.plan_etag, false)),
            second.flags.set_tenant_override(set_tenant("on")),
        );
        match (deleted, set) {
            (Ok(deleted), Err(error)) => {
                assert_eq!(deleted.into_inner().removed, plan.removed, "round {round}");
                assert_eq!(reason(&error), "FLAG_NOT_FOUND", "round {round}");
                late += 1;
            }
            (Err(error), Ok(_)) => {
                assert_eq!(reason(&error), "ETAG_MISMATCH", "round {round}");
                let forced = delete(String::new(), false);
                first.flags.delete_flag(forced).await.unwrap();
                kept += 1;
            }
            (Ok(_), Ok(_)) => panic!("round {round}: an override that was set went with the flag, unsaid"),
            (Err(one), Err(other)) => panic!("round {round}: nobody had their way: {one}; {other}"),
        }
    }
    assert!(
        kept > 0 && late > 0,
        "both must win now and then: {kept} overrides stayed, {late} came too late"
    );
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_default_that_is_set_while_a_plan_for_it_is_made_is_not_written_over() {
    let (mut first, mut second) = two_writers().await;
    create_search(&mut first).await;
    seen_by(&mut second).await;
    let (mut kept, mut late) = (0, 0);
    for round in 0..ROUNDS {
        let apply = |plan_etag: String, validate_only| v1::ApplyFlagsRequest {
            flags: vec![boolean("search")],
            tier_defaults: vec![v1::apply_flags_request::TierSetting {
                flag_key: "search".into(),
                tier_id: "gold".into(),
                variant: "on".into(),
                rollout: None,
            }],
            plan_etag,
            validate_only,
            ..Default::default()
        };
        first.flags.set_tier_default(set_tier("")).await.unwrap();
        seen_by(&mut second).await;
        let plan = first.flags.apply_flags(apply(String::new(), true)).await.unwrap().into_inner();
        let (applied, set) = tokio::join!(
            first.flags.apply_flags(apply(plan.plan_etag, false)),
            second.flags.set_tier_default(set_tier("off")),
        );
        let set = set.unwrap().into_inner();
        match applied {
            Ok(applied) => {
                let applied = applied.into_inner().revision;
                assert!(
                    applied < set.revision,
                    "round {round}: the plan showed no default, and one was replaced"
                );
                late += 1;
            }
            Err(error) => {
                assert_eq!(reason(&error), "ETAG_MISMATCH", "round {round}");
                kept += 1;
            }
        }
        let mut request = tonic::Request::new(v1::GetFlagRequest { flag_key: "search".into() });
        request.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
        let flag = first.flags.get_flag(request).await.unwrap().into_inner();
        assert_eq!(
            flag.tier_defaults["gold"], "off",
            "round {round}: whoever came last, or was first unseen"
        );
    }
    assert!(kept > 0 && late > 0, "both must win now and then: {kept} defaults stayed, {late} came after");
    first.stop().await;
    second.stop().await;
}
