//! What can be asked of many tenants, and of open operations, as well as of one tenant; and what is said before it is done.

use std::time::Duration;

use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::v1;

use super::incidents::ask;
use crate::support::{Replica, Setup};

#[tokio::test]
async fn the_migrations_of_many_can_end_with_the_tenants_locked_out() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    for tenant_id in ["m1", "m2"] {
        replica.tenant(tenant_id).await;
        let (code, said) = ask(&replica, &["tenant", "start-migration", tenant_id]).await;
        assert_eq!(code, Some(0), "{said}");
    }
    let misplaced = ["bulk", "start", "archive", "--filter", "tenant_id:*", "--suspended"];
    let (code, said) = ask(&replica, &misplaced).await;
    assert!(code == Some(2) && said.contains("to_status"), "{code:?} {said}");
    for (filter, option, status) in [
        ("tenant_id = \"m1\"", Some("--suspended"), v1::TenantStatus::Suspended),
        ("tenant_id = \"m2\"", None, v1::TenantStatus::Active),
    ] {
        let finish = ["bulk", "start", "finish-migration", "--filter", filter];
        let (code, said) = ask(&replica, &[&finish[..], option.as_slice()].concat()).await;
        assert_eq!(code, Some(0), "{said}");
        let tenant_id = filter.split('"').nth(1).unwrap();
        assert_eq!(replica.get(tenant_id).await.status(), status, "{tenant_id}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn what_an_operator_would_do_to_an_open_operation_can_be_looked_at_first() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    stub.set_fault(&tenant.uid, Some(Fault::Refusing));
    let (code, said) = ask(&replica, &["tenant", "suspend", "finance"]).await;
    assert_eq!(code, Some(7), "{said}");
    let id = replica.get("finance").await.operation_id;
    let before = replica.get("finance").await;
    for (words, shown) in [
        (&["retry", &id, "cache"][..], "RUNNING"),
        (&["skip", &id, "cache", "--reason", "it is gone"], "SUCCEEDED"),
        (&["abort", &id], "REVERTING"),
    ] {
        let asked = [&["operation"], words, &["--validate-only"]].concat();
        let (code, said) = ask(&replica, &asked).await;
        assert!(code == Some(0) && said.contains(shown), "{words:?}: {code:?} {said}");
        assert_eq!(replica.get("finance").await, before, "{words:?} changes nothing");
    }
    let (code, said) = ask(&replica, &["operation", "retry", &id, "postgres", "--validate-only"]).await;
    assert_eq!(code, Some(4), "refused as it would be: {said}");
    replica.stop().await;
}
