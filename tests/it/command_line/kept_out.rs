//! What somebody reads who wants tenants kept out while something is scheduled to let them in.

use super::incidents::ask;
use crate::support::{Replica, Setup};

/// A tenant that is SUSPENDED, and an activation an hour from now.
async fn scheduled() -> (Replica, String) {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("s1").await;
    replica.tenant("s2").await;
    let hour =
        jiff::Timestamp::now().round(jiff::Unit::Second).unwrap() + jiff::SignedDuration::from_hours(1);
    let time = hour.to_string();
    let (code, said) = ask(&replica, &["tenant", "suspend", "s1", "--reason", "unpaid"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ask(&replica, &["tenant", "activate", "s1", "--at", &time]).await;
    assert_eq!(code, Some(0), "{said}");
    (replica, time)
}

#[tokio::test]
async fn whoever_wants_a_suspended_tenant_kept_out_is_told_what_is_scheduled_to_let_it_in() {
    let (replica, time) = scheduled().await;
    for children in [&[][..], &["--children", "follow"]] {
        let suspend = ["tenant", "suspend", "s1", "--reason", "INCIDENT: keep out"];
        let (code, said) = ask(&replica, &[&suspend[..], children].concat()).await;
        assert_eq!(code, Some(4), "{said}");
        let told = format!("(ACTIVATE) is scheduled for {time}, to ACTIVE: `tenantry operation abort ");
        assert!(said.contains(&told), "{said}");
    }
    let (code, said) = ask(&replica, &["tenant", "get", "s1"]).await;
    assert_eq!(code, Some(0), "{said}");
    let note = format!("note: ACTIVATE is scheduled for {time}; take it back: tenantry operation abort ");
    assert!(said.contains(&note), "{said}");
    let (_, said) = ask(&replica, &["tenant", "get", "s2"]).await;
    assert!(!said.contains("note: "), "{said}");
    let (_, said) = ask(&replica, &["tenant", "get", "s1", "-o", "json"]).await;
    assert!(!said.contains("note: "), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn a_bulk_suspension_does_not_end_well_where_one_that_is_out_is_scheduled_to_be_let_in() {
    let (replica, time) = scheduled().await;
    let suspend = ["bulk", "start", "suspend", "--reason", "INCIDENT", "--filter"];
    let (code, said) = ask(&replica, &[&suspend[..], &["tenant_id = \"s1\""]].concat()).await;
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("1 of 1 tenants were not moved: s1: is SUSPENDED, and operation "), "{said}");
    assert!(
        said.contains(&format!("is scheduled for {time}, to ACTIVE: `tenantry operation abort ")),
        "{said}"
    );
    replica.stop().await;
}

#[tokio::test]
async fn a_bulk_suspension_says_whom_of_those_it_locked_out_something_lets_in_later() {
    let (replica, time) = scheduled().await;
    let (code, said) = ask(&replica, &["tenant", "activate", "s1"]).await;
    assert_eq!(code, Some(0), "{said}");
    let suspend = ["bulk", "start", "suspend", "--filter", "tenant_id = \"s*\""];
    let (code, said) = ask(&replica, &suspend).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("note: 1 of its tenants is let in later: "), "{said}");
    assert!(said.contains(&format!("s1 at {time} (tenantry operation abort ")), "{said}");
    replica.stop().await;
}
