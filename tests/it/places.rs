//! A target whose settings say another place than the one where its tenants' things are.

use tenantry::app::server::{self, Server, StartError};

use crate::command_line::tenantry;
use crate::support::{Replica, Setup, config, empty_database};

/// An object store that nobody reaches: where things are is looked at before.
fn store(more: &str) -> Setup {
    let target = format!(
        "object-store = {{ kind = 's3', url = 'http://127.0.0.1:1', access_key = 'a', secret_key = 's3c', \
         deny = 'principals', principals = ['arn:aws:iam:::user/{{tenant_id}}'], {more} }}"
    );
    Setup { settings: vec![("cascade.targets", target)], ..Setup::default() }
}

const SHARED: &str = "layout = 'prefix'";
const OWN: &str = "layout = 'bucket', records_bucket = 'records'";
const OWN_PLACE: &str = "layout bucket, bucket t-{uid}, records_bucket records";

async fn start(url: &str, setup: &Setup) -> Result<Server, StartError> {
    let config = config(url, setup);
    let database = server::prepare(&config, true).await?;
    Server::start(&config, database).await
}

async fn starts(url: &str, more: &str) {
    start(url, &store(more)).await.unwrap_or_else(|error| panic!("{more}: {error}")).stop().await;
}

/// What the program says when it does not start.
async fn refused(url: &str, more: &str) -> String {
    let setup = store(more);
    // Here first: a program that starts does not end.
    let Err(error) = start(url, &setup).await else { panic!("with {more} the server started") };
    assert!(matches!(error, StartError::Place(_)), "{error}");
    let ports = ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    let serve = ["serve", "--insecure-no-auth", "--database-url", url, "--targets", &setup.settings[0].1];
    let (code, said) = tenantry(&[&serve[..], &ports].concat()).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(!said.contains("s3c"), "{said}");
    said
}

#[tokio::test]
async fn a_server_does_not_start_where_a_suspension_would_look_for_tenants_in_another_place() {
    let url = empty_database().await;
    starts(&url, SHARED).await;
    // Nobody needs the former place.
    starts(&url, OWN).await;
    let mut replica = Replica::on(&url, &store(SHARED)).await;
    replica.seed_tiers().await;
    replica.create("finance").await.unwrap();
    replica.stop().await;

    let said = refused(&url, OWN).await;
    for words in ["`object-store`", "`layout prefix`", OWN_PLACE, "`moved_from = 'layout prefix'`"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    refused(&url, &format!("{OWN}, moved_from = '{OWN_PLACE}'")).await;
    // An address, or a region, is no place: it may change for the same store.
    starts(&url, &format!("{SHARED}, region = 'eu-west-1'")).await;

    // The data was moved. From then on it is the former place that is refused.
    starts(&url, &format!("{OWN}, moved_from = 'layout prefix'")).await;
    starts(&url, OWN).await;
    starts(&url, &format!("{OWN}, moved_from = 'layout prefix'")).await;
    let said = refused(&url, SHARED).await;
    assert!(said.contains(&format!("`moved_from = '{OWN_PLACE}'`")), "{said}");
    let other = refused(&url, &format!("{OWN}, bucket = 'x-{{uid}}'")).await;
    assert!(other.contains("bucket x-{uid}"), "{other}");
}

#[tokio::test]
async fn of_replicas_that_start_with_two_places_one_is_refused() {
    let url = empty_database().await;
    // As left by a program that noted no places.
    let mut before = Replica::on(&url, &Setup { no_targets: true, ..Setup::default() }).await;
    before.seed_tiers().await;
    before.tenant("finance").await;
    before.stop().await;
    let (shared, own) = (store(SHARED), store(OWN));
    let (one, two) = tokio::join!(start(&url, &shared), start(&url, &own));
    let (started, error) = match (one, two) {
        (Ok(started), Err(error)) | (Err(error), Ok(started)) => (started, error),
        (Ok(_), Ok(_)) => panic!("both started"),
        (Err(one), Err(two)) => panic!("{one} {two}"),
    };
    assert!(matches!(error, StartError::Place(_)), "{error}");
    started.stop().await;
}
