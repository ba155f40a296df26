//! A request that is repeated does nothing the second time, whatever it did the first time and others did since.

use tenantry::proto::v1;

use crate::flags::{boolean, seen, set_tenant, with_flag};
use crate::support::{Replica, Setup, new_tenant, reason};

const ID: &str = "6b1f3c52-7a0e-4b77-9a55-0c1d2e3f4a5b";

/// Asks for what is so already, lets others change it, and asks again under the same id: the answer is the same, and what
/// others did stays. Then with another body, which is refused.
macro_rules! repeated_after_others_changed_it {
    ($client:expr, $call:ident, $request:expr, others: $others:expr, another: $another:expr $(,)?) => {{
        let request = $request;
        let first = $client.$call(request.clone()).await.unwrap().into_inner();
        $client.$call($others).await.unwrap();
        let again = $client.$call(request).await.unwrap().into_inner();
        assert_eq!(first, again, "the same answer");
        let error = $client.$call($another).await.unwrap_err();
        assert_eq!(reason(&error), "REQUEST_ID_REUSED");
    }};
}

fn rename(display_name: &str, request_id: &str) -> v1::UpdateTenantRequest {
    v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant { display_name: display_name.to_owned(), ..new_tenant("finance") }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".to_owned()] }),
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_update_that_changed_nothing_takes_back_no_later_one() {
    let mut replica = with_flag().await;
    repeated_after_others_changed_it!(
        replica.tenants,
        update_tenant,
        rename("A tenant", ID),
        others: rename("Renamed by another", ""),
        another: rename("Something else", ID),
    );
    assert_eq!(replica.get("finance").await.display_name, "Renamed by another");
    replica.stop().await;
}

#[tokio::test]
async fn what_was_cleared_when_there_was_nothing_clears_nothing_later() {
    let mut replica = with_flag().await;
    let clear = v1::SetTenantOverrideRequest { request_id: ID.to_owned(), ..set_tenant("") };
    repeated_after_others_changed_it!(
        replica.flags,
        set_tenant_override,
        clear.clone(),
        others: set_tenant("on"),
        another: v1::SetTenantOverrideRequest { variant: "off".to_owned(), ..clear },
    );
    assert_eq!(seen(&mut replica).await, (v1::FlagLayer::TenantOverride, "on".to_owned()));
    let tier = |variant: &str, request_id: &str| v1::SetTierDefaultRequest {
        flag_key: "search".to_owned(),
        tier_id: "silver".to_owned(),
        variant: variant.to_owned(),
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    let id = uuid::Uuid::new_v4().to_string();
    repeated_after_others_changed_it!(
        replica.flags,
        set_tier_default,
        tier("", &id),
        others: tier("on", ""),
        another: tier("off", &id),
    );
    replica.stop().await;
}

#[tokio::test]
async fn a_set_that_changed_nothing_overwrites_nothing_later() {
    let mut replica = with_flag().await;
    let apply = |flag: v1::Flag, request_id: &str| v1::ApplyFlagsRequest {
        flags: vec![flag],
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    replica.flags.apply_flags(apply(boolean("search"), "")).await.unwrap();
    let described = v1::Flag { description: "By another".to_owned(), ..boolean("search") };
    repeated_after_others_changed_it!(
        replica.flags,
        apply_flags,
        apply(boolean("search"), ID),
        others: apply(described, ""),
        another: apply(boolean("other"), ID),
    );
    let request = v1::GetFlagRequest { flag_key: "search".to_owned() };
    assert_eq!(replica.flags.get_flag(request).await.unwrap().into_inner().description, "By another");
    replica.stop().await;
}

#[tokio::test]
async fn a_target_that_was_in_use_is_not_resumed_again_after_an_operator_paused_it() {
    let mut replica = Replica::start(&Setup::default()).await;
    let target = "postgres".to_owned();
    let resume =
        v1::ResumeTargetRequest { target: target.clone(), request_id: ID.to_owned(), ..Default::default() };
    let first = replica.lifecycle.resume_target(resume.clone()).await.unwrap().into_inner();
    let pause = v1::PauseTargetRequest { target, reason: "upgrade".to_owned(), ..Default::default() };
    replica.lifecycle.pause_target(pause).await.unwrap();
    let again = replica.lifecycle.resume_target(resume).await.unwrap().into_inner();
    assert_eq!((first.paused, again.paused), (false, false), "the same answer");
    let listed =
        replica.lifecycle.list_targets(v1::ListTargetsRequest::default()).await.unwrap().into_inner();
    assert!(listed.targets[0].paused, "{listed:?}");
    replica.stop().await;
}
