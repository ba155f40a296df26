//! The program as people use it: how it reaches a server, and what it says.

mod incidents;
mod kept_out;
mod previews;

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use tenantry::participants::stub::{Fault, Stub};
use tenantry::proto::stub::stub_control_server::StubControlServer;
use tenantry::proto::v1;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};

use crate::participants::certificates::Certificates;
use crate::support::{Replica, Setup, new_tenant, program};

/// Runs the program; answers its exit code and all that it said.
pub(crate) async fn tenantry(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null()).env_remove("TENANTRY_CA_FILE");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

#[tokio::test]
async fn a_server_with_tls_is_reached_where_its_authority_is_trusted() {
    let certificates = Certificates::new().await;
    let identity = Identity::from_pem(certificates.pem("server.crt"), certificates.pem("server.key"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let router = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))
        .unwrap()
        .add_service(StubControlServer::new(stub.clone()));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));

    let file = |name: &str| certificates.path(name).display().to_string();
    let (authority, stranger) = (file("authority.crt"), file("stranger.crt"));
    let (code, said) = tenantry(&["stub", "show", &url, "--ca-file", &authority]).await;
    assert!(code == Some(0) && said.contains("TENANT"), "{code:?} {said}");
    let (code, said) = tenantry(&["stub", "show", &url, "--ca-file", &stranger]).await;
    assert!(code == Some(6) && said.contains("certificate"), "{code:?} {said}");
    let (code, said) = tenantry(&["stub", "show", &url]).await;
    assert!(code == Some(6) && said.contains("certificate"), "the system does not know it: {code:?} {said}");
    let (code, said) = tenantry(&["stub", "show", &url, "--ca-file", "/nowhere.pem"]).await;
    assert!(code == Some(2) && said.contains("--ca-file /nowhere.pem cannot be read"), "{code:?} {said}");
    // Without TLS the file is not needed.
    let (code, said) = tenantry(&["stub", "show", &stub.endpoint(), "--ca-file", "/nowhere.pem"]).await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn a_server_without_a_scheme_is_refused_with_what_to_write() {
    for server in ["127.0.0.1:50051", "localhost:50051", "tenantry.example"] {
        let (code, said) = tenantry(&["stats", "--server", server]).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains(&format!("has no scheme: write http://{server}, or https://{server}")),
            "{said}"
        );
    }
    let (code, said) = tenantry(&["stats", "--server", "ftp://127.0.0.1"]).await;
    assert!(code == Some(2) && said.contains("is not a URL such as"), "{code:?} {said}");
}

#[tokio::test]
async fn a_mistyped_variable_is_told_to_whoever_types_a_client_command() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    for arguments in [&["stub", "show", &stub.endpoint()][..], &["config"]] {
        let mut command = Command::new(program());
        command.args(arguments).stdin(Stdio::null()).env("TENANTRY_SERVR", "http://127.0.0.1:1");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let sentence =
            "warning: the environment variable TENANTRY_SERVR is no setting: `tenantry config` lists";
        assert!(output.status.success() && said.contains(sentence), "{arguments:?}: {said}");
        assert!(said.contains("TENANTRY_SERVER and TENANTRY_CA_FILE"), "{said}");
    }
}

#[tokio::test]
async fn a_completion_script_may_lose_its_reader() {
    let ended = tokio::task::spawn_blocking(|| {
        let mut command = Command::new(program());
        command.args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (child.wait().unwrap(), said)
    });
    let (status, said) = ended.await.unwrap();
    assert!(status.success() && said.is_empty(), "{status}: {said}");
    let (code, script) = tenantry(&["completions", "bash"]).await;
    assert!(code == Some(0) && script.contains("_tenantry()"), "{script}");
}

#[tokio::test]
async fn a_look_at_a_target_that_cannot_be_asked_is_no_success() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    replica.tenant("finance").await;
    let server = format!("http://{}", replica.server.grpc);
    let ask =
        async |arguments: &[&str]| tenantry(&[arguments, &["--server", server.as_str()]].concat()).await;
    let looks = [&["tenant", "verify", "finance"][..], &["tenant", "verify", "finance", "--validate-only"]];
    for look in looks {
        let (code, said) = ask(look).await;
        assert_eq!(code, Some(0), "{said}");
    }
    let (code, said) = ask(&["target", "pause", "cache", "--reason", "upgrade"]).await;
    assert_eq!(code, Some(0), "{said}");
    for look in looks {
        let (code, said) = ask(look).await;
        assert_eq!(code, Some(6), "{said}");
        assert!(said.contains("1 target cannot be judged now"), "{said}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_bulk_operation_says_when_nobody_can_take_it_and_when_it_waits_for_somebody() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    let server = format!("http://{}", replica.server.grpc);
    let filter = r#"tenant_id = "finance""#;
    let start = |verb| ["bulk", "start", verb, "--filter", filter, "--server", &server];
    let (code, said) = tenantry(&start("activate")).await;
    assert_eq!(said, "no tenant that matches can take it: nothing was done\n");
    assert_eq!(code, Some(0));

    stub.set_fault(&tenant.uid, Some(Fault::Refusing));
    let (code, said) = tenantry(&start("suspend")).await;
    assert_eq!(code, Some(7), "{said}");
    assert_eq!(
        said.matches("  which need an operator: tenantry operation list --filter 'bulk_id = \"").count(),
        1,
        "{said}"
    );
    assert!(said.contains("does not go on by itself: 1 of 1 tenants need an operator"), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn a_verb_says_which_other_moves_of_the_tenant_are_scheduled() {
    let replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let mut tenants = replica.tenants.clone();
    let request = v1::CreateTenantRequest { tenant: Some(new_tenant("finance")), ..Default::default() };
    tenants.create_tenant(request).await.unwrap();
    let server = format!("http://{}", replica.server.grpc);
    let ask =
        async |arguments: &[&str]| tenantry(&[arguments, &["--server", server.as_str()]].concat()).await;
    let month = jiff::SignedDuration::from_hours(30 * 24);
    let time = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap() + month;
    let time = time.to_string();
    let (code, said) = ask(&["tenant", "activate", "finance", "--at", &time]).await;
    assert!(code == Some(0) && !said.contains("note: "), "{code:?} {said}");
    let (code, said) = ask(&["tenant", "suspend", "finance", "--reason", "fraud"]).await;
    assert_eq!(code, Some(0), "{said}");
    let note = format!("note: ACTIVATE is scheduled for {time}; take it back: tenantry operation abort ");
    assert!(said.contains("finance is SUSPENDED "), "{said}");
    assert!(said.contains(&note), "{said}");
    let (_, said) = ask(&["tenant", "activate", "finance", "--no-wait"]).await;
    assert!(said.contains(&note), "{said}");
    let (_, said) = ask(&["tenant", "suspend", "finance", "-o", "json"]).await;
    assert!(!said.contains("note: "), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_of_the_arguments_is_said_in_our_words() {
    let replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let server = format!("http://{}", replica.server.grpc);
    let evaluate = ["flag", "evaluate", "finance", "search", "--context", "fro", "--server", &server];
    let (code, said) = tenantry(&evaluate).await;
    let sentence =
        "--context must be JSON, for example {\"region\": \"eu-1\"}; it cannot be read at line 1, column 2";
    assert!(code == Some(2) && said.contains(sentence), "{code:?} {said}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"{}\nfro\n").unwrap();
    let import = ["tenant", "import", file.path().to_str().unwrap(), "--server", &server];
    let (code, said) = tenantry(&import).await;
    assert!(code == Some(2) && said.contains("line 2 is not JSON: it cannot be read at column 2"), "{said}");
    let (code, said) = tenantry(&["tenant", "list", "--page-size", "abc"]).await;
    assert!(code == Some(2) && said.contains("must be a whole number") && !said.contains("digit"), "{said}");
    replica.stop().await;
}

/// Whoever forgot a pause waited for ever, without a word.
#[tokio::test]
async fn a_command_stops_following_where_only_a_paused_target_is_left_and_so_does_the_demo() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    replica.tenant("lab").await;
    let server = format!("http://{}", replica.server.grpc);
    let server = ["--server", server.as_str()];
    let pause = ["target", "pause", "cache", "--reason", "upgrade"];
    let (code, said) = tenantry(&[&pause[..], &server].concat()).await;
    assert_eq!(code, Some(0), "{said}");
    let create = ["tenant", "create", "research", "--tier", "gold"];
    for command in [&["tenant", "suspend", "lab"][..], &create, &["demo"]] {
        let (code, said) = tenantry(&[command, &server].concat()).await;
        assert_eq!(code, Some(7), "{command:?}: {said}");
        assert!(said.contains("is RUNNING and goes on when the pause of cache ends"), "{command:?}: {said}");
        assert!(said.contains("tenantry target resume cache"), "{command:?}: {said}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn an_abort_ends_where_only_a_paused_target_is_left_and_tables_say_when() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    let server = format!("http://{}", replica.server.grpc);
    let server = ["--server", server.as_str()];
    stub.set_fault(&tenant.uid, Some(Fault::Refusing));
    let (code, said) = tenantry(&[&["tenant", "suspend", "finance"][..], &server].concat()).await;
    assert_eq!(code, Some(7), "{said}");
    let (_, said) = tenantry(&[&["target", "list"][..], &server].concat()).await;
    assert!(said.contains("LAST ERROR AT"), "{said}");
    let listed =
        replica.lifecycle.list_targets(v1::ListTargetsRequest::default()).await.unwrap().into_inner();
    let cache = listed.targets.iter().find(|target| target.target == "cache").unwrap();
    assert!(cache.last_error.contains("refuse") && cache.last_error_time.is_some(), "{cache:?}");

    let pause = ["target", "pause", "cache", "--reason", "upgrade"];
    let (code, said) = tenantry(&[&pause[..], &server].concat()).await;
    assert_eq!(code, Some(0), "{said}");
    let operation_id = replica.get("finance").await.operation_id;
    let (code, said) = tenantry(&[&["operation", "abort", &operation_id][..], &server].concat()).await;
    assert_eq!(code, Some(7), "{said}");
    let told = format!(
        "this is recorded; operation {operation_id} is REVERTING and goes on when the pause of cache ends"
    );
    assert!(said.contains(&told), "{said}");
    let (_, said) = tenantry(&[&["operation", "list"][..], &server].concat()).await;
    assert!(said.contains("SCHEDULED FOR") && said.contains("REVERTING"), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn an_operation_that_needs_somebody_says_where_the_tenant_is_and_what_to_do() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    let server = format!("http://{}", replica.server.grpc);
    stub.set_fault(&tenant.uid, Some(Fault::Refusing));
    let (code, said) = tenantry(&["tenant", "suspend", "finance", "--server", &server]).await;
    assert_eq!(code, Some(7), "{said}");
    let id = replica.get("finance").await.operation_id;
    for line in [
        format!(
            "finance is not SUSPENDED yet: waiting for cache; it has access NONE meanwhile \
             (operation {id} needs_operator)"
        ),
        format!("when cache is mended: tenantry operation retry {id} cache"),
        format!("to take it back: tenantry operation abort {id} --reason"),
    ] {
        assert!(said.contains(&line), "{line}: {said}");
    }
    assert!(!said.contains("is ACTIVE"), "{said}");

    let (code, said) = tenantry(&["operation", "get", &id, "--server", &server]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("UNSPECIFIED") && !said.contains("target="), "{said}");
    let cells = |name: &str| -> Vec<String> {
        let line = said.lines().find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {said}")).split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(cells("TARGET")[..4], ["TARGET", "TO", "STATE", "SEEN"], "{said}");
    assert_eq!(cells("cache")[..3], ["cache", "SUSPENDED", "FAILED"], "{said}");
    assert_eq!(cells("postgres")[..4], ["postgres", "SUSPENDED", "VERIFIED", "SUSPENDED"], "{said}");

    stub.set_fault(&tenant.uid, None);
    let (code, said) = tenantry(&["operation", "retry", &id, "cache", "--server", &server]).await;
    assert_eq!(code, Some(0), "{said}");
    let (_, said) = tenantry(&["tenant", "activate", "finance", "--server", &server]).await;
    assert!(said.contains("finance is ACTIVE (operation "), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn a_provisioning_that_failed_is_tried_again_by_activating_the_tenant_and_every_answer_says_so() {
    let stub = Stub::start(Duration::ZERO).await.unwrap();
    // As often as it is tried; the way back is clear.
    stub.set_fault("finance", Some(Fault::Failing(4)));
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let server = format!("http://{}", replica.server.grpc);
    let (code, said) =
        tenantry(&["tenant", "create", "finance", "--tier", "gold", "--server", &server]).await;
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("is FAILED") && said.contains("again: tenantry tenant activate finance"), "{said}");
    let list = v1::ListOperationsRequest { tenant_id: "finance".into(), ..Default::default() };
    let listed = replica.lifecycle.list_operations(list).await.unwrap().into_inner();
    let id = &listed.operations[0].operation_id;
    let (code, said) = tenantry(&["operation", "retry", id, "cache", "--server", &server]).await;
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("`tenantry tenant activate` provisions the tenant anew")
            && said.contains("[OPERATION_ENDED]"),
        "{said}"
    );
    let (_, said) = tenantry(&["operation", "retry", "--help"]).await;
    assert!(said.contains("`tenant activate`"), "{said}");
    let (code, said) = tenantry(&["tenant", "activate", "finance", "--server", &server]).await;
    assert!(code == Some(0) && said.contains("finance is ACTIVE"), "{said}");
    replica.stop().await;
}

#[tokio::test]
async fn an_update_changes_one_label_and_leaves_the_others() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("finance").await;
    let server = format!("http://{}", replica.server.grpc);
    let mut labels = async |arguments: &[&str]| {
        let arguments = [&["tenant", "update", "finance", "--server", &server][..], arguments].concat();
        let (code, said) = tenantry(&arguments).await;
        assert_eq!(code, Some(0), "{said}");
        let mut labels: Vec<_> = replica.get("finance").await.labels.into_iter().collect();
        labels.sort();
        labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(labels(&["--label", "team=blue", "--label", "env=prod"]).await, ["env=prod", "team=blue"]);
    assert_eq!(labels(&["--label", "team=red"]).await, ["env=prod", "team=red"]);
    assert_eq!(labels(&["--remove-label", "env", "--label", "a=b"]).await, ["a=b", "team=red"]);
    assert_eq!(labels(&["--replace-labels", "--label", "c=d"]).await, ["c=d"]);
    assert!(labels(&["--replace-labels"]).await.is_empty());
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_ends_quietly_when_nobody_reads_it_any_more() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("acme").await;
    let server = format!("http://{}", replica.server.grpc);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"{"tenantId":"one","displayName":"One","tier":"gold"}"#).unwrap();
    for arguments in [
        &["demo"][..],
        &["config"],
        &["migrate", "--database-url", &replica.database_url],
        &["completions", "bash"],
        &["tier", "list"],
        &["tenant", "list", "-o", "json"],
        &["tenant", "import", file.path().to_str().unwrap()],
        &["tenant", "watch", "--initial"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(program());
        command.args(arguments).env("TENANTRY_SERVER", &server).env("TENANTRY_LOG_FILTER", "error");
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {:?} {said}", output.status);
    }
    replica.stop().await;
}
