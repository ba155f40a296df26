//! The registry's database over TLS: whom a connection trusts, as `sslmode` says.

use tokio_postgres::NoTls;

use crate::command_line::tenantry;
use crate::participants::blocking;
use crate::participants::certificates::Certificates;
use crate::participants::postgres::encrypted;
use crate::support::{Replica, Setup};

/// Migrates over a connection; answers the exit code and what was said.
async fn migrate(url: &str, authority: Option<&str>) -> (Option<i32>, String) {
    let mut arguments = vec!["migrate", "--database-url", url];
    arguments.extend(authority.into_iter().flat_map(|file| ["--database-ca-file", file]));
    tenantry(&arguments).await
}

#[tokio::test]
async fn a_database_with_a_certificate_that_nobody_knows_is_reached_unless_it_must_show_who_it_is() {
    let certificates = Certificates::new().await;
    let (server, _folder) = encrypted(&certificates, "server").await;
    let url = server.url();
    let file = |name: &str| certificates.path(name).display().to_string();
    let (authority, stranger) = (file("authority.crt"), file("stranger.crt"));
    // The certificate is for 127.0.0.1 and localhost.
    let (_, place) = url.split_once('@').unwrap();
    let (host, database) = place.split_once('/').unwrap();
    let other = url.replace(host, &host.replace("127.0.0.1", "other.example"));
    let with = |url: &str, mode: &str| format!("{url}?hostaddr=127.0.0.1&sslmode={mode}");
    for (url, authority, wanted) in [
        (url.clone(), None, 0),
        (format!("{url}?sslmode=prefer"), None, 0),
        (format!("{url}?sslmode=disable"), None, 0),
        (format!("{url}?sslmode=require"), None, 6),
        (format!("{url}?sslmode=verify-full"), None, 6),
        (format!("{url}?sslmode=require"), Some(&authority), 0),
        (format!("{url}?sslmode=verify-ca"), Some(&authority), 0),
        (format!("{url}?sslmode=verify-full"), Some(&authority), 0),
        (format!("{url}?sslmode=verify-ca"), Some(&stranger), 6),
        (with(&other, "verify-ca"), Some(&authority), 0),
        (with(&other, "verify-full"), Some(&authority), 6),
        (with(&other, "require"), Some(&authority), 6),
        (url.clone(), Some(&authority), 2),
        (format!("{url}?sslmode=allow"), None, 2),
    ] {
        let (code, said) = migrate(&url, authority.map(String::as_str)).await;
        let shown = url.split_once('?').map_or("", |(_, query)| query);
        assert_eq!(code, Some(wanted), "{shown} {authority:?}: {said}");
        if wanted == 6 && authority.is_none() {
            assert!(said.contains("`--database-ca-file`"), "{shown}: {said}");
        }
    }
    let (code, said) = tenantry(&["config", "--database-url", &url]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("{database}?sslmode=prefer\" # flag --database-url")), "{said}");

    // What serves is encrypted as well, on every connection.
    let mut replica = Replica::on(&url, &Setup { no_targets: true, ..Setup::default() }).await;
    replica.seed_tiers().await;
    replica.tenant("acme").await;
    let (client, connection) =
        tokio_postgres::connect(&format!("{url}?sslmode=disable"), NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client
        .query_one(
            "SELECT count(*), bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE application_name = 'tenantry'",
            &[],
        )
        .await
        .unwrap();
    assert!(row.get::<_, i64>(0) > 1 && row.get::<_, bool>(1), "{row:?}");
    replica.stop().await;
    blocking(move || drop(server)).await;
}

#[tokio::test]
async fn a_certificate_that_signs_itself_is_trusted_by_whoever_has_a_copy_of_it() {
    let certificates = Certificates::new().await;
    // As PostgreSQL's manual makes one: an authority by its own words, and for no name.
    let (server, _folder) = encrypted(&certificates, "authority").await;
    let file = |name: &str| certificates.path(name).display().to_string();
    let url = format!("{}?sslmode=verify-ca", server.url());
    let (code, said) = migrate(&url, Some(&file("authority.crt"))).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = migrate(&url, Some(&file("stranger.crt"))).await;
    assert_eq!(code, Some(6), "{said}");
    let (code, said) = migrate(&server.url(), None).await;
    assert_eq!(code, Some(0), "{said}");
    blocking(move || drop(server)).await;
}
