//! No tenant's resource names reach another's.

use tenantry::proto::v1;
use tonic::{Code, Status};

use crate::lifecycle::schedule;
use crate::support::{Replica, Setup, fields, new_tenant, reason, sql};

/// Names with the parts of the object store and the cache that a tenant is to have; the rest is derived.
fn parts(bucket: &str, bucket_prefix: &str, cache_prefix: &str) -> v1::ResourceNames {
    v1::ResourceNames {
        bucket: bucket.into(),
        bucket_prefix: bucket_prefix.into(),
        cache_prefix: cache_prefix.into(),
        ..Default::default()
    }
}

fn request(tenant_id: &str, names: v1::ResourceNames) -> v1::CreateTenantRequest {
    let tenant = v1::Tenant { resource_names: Some(names), ..new_tenant(tenant_id) };
    v1::CreateTenantRequest { tenant: Some(tenant), ..Default::default() }
}

async fn create(
    replica: &mut Replica,
    tenant_id: &str,
    names: v1::ResourceNames,
) -> Result<v1::Tenant, Status> {
    replica.tenants.create_tenant(request(tenant_id, names)).await.map(tonic::Response::into_inner)
}

fn taken(refused: &Status) -> Vec<String> {
    assert_eq!((refused.code(), reason(refused).as_str()), (Code::AlreadyExists, "RESOURCE_NAME_TAKEN"));
    // Whoever may not see the holder does not hear of it.
    assert!(!format!("{refused:?}").contains("holder"), "{refused:?}");
    fields(refused)
}

#[tokio::test]
async fn what_a_tenant_holds_nobody_else_can_name_contain_or_lie_in() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let held = v1::ResourceNames {
        database_schema: "finance".into(),
        vector_namespace: "finance".into(),
        monitoring_label: "Finance".into(),
        ..parts("shared", "eu/finance/", "eu:finance:")
    };
    create(&mut replica, "holder", held.clone()).await.unwrap();
    let all = ["database_schema", "vector_namespace", "bucket_prefix", "cache_prefix", "monitoring_label"]
        .map(|field| format!("tenant.resource_names.{field}"));
    assert_eq!(taken(&create(&mut replica, "same", held).await.unwrap_err()), all);
    for (bucket_prefix, cache_prefix) in [("eu/", "eu:"), ("eu/finance/q1/", "eu:finance:q1:")] {
        let refused = create(&mut replica, "other", parts("shared", bucket_prefix, "")).await.unwrap_err();
        assert_eq!(taken(&refused), [all[2].as_str()], "{bucket_prefix}");
        let refused = create(&mut replica, "other", parts("", "", cache_prefix)).await.unwrap_err();
        assert_eq!(taken(&refused), [all[3].as_str()], "{cache_prefix}");
    }
    // The label of a tenant that chose none is its id, whichever comes first.
    let label = |label: &str| v1::ResourceNames { monitoring_label: label.into(), ..Default::default() };
    replica.create("plain").await.unwrap();
    assert_eq!(taken(&create(&mut replica, "other", label("plain")).await.unwrap_err()), [all[4].as_str()]);
    create(&mut replica, "one", label("two")).await.unwrap();
    assert_eq!(taken(&replica.create("two").await.unwrap_err()), [all[4].as_str()]);
    // A trial says so too.
    let trial = v1::CreateTenantRequest { validate_only: true, ..request("trial", parts("", "", "eu:")) };
    assert_eq!(taken(&replica.tenants.create_tenant(trial).await.unwrap_err()), [all[3].as_str()]);
    // Neighbours whose names only begin alike.
    for (tenant_id, bucket_prefix, cache_prefix) in
        [("n1", "eu/finance2/", "eu:finance2:"), ("n2", "eu/finance-b/", "eu:finance-b:"), ("n3", "e/", "e:")]
    {
        create(&mut replica, tenant_id, parts("shared", bucket_prefix, cache_prefix)).await.unwrap();
    }
    create(&mut replica, "n4", parts("shared2", "eu/", "")).await.unwrap();
    replica.stop().await;
}

#[tokio::test]
async fn nobody_chooses_what_is_derived_for_others_or_contains_it() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let uid = replica.create("plain").await.unwrap().uid.replace('-', "");
    for (names, field) in [
        (v1::ResourceNames { database_schema: format!("t_{uid}"), ..Default::default() }, "database_schema"),
        (
            v1::ResourceNames { vector_namespace: format!("t-{uid}"), ..Default::default() },
            "vector_namespace",
        ),
        (parts("", "t/", ""), "bucket_prefix"),
        (parts("tenants", &format!("t/{uid}/below/"), ""), "bucket_prefix"),
        (parts("", ".tenantry/mine/", ""), "bucket_prefix"),
        (parts("", "", "t:"), "cache_prefix"),
        (parts("", "", &format!("t:{uid}:")), "cache_prefix"),
        (parts("", "", "tenantry:"), "cache_prefix"),
    ] {
        let refused = create(&mut replica, "other", names).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(fields(&refused), [format!("tenant.resource_names.{field}")]);
    }
    replica.stop().await;
}

/// One object store with tenants in shared buckets and in buckets of their own. Nobody reaches it.
fn both_layouts() -> Setup {
    let store = "kind = 's3', url = 'http://127.0.0.1:1', access_key = 'a', secret_key = 's', deny = 'principals', \
                 principals = ['user/{tenant_id}']";
    let targets = format!(
        "shared = {{ {store} }}\nown = {{ {store}, layout = 'bucket', bucket = 'b-{{uid}}', records_bucket = 'records' }}"
    );
    Setup { settings: vec![("cascade.targets", targets)], ..Setup::default() }
}

#[tokio::test]
async fn nobody_chooses_a_bucket_that_is_made_for_one_tenant_alone_or_holds_records() {
    let mut replica = Replica::start(&both_layouts()).await;
    let uid = replica.create("plain").await.unwrap().uid.replace('-', "");
    for bucket in [format!("b-{uid}"), format!("b-{}", "0".repeat(32)), "records".to_owned()] {
        for validate_only in [true, false] {
            let asked = v1::CreateTenantRequest { validate_only, ..request("other", parts(&bucket, "", "")) };
            let refused = replica.tenants.create_tenant(asked).await.unwrap_err();
            assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
            assert_eq!(fields(&refused), ["tenant.resource_names.bucket"], "{bucket}");
        }
    }
    for (number, bucket) in
        [format!("b-{}", &uid[1..]), format!("b-{uid}x"), "records2".to_owned()].into_iter().enumerate()
    {
        create(&mut replica, &format!("free-{number}"), parts(&bucket, "", "")).await.unwrap();
    }
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_race_for_one_name_on_two_replicas_one_gets_it() {
    let setup = Setup { no_targets: true, ..Setup::default() };
    let first = Replica::start(&setup).await;
    let second = Replica::on(&first.database_url, &setup).await;
    let mut racers = tokio::task::JoinSet::new();
    for race in 0..12 {
        for racer in 0..8 {
            let mut tenants = if racer % 2 == 0 { first.tenants.clone() } else { second.tenants.clone() };
            let below = ["", "x:", "x:y:", "x:"][racer / 2];
            let names = match race % 3 {
                0 => parts("", "", &format!("race{race}:{below}")),
                1 => parts("shared", &format!("race{race}/{}", below.replace(':', "/")), ""),
                _ => v1::ResourceNames { monitoring_label: format!("race{race}"), ..Default::default() },
            };
            racers.spawn(async move {
                let made = tenants.create_tenant(request(&format!("holder-{race}-{racer}"), names)).await;
                (race, made.map_err(|refused| reason(&refused)).map(drop))
            });
        }
    }
    let mut winners = [0; 12];
    while let Some(ended) = racers.join_next().await {
        match ended.unwrap() {
            (race, Ok(())) => winners[race] += 1,
            (race, Err(why)) => assert_eq!(why, "RESOURCE_NAME_TAKEN", "race {race}"),
        }
    }
    assert_eq!(winners, [1; 12]);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn in_a_batch_each_name_is_given_once() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let names = |number: usize| parts("", "", ["a:", "a:b:", "b:", "a:"][number]);
    let requests = (0..4).map(|number| request(&format!("holder{number}"), names(number))).collect();
    let batch = v1::BatchCreateTenantsRequest { requests };
    let answer = replica.tenants.batch_create_tenants(batch).await.unwrap().into_inner();
    let outcomes = answer.results.into_iter().map(|result| result.outcome.unwrap());
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            v1::batch_create_tenants_response::result::Outcome::Tenant(tenant) => {
                made.push(tenant.resource_names.unwrap().cache_prefix);
            }
            v1::batch_create_tenants_response::result::Outcome::Error(error) => refused.push(error.code),
        }
    }
    assert_eq!(refused, [Code::AlreadyExists as i32; 2]);
    assert!(made.contains(&"b:".to_owned()) && made.len() == 2, "{made:?}");
    replica.stop().await;
}

/// Names that are held by nobody can be taken, on a replica that saw the purge and on one that never saw the holder.
#[tokio::test]
async fn with_the_purge_the_names_are_free() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let names = || parts("shared", "eu/", "eu:");
    create(&mut replica, "finance", names()).await.unwrap();
    schedule::delete(&mut replica, "finance").await;
    assert_eq!(
        taken(&create(&mut replica, "other", names()).await.unwrap_err()).len(),
        2,
        "it can come back"
    );
    sql(&replica.database_url, schedule::PURGE_NOW).await;
    let made = loop {
        match create(&mut replica, "other", names()).await {
            Ok(made) => break made,
            Err(refused) => drop(taken(&refused)),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(made.resource_names.unwrap().cache_prefix, "eu:");
    let mut second =
        Replica::on(&replica.database_url, &Setup { no_targets: true, ..Setup::default() }).await;
    assert_eq!(taken(&create(&mut second, "third", parts("", "", "eu:x:")).await.unwrap_err()).len(), 1);
    second.stop().await;
    replica.stop().await;
}

/// Rows of a version that did not hold names apart: the migration does not go by.
#[tokio::test]
async fn a_database_in_which_names_meet_is_not_taken_over() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    create(&mut replica, "one", parts("", "", "eu:")).await.unwrap();
    create(&mut replica, "two", parts("", "", "us:")).await.unwrap();
    let url = replica.database_url.clone();
    replica.stop().await;
    sql(
        &url,
        // Every migration from the sixth on is undone.
        "ALTER TABLE flag DROP COLUMN origin, DROP COLUMN extensions;
         ALTER TABLE bulk_item DROP COLUMN overruled;
         ALTER TABLE bulk_operation DROP COLUMN overruled;
         DROP INDEX bulk_item_waiting;
         DROP TABLE flag_file, flag_bulk_evaluation, target_place, target_reached;
         DROP INDEX tenant_database_schema, tenant_vector_namespace, tenant_monitoring_label;
         ALTER TABLE tenant DROP COLUMN undecided, DROP CONSTRAINT tenant_bucket_prefixes_apart;
         ALTER TABLE tenant DROP CONSTRAINT tenant_cache_prefixes_apart;
         DROP TYPE name_range;
         DELETE FROM schema_migration WHERE number >= 6;
         UPDATE tenant SET resource_names = resource_names || '{\"cache_prefix\": \"eu:x:\"}' WHERE tenant_id = 'two'",
    )
    .await;
    let migrate = || {
        std::process::Command::new(crate::support::program())
            .args(["migrate", "--database-url", &url])
            .output()
    };
    let refused = migrate().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(said.contains("tenant_cache_prefixes_apart") && said.contains("eu:x:"), "{said}");
    sql(
        &url,
        "UPDATE tenant SET resource_names = resource_names || '{\"cache_prefix\": \"us:\"}' WHERE tenant_id = 'two'",
    )
    .await;
    assert!(migrate().unwrap().status.success());
}
