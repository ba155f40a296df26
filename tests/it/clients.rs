//! Clients that share no code with the server: Python stubs generated from proto/, `buf curl` and grpcurl by reflection.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tenantry::participants::stub::Stub;

use crate::support::programs;
pub(crate) use crate::support::programs::{kept, must_run, root, run};
use crate::support::{Replica, Setup, empty_database};

async fn five_targets() -> Replica {
    let mut stubs = Vec::new();
    for name in ["cache", "monitoring", "object-store", "vector-db"] {
        stubs.push((name, Stub::start(Duration::from_millis(1)).await.unwrap()));
    }
    Replica::on(&empty_database().await, &Setup { stubs, ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_generated_from_the_contract_plays_the_demo_twice() {
    let replica = five_targets().await;
    let python = programs::python("clients-venv", "tests/clients/requirements.txt").await;
    for turn in 1..=2 {
        let mut play = Command::new(&python);
        play.arg(root().join("tests/clients/demo.py")).arg(replica.server.grpc.to_string());
        let (is_success, said) = run(play).await;
        assert!(is_success, "turn {turn}: {said}");
        assert!(said.contains("answers checked, all as they must be."), "turn {turn}: {said}");
    }
    replica.stop().await;
}

/// `buf curl`, which knows the services by reflection alone.
struct BufCurl {
    server: String,
}

impl BufCurl {
    async fn ask(&self, method: &str, request: &Value) -> (bool, String) {
        let buf = root().join("tools/node_modules/.bin/buf");
        assert!(buf.exists(), "buf is missing; `make test` installs it");
        let mut call = Command::new(buf);
        call.args(["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--emit-defaults"]);
        call.args(["-d", &request.to_string(), &format!("{}/tenantry.v1.{method}", self.server)]);
        // A folder without our proto files.
        call.current_dir(std::env::temp_dir());
        run(call).await
    }

    async fn call(&self, method: &str, request: Value) -> Value {
        let (is_success, said) = self.ask(method, &request).await;
        assert!(is_success, "{method}: {said}");
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{method}: {error}: {said}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buf_curl_plays_the_scenario_by_reflection() {
    let replica = five_targets().await;
    let buf = BufCurl { server: format!("http://{}", replica.server.grpc) };
    let tier = json!({ "tier_id": "gold", "display_name": "Gold", "sla_target": 0.999 });
    buf.call("Tiers/CreateTier", json!({ "tier": tier })).await;
    let tenant = json!({ "tenant_id": "finance", "display_name": "Finance", "tier": "gold" });
    let made = buf.call("TenantRegistry/CreateTenant", json!({ "tenant": tenant })).await;
    assert_eq!(made["status"], "TENANT_STATUS_PROVISIONING");
    let provisioning = json!({ "operation_id": made["operationId"] });
    let (is_success, said) = buf.ask("Lifecycle/WatchOperation", &provisioning).await;
    assert!(is_success && said.contains("OPERATION_STATE_SUCCEEDED"), "{said}");
    let got = buf.call("TenantRegistry/GetTenant", json!({ "tenant_id": "finance" })).await;
    assert_eq!((&got["status"], &got["uid"]), (&json!("TENANT_STATUS_ACTIVE"), &made["uid"]));
    let filter = json!({ "filter": "status = ACTIVE AND tier = \"gold\"" });
    assert_eq!(buf.call("TenantRegistry/ListTenants", filter).await["totalSize"], 1);

    let flag = json!({ "flag_key": "search", "type": "FLAG_TYPE_BOOLEAN" });
    buf.call("FeatureFlags/CreateFlag", json!({ "flag": flag })).await;
    let default = json!({ "flag_key": "search", "tier_id": "gold", "variant": "on" });
    buf.call("FeatureFlags/SetTierDefault", default).await;
    let one = json!({ "tenant_id": "finance", "flag_key": "search" });
    let seen = buf.call("FeatureFlags/EvaluateFlag", one).await;
    assert_eq!((&seen["value"], &seen["layer"]), (&json!(true), &json!("FLAG_LAYER_TIER_DEFAULT")));

    let (is_success, said) = buf.ask("Lifecycle/DeleteTenant", &json!({ "tenant_id": "finance" })).await;
    assert!(!is_success && said.contains("failed_precondition"), "{said}");
    assert!(said.contains("google.rpc.ErrorInfo"), "{said}");
    for (verb, wanted) in [("SuspendTenant", "SUSPENDED"), ("ActivateTenant", "ACTIVE")] {
        let request = json!({ "tenant_id": "finance", "reason": "maintenance", "wait": "20s" });
        let operation = buf.call(&format!("Lifecycle/{verb}"), request).await;
        assert_eq!(operation["state"], "OPERATION_STATE_SUCCEEDED", "{operation}");
        let targets = operation["targets"].as_array().unwrap();
        assert_eq!(targets.len(), 5);
        assert!(
            targets.iter().all(|step| step["observed"] == format!("DESIRED_STATE_{wanted}")),
            "{targets:?}"
        );
        let id = json!({ "operation_id": operation["operationId"] });
        assert_eq!(buf.call("Lifecycle/GetOperation", id).await, operation);
    }
    let signals = json!({
        "latency_p95_ms": 700.0, "error_rate": 0.02, "query_success_rate": 0.93, "storage_utilization": 0.85
    });
    let report = json!({ "tenant_id": "finance", "signals": signals });
    let health = buf.call("TenantHealth/ReportSignals", report).await;
    assert_eq!(
        (&health["healthScore"], &health["healthLevel"]),
        (&json!(10), &json!("HEALTH_LEVEL_CRITICAL"))
    );
    let counts = buf.call("TenantRegistry/GetStatistics", json!({})).await;
    assert_eq!(counts["byTier"]["gold"].as_str(), Some("1"), "{counts}");
    replica.stop().await;
}

/// A program of Go's, built once; none where there is no Go.
pub(crate) async fn go_program(name: &str, package: &str) -> Option<PathBuf> {
    let folder = kept("go-bin");
    let program = folder.join(name);
    if !program.exists() {
        if Command::new("go").arg("version").output().is_err() {
            return None;
        }
        let mut install = Command::new("go");
        install.args(["install", package]).env("GOBIN", &folder);
        must_run(install).await;
    }
    Some(program)
}

// What is left out is said aloud.
#[allow(clippy::print_stderr)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcurl_lists_describes_and_calls() {
    let package = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3";
    let Some(grpcurl) = go_program("grpcurl", package).await else {
        eprintln!("LEFT OUT: grpcurl needs Go, which is not on this machine; buf curl stands for it");
        return;
    };
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("finance").await;
    let ask = |arguments: &[&str]| {
        let mut call = Command::new(&grpcurl);
        call.arg("-plaintext").args(arguments);
        call
    };
    let server = replica.server.grpc.to_string();
    let listed = must_run(ask(&[&server, "list"])).await;
    for service in ["TenantRegistry", "Tiers", "FeatureFlags", "Lifecycle", "TenantHealth"] {
        assert!(listed.contains(&format!("tenantry.v1.{service}")), "{listed}");
    }
    assert!(listed.contains("grpc.health.v1.Health"), "{listed}");
    let described = must_run(ask(&[&server, "describe", "tenantry.v1.GetTenantRequest"])).await;
    assert!(described.contains("string tenant_id = 1"), "{described}");
    let get = ["-d", r#"{"tenant_id":"finance"}"#, &server, "tenantry.v1.TenantRegistry/GetTenant"];
    let got: Value = serde_json::from_str(&must_run(ask(&get)).await).unwrap();
    assert_eq!((&got["tenantId"], &got["tier"]), (&json!("finance"), &json!("gold")));
    let healthy = must_run(ask(&[&server, "grpc.health.v1.Health/Check"])).await;
    assert!(healthy.contains("SERVING"), "{healthy}");
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stub_is_told_to_misbehave_and_remembers_what_it_holds() {
    use tenantry::proto::stub::stub_control_client::StubControlClient;
    use tenantry::proto::stub::{Fault, ListHeldRequest, SetFaultRequest};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stub-cache.jsonl");
    let stub = Stub::start_kept(Duration::ZERO, 0, &file).await.unwrap();
    let setup = Setup { stubs: vec![("cache", stub.clone())], ..Setup::default() };
    let mut replica = Replica::start(&setup).await;
    let tenant = replica.tenant("finance").await;
    let mut control = StubControlClient::connect(stub.endpoint()).await.unwrap();
    let fault = |fault: Fault| SetFaultRequest {
        tenant: "finance".to_owned(),
        fault: fault.into(),
        ..Default::default()
    };
    control.set_fault(fault(Fault::Refuse)).await.unwrap();
    let wait = Some(prost_types::Duration { seconds: 10, nanos: 0 });
    let suspend = tenantry::proto::v1::SuspendTenantRequest {
        tenant_id: "finance".to_owned(),
        wait,
        ..Default::default()
    };
    let stuck = replica.lifecycle.suspend_tenant(suspend.clone()).await.unwrap().into_inner();
    assert_eq!(stuck.state(), tenantry::proto::v1::OperationState::NeedsOperator);
    control.set_fault(fault(Fault::Unspecified)).await.unwrap();
    let ended = replica.lifecycle.suspend_tenant(suspend).await.unwrap().into_inner();
    assert_eq!(ended.state(), tenantry::proto::v1::OperationState::Succeeded);
    let held = control.list_held(ListHeldRequest {}).await.unwrap().into_inner().held;
    assert_eq!((held[0].tenant_id.as_str(), &held[0].uid), ("finance", &tenant.uid));
    let before = stub.held(&tenant.uid);
    stub.stop();
    let again = Stub::start_kept(Duration::ZERO, 0, &file).await.unwrap();
    assert_eq!(again.held(&tenant.uid), before, "it is what it was before the restart");
    replica.stop().await;
}
