//! The whole tour, by the real program against a running server.

use std::process::Command;
use std::time::Duration;

use tenantry::participants::stub::Stub;

use crate::support::programs::weed;
use crate::support::{Replica, Setup, program};

async fn run(replica: &Replica, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(program());
    command.args(arguments).args(["--server", &format!("http://{}", replica.server.grpc)]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_plays_twice_and_every_answer_is_as_it_must_be() {
    let mut stubs = Vec::new();
    for name in ["cache", "monitoring", "object-store", "vector-db"] {
        stubs.push((name, Stub::start(Duration::from_millis(1)).await.unwrap()));
    }
    let setup = Setup { stubs, ..Setup::default() };
    let url = crate::support::empty_database().await;
    let replica = Replica::on(&url, &setup).await;
    for turn in 1..=2 {
        let (code, text) = run(&replica, &["demo"]).await;
        assert_eq!(code, 0, "turn {turn}: {text}");
        assert!(text.contains("43 answers checked, all as they must be."), "turn {turn}: {text}");
    }
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_ends_with_the_exit_code_of_the_failures_class() {
    let replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    for (arguments, wanted) in [
        (["tenant", "get", "nobody"].as_slice(), 3),
        (&["tenant", "get", "No Id"], 2),
        (&["tenant", "create", "acme", "--tier", "gold"], 0),
        (&["tenant", "create", "acme", "--tier", "gold"], 4),
        (&["tenant", "delete", "acme"], 4),
        (&["tenant", "suspend", "acme", "--reason", "unpaid"], 0),
        (&["tenant", "update", "acme", "--owner", "ada", "-o", "json"], 0),
        (&["flag", "create", "new_search"], 0),
        (&["flag", "explain", "acme", "new_search", "-o", "yaml"], 0),
        (&["stats"], 0),
    ] {
        let (code, text) = run(&replica, arguments).await;
        assert_eq!(code, wanted, "{arguments:?}: {text}");
    }
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_over_real_systems_shows_every_client_refused_and_let_in_again() {
    let place = weed().await.parent().unwrap().to_owned();
    let others = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([place].into_iter().chain(std::env::split_paths(&others))).unwrap();
    let mut command = Command::new(program());
    command.args(["demo", "--real"]).env("PATH", path);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("Every client met what it must."), "{text}");
    for words in ["sees 0 of its 3 orders", "nobody is paged", "may not write (AccessDenied)"] {
        assert_eq!(text.matches(words).count(), 2, "{words}: {text}");
    }
}

/// What of a batch was refused is told with its reason, in JSON as well, and the rest is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_makes_what_it_can_and_names_what_was_refused() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let lines = ["one", "one", "two"]
        .map(|id| serde_json::json!({ "tenantId": id, "displayName": id, "tier": "gold" }).to_string());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    let (code, text) = run(&replica, &["tenant", "import", file.path().to_str().unwrap()]).await;
    assert!(code != 0 && text.contains("2 tenants made, 1 refused"), "{code}: {text}");
    assert!(text.contains("one: there is a tenant \"one\" already"), "{text}");
    assert_eq!(replica.get("two").await.display_name, "two");
    let batch = r#"{"requests":[{"tenant":{"tenantId":"one","displayName":"x","tier":"gold"}}]}"#;
    let answer = reqwest::Client::new()
        .post(format!("http://{}/tenantry.v1.TenantRegistry/BatchCreateTenants", replica.server.http))
        .header("content-type", "application/json")
        .body(batch)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let answer: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(answer["results"][0]["error"]["details"][0]["reason"], "TENANT_EXISTS", "{answer}");
    replica.stop().await;
}
