//! `UpdateTenant`, as those use it who change one label among many, or one amount; and batches that cannot be made.

use tenantry::proto::google::r#type::Money;
use tenantry::proto::v1;
use tenantry::proto::v1::batch_create_tenants_response::result::Outcome;
use tonic::Code;

use crate::command_line::tenantry;
use crate::support::{Replica, Setup, empty_database, fields, new_tenant, reason, sql};

async fn with_tenant(tenant: v1::Tenant) -> Replica {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let request = v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() };
    replica.tenants.create_tenant(request).await.unwrap();
    replica
}

fn named() -> v1::Tenant {
    v1::Tenant { tenant_id: "finance".into(), ..Default::default() }
}

fn pairs(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn mask(paths: &[&str]) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

#[tokio::test]
async fn labels_and_annotations_are_set_and_removed_while_the_others_stay() {
    let labels = pairs(&[("env", "prod"), ("team", "blue")]);
    let annotations = pairs(&[("note", "x")]);
    let mut replica = with_tenant(v1::Tenant { labels, annotations, ..new_tenant("finance") }).await;
    let request = v1::UpdateTenantRequest {
        tenant: Some(named()),
        set_labels: pairs(&[("team", "red"), ("zone", "a")]),
        remove_labels: vec!["env".into(), "nothing".into()],
        set_annotations: pairs(&[("more", "y")]),
        remove_annotations: vec!["note".into()],
        request_id: uuid::Uuid::now_v7().to_string(),
        ..Default::default()
    };
    let tried = v1::UpdateTenantRequest { validate_only: true, request_id: String::new(), ..request.clone() };
    let tried = replica.tenants.update_tenant(tried).await.unwrap().into_inner();
    assert_eq!(replica.get("finance").await.labels["team"], "blue", "nothing was changed");
    let changed = replica.tenants.update_tenant(request.clone()).await.unwrap().into_inner();
    assert_eq!(changed.labels, pairs(&[("team", "red"), ("zone", "a")]));
    assert_eq!(changed.annotations, pairs(&[("more", "y")]));
    assert_eq!((tried.labels, tried.annotations), (changed.labels.clone(), changed.annotations.clone()));
    // Together with other fields, and only once.
    let with_owner = v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant { owner: "ada".into(), ..named() }),
        update_mask: Some(mask(&["owner"])),
        set_labels: pairs(&[("zone", "b")]),
        ..Default::default()
    };
    let both = replica.tenants.update_tenant(with_owner).await.unwrap().into_inner();
    assert_eq!((both.owner.as_str(), both.labels["zone"].as_str()), ("ada", "b"));
    let again = replica.tenants.update_tenant(request).await.unwrap().into_inner();
    assert_eq!(again.labels["zone"], "a", "the kept answer");
    assert_eq!(replica.get("finance").await.labels["zone"], "b");
    replica.stop().await;
}

#[tokio::test]
async fn a_fault_in_what_is_set_or_removed_names_its_field() {
    let many = (0..64).map(|number| (format!("k{number}"), String::new())).collect();
    let mut replica = with_tenant(v1::Tenant { labels: many, ..new_tenant("finance") }).await;
    let empty = || v1::UpdateTenantRequest { tenant: Some(named()), ..Default::default() };
    for (request, field) in [
        (v1::UpdateTenantRequest { set_labels: pairs(&[("a b", "c")]), ..empty() }, "set_labels"),
        (v1::UpdateTenantRequest { set_labels: pairs(&[("a", "\0")]), ..empty() }, "set_labels"),
        // One too many with those that are there.
        (v1::UpdateTenantRequest { set_labels: pairs(&[("a", "b")]), ..empty() }, "set_labels"),
        (v1::UpdateTenantRequest { remove_labels: vec!["\0".into()], ..empty() }, "remove_labels[0]"),
        (v1::UpdateTenantRequest { set_annotations: pairs(&[("a", "\0")]), ..empty() }, "set_annotations"),
        (
            v1::UpdateTenantRequest {
                set_labels: pairs(&[("k0", "b")]),
                remove_labels: vec!["k0".into()],
                ..empty()
            },
            "remove_labels[0]",
        ),
        (
            v1::UpdateTenantRequest {
                set_labels: pairs(&[("k0", "b")]),
                update_mask: Some(mask(&["labels"])),
                ..empty()
            },
            "set_labels",
        ),
        (empty(), "update_mask"),
    ] {
        let error = replica.tenants.update_tenant(request).await.unwrap_err();
        assert_eq!((error.code(), fields(&error)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    // As many as there can be, where others go in the same request.
    let swapped = v1::UpdateTenantRequest {
        set_labels: pairs(&[("a", "b")]),
        remove_labels: vec!["k0".into()],
        ..empty()
    };
    assert_eq!(replica.tenants.update_tenant(swapped).await.unwrap().into_inner().labels.len(), 64);
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_that_many_set_at_once_without_an_etag_are_all_there() {
    let mut replica = with_tenant(new_tenant("finance")).await;
    let mut other = Replica::on(&replica.database_url, &Setup { no_targets: true, ..Setup::default() }).await;
    let mut setting = tokio::task::JoinSet::new();
    for number in 0..16 {
        let mut tenants = if number % 2 == 0 { replica.tenants.clone() } else { other.tenants.clone() };
        let set_labels = pairs(&[(&format!("k{number}"), "v")]);
        let request = v1::UpdateTenantRequest { tenant: Some(named()), set_labels, ..Default::default() };
        setting.spawn(async move { tenants.update_tenant(request).await.map(drop) });
    }
    while let Some(set) = setting.join_next().await {
        set.unwrap().unwrap();
    }
    other.settled("finance").await;
    let mut latest = tonic::Request::new(v1::GetTenantRequest { tenant_id: "finance".into() });
    latest.metadata_mut().insert("tenantry-consistency", "latest".parse().unwrap());
    assert_eq!(replica.tenants.get_tenant(latest).await.unwrap().into_inner().labels.len(), 16);
    replica.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_label_set_at_the_command_line_can_be_repeated_under_its_request_id() {
    let mut replica = with_tenant(new_tenant("finance")).await;
    let server = format!("http://{}", replica.server.grpc);
    let request_id = uuid::Uuid::now_v7().to_string();
    let update =
        ["tenant", "update", "finance", "--label", "a=b", "--request-id", &request_id, "--server", &server];
    for time in ["first", "second"] {
        let (code, said) = tenantry(&update).await;
        assert_eq!(code, Some(0), "{time}: {said}");
    }
    assert_eq!(replica.get("finance").await.labels, pairs(&[("a", "b")]));
    replica.stop().await;
}

#[tokio::test]
async fn neither_a_currency_nor_a_budget_changes_what_the_other_is_worth_unseen() {
    let money = |units, currency: &str| Some(Money { units, currency_code: currency.into(), nanos: 0 });
    let tenant =
        v1::Tenant { currency_code: "USD".into(), monthly_budget: money(5, "USD"), ..new_tenant("finance") };
    let mut replica = with_tenant(tenant).await;
    let update = |currency: &str, budget, paths: &[&str]| v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant { currency_code: currency.into(), monthly_budget: budget, ..named() }),
        update_mask: Some(mask(paths)),
        ..Default::default()
    };
    let error = replica.tenants.update_tenant(update("EUR", None, &["currency_code"])).await.unwrap_err();
    assert_eq!(fields(&error), ["tenant.currency_code"], "{error:?}");
    let error =
        replica.tenants.update_tenant(update("", money(7, "EUR"), &["monthly_budget"])).await.unwrap_err();
    assert_eq!(fields(&error), ["tenant.monthly_budget.currency_code"], "{error:?}");
    let kept = replica.get("finance").await;
    assert_eq!((kept.currency_code.as_str(), kept.monthly_budget), ("USD", money(5, "USD")));
    let both = update("EUR", money(4, "EUR"), &["currency_code", "monthly_budget"]);
    let changed = replica.tenants.update_tenant(both).await.unwrap().into_inner();
    assert_eq!((changed.currency_code.as_str(), changed.monthly_budget), ("EUR", money(4, "EUR")));
    // The same currency again is no change; without a budget there is nothing to misread.
    replica.tenants.update_tenant(update("EUR", None, &["currency_code"])).await.unwrap();
    replica.tenants.update_tenant(update("", None, &["monthly_budget"])).await.unwrap();
    replica.tenants.update_tenant(update("CHF", None, &["currency_code"])).await.unwrap();
    replica.stop().await;
}

#[tokio::test]
async fn tenants_of_a_batch_that_are_each_others_parents_are_told_the_circle() {
    let mut replica = with_tenant(new_tenant("finance")).await;
    let item = |tenant_id: &str, parent: &str| v1::CreateTenantRequest {
        tenant: Some(v1::Tenant { parent: parent.into(), ..new_tenant(tenant_id) }),
        ..Default::default()
    };
    let requests = vec![item("a", "b"), item("b", "a"), item("below", "a"), item("fine", "finance")];
    let request = v1::BatchCreateTenantsRequest { requests };
    let results = replica.tenants.batch_create_tenants(request).await.unwrap().into_inner().results;
    let told: Vec<_> = results
        .into_iter()
        .map(|result| match result.outcome.unwrap() {
            Outcome::Tenant(_) => (Code::Ok, false),
            Outcome::Error(error) => (Code::from(error.code), error.message.contains("in this batch")),
        })
        .collect();
    let circle = (Code::FailedPrecondition, true);
    assert_eq!(told, [circle, circle, (Code::NotFound, false), (Code::Ok, false)]);
    replica.stop().await;
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused_before_anything_is_made() {
    let url = empty_database().await;
    sql(&url, "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0").await;
    let (server, _) = url.rsplit_once('/').unwrap();
    let latin = format!("{server}/latin");
    let (code, said) = tenantry(&["migrate", "--database-url", &latin]).await;
    assert_ne!(code, Some(0), "{said}");
    assert!(said.contains("encoding is LATIN1") && said.contains("ENCODING 'UTF8'"), "{said}");
    sql(&latin, "CREATE TABLE log_head (id integer)").await;
}

#[tokio::test]
async fn a_tier_that_differs_from_its_catalogue_is_told_and_so_is_what_goes_with_a_deleted_one() {
    let mut replica = with_tenant(new_tenant("finance")).await;
    let server = format!("http://{}", replica.server.grpc);
    let (code, said) = tenantry(&["tier", "import", "gcc", "--server", &server]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("tier gold is there already, it differs from the catalogue"), "{said}");
    assert!(
        said.contains("rank is 1, not ") && said.contains("limits.storage_gb is 100, not absent"),
        "{said}"
    );
    let flag =
        v1::Flag { flag_key: "search".into(), r#type: v1::FlagType::Boolean.into(), ..Default::default() };
    let request = v1::CreateFlagRequest { flag: Some(flag), ..Default::default() };
    replica.flags.create_flag(request).await.unwrap();
    let request = v1::SetTierDefaultRequest {
        flag_key: "search".into(),
        tier_id: "silver".into(),
        variant: "on".into(),
        ..Default::default()
    };
    replica.flags.set_tier_default(request).await.unwrap();
    for (extra, done) in [(&["--dry-run"][..], "could be deleted"), (&[], "is deleted")] {
        let delete = [&["tier", "delete", "silver", "--server", &server], extra].concat();
        let (code, said) = tenantry(&delete).await;
        let wanted = format!("tier silver {done}, and with it the default of 1 flag: search\n");
        assert_eq!((code, said), (Some(0), wanted));
    }
    let (code, said) = tenantry(&["tier", "delete", "gold", "--server", &server]).await;
    assert!(code != Some(0) && said.contains("1 tenant is on it"), "{code:?} {said}");
    assert_eq!(
        reason(&replica.tiers.get_tier(v1::GetTierRequest { tier_id: "silver".into() }).await.unwrap_err()),
        "TIER_NOT_FOUND"
    );
    replica.stop().await;
}

/// A parent that was deleted without its children; until it is undeleted or they are moved, they live under it.
#[tokio::test]
async fn a_child_of_a_deleted_tenant_is_changed_as_any_other() {
    let mut replica = with_tenant(new_tenant("group")).await;
    let child = v1::Tenant { parent: "group".into(), ..new_tenant("finance") };
    let request = v1::CreateTenantRequest { tenant: Some(child), ..Default::default() };
    replica.tenants.create_tenant(request).await.unwrap();
    let group = || "group".to_owned();
    let suspend =
        v1::SuspendTenantRequest { tenant_id: group(), reason: "sold".into(), ..Default::default() };
    replica.lifecycle.suspend_tenant(suspend).await.unwrap();
    let archive =
        v1::ArchiveTenantRequest { tenant_id: group(), reason: "sold".into(), ..Default::default() };
    replica.lifecycle.archive_tenant(archive).await.unwrap();
    // One that is on its way out takes no more, whether it is made there or moved.
    let late = v1::Tenant { parent: "group".into(), ..new_tenant("late") };
    let request = v1::CreateTenantRequest { tenant: Some(late), ..Default::default() };
    let error = replica.tenants.create_tenant(request).await.unwrap_err();
    assert_eq!(reason(&error), "PARENT_NOT_FOUND");
    assert_eq!(error.message(), "tenant \"group\" is ARCHIVED: nothing more can be put below it");
    let delete = v1::DeleteTenantRequest { tenant_id: group(), reason: "sold".into(), ..Default::default() };
    replica.lifecycle.delete_tenant(delete).await.unwrap();
    assert_eq!(replica.settled("group").await.status(), v1::TenantStatus::Deleted);

    let owner = |owner: &str| v1::Tenant { owner: owner.into(), ..named() };
    let request = v1::UpdateTenantRequest {
        tenant: Some(owner("ada")),
        update_mask: Some(mask(&["owner"])),
        ..Default::default()
    };
    assert_eq!(replica.tenants.update_tenant(request).await.unwrap().into_inner().owner, "ada");
    // The parent that it has is no new one.
    let whole = v1::Tenant { owner: "grace".into(), parent: "group".into(), ..new_tenant("finance") };
    let request = v1::UpdateTenantRequest {
        tenant: Some(whole),
        update_mask: Some(mask(&["*"])),
        ..Default::default()
    };
    assert_eq!(replica.tenants.update_tenant(request).await.unwrap().into_inner().owner, "grace");
    // Once it has left it cannot come back.
    let moved = |parent: &str| v1::UpdateTenantRequest {
        tenant: Some(v1::Tenant { parent: parent.into(), ..named() }),
        update_mask: Some(mask(&["parent"])),
        ..Default::default()
    };
    replica.tenants.update_tenant(moved("")).await.unwrap();
    let error = replica.tenants.update_tenant(moved("group")).await.unwrap_err();
    assert_eq!((reason(&error).as_str(), fields(&error)), ("PARENT_NOT_FOUND", vec![]));
    replica.stop().await;
}
