//! The whole tour, by the real program against a running server.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use tenantry::participants::stub::Stub;
use tenantry::proto::v1;

use crate::support::programs::weed;
use crate::support::{Replica, Setup, empty_database, event_kinds, program};

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

/// All that was ever changed, as the log has it.
async fn changes(replica: &Replica) -> usize {
    event_kinds(&replica.database_url).await.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_changes_nothing_while_something_of_its_names_is_somebody_elses() {
    let mut replica = Replica::start(&Setup::default()).await;
    replica.tenant("finance").await;
    for arguments in [["tenant", "suspend", "finance"], ["flag", "create", "api_access"]] {
        let (code, text) = run(&replica, &arguments).await;
        assert_eq!(code, 0, "{text}");
    }
    let before = changes(&replica).await;
    let (code, text) = run(&replica, &["demo"]).await;
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("(tenant finance, flag api_access)") && text.contains("--take-over"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(changes(&replica).await, before);
    let finance = replica.get("finance").await;
    assert_eq!((finance.display_name.as_str(), finance.status()), ("A tenant", v1::TenantStatus::Suspended));
    // Told to, it takes them; from then on they are its own.
    for arguments in [["demo", "--take-over"].as_slice(), &["demo"]] {
        let (code, text) = run(&replica, arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {text}");
    }
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_plays_again_whichever_of_its_tenants_was_put_away() {
    let replica = Replica::on(&empty_database().await, &Setup::default()).await;
    for arguments in [
        ["demo"].as_slice(),
        &["tenant", "suspend", "hr"],
        &["tenant", "archive", "hr"],
        &["tenant", "suspend", "finance"],
        &["tenant", "archive", "finance"],
        &["tenant", "delete", "finance"],
        &["tenant", "suspend", "ops"],
    ] {
        let (code, text) = run(&replica, arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {text}");
    }
    let (code, text) = run(&replica, &["demo"]).await;
    assert_eq!(code, 0, "{text}");
    for line in ["✓ hr-2: ACTIVE on gold", "✓ finance-2: ACTIVE on platinum", "✓ ops: ACTIVE on gold"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dev_says_to_try_works_as_it_is_printed() {
    let said = tokio::task::spawn_blocking(|| {
        let place = tempfile::tempdir().unwrap();
        // PostgreSQL's account must get in where tests run as root.
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut dev = Command::new(program());
        dev.args([
            "dev",
            "--grpc-listen",
            "127.0.0.1:0",
            "--http-listen",
            "127.0.0.1:0",
            "--dev-stub-port",
            "0",
        ]);
        for protocol in ["evaluation", "sync", "ofrep"] {
            dev.args([format!("--openfeature-{protocol}-listen"), "off".to_owned()]);
        }
        dev.arg("--data-dir").arg(place.path().join("data"));
        dev.env_remove("TENANTRY_SERVER").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut dev = dev.spawn().unwrap();
        let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines().map(Result::unwrap);
        let line = lines.find(|line| line.contains(" tenant create acme ")).unwrap();
        let output = Command::new("sh").args(["-c", &line]).env_remove("TENANTRY_SERVER").output().unwrap();
        dev.kill().unwrap();
        dev.wait().unwrap();
        (output.status.success(), format!("{line}\n{output:?}"))
    });
    let (is_success, said) = said.await.unwrap();
    assert!(is_success, "{said}");
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
