//! The real server as people meet it: curl as the README types it, both ports, the probes beside.

use std::process::Command;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::exchange::{post, send};
use crate::support::{Replica, Setup};

async fn curl(arguments: Vec<String>) -> (String, String) {
    let run = move || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}"]);
        curl.args(arguments).output().expect("curl is there")
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (body, code) = said.rsplit_once('\n').unwrap();
    (body.to_owned(), code.to_owned())
}

/// The curl command of the README, for this server.
fn as_the_readme_says(server: &str) -> Vec<String> {
    let readme = include_str!("../../../README.md");
    let line = readme.lines().find(|line| line.starts_with("curl -d ")).expect("the README has it");
    let line = line.replace("127.0.0.1:8080", server);
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches("curl ");
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').unwrap(),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_as_the_readme_types_it_works_on_both_ports() {
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    replica.tenant("acme").await;
    for address in [replica.server.http, replica.server.grpc] {
        let (body, code) = curl(as_the_readme_says(&address.to_string())).await;
        let tenant: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert_eq!(
            (code.as_str(), &tenant["tenantId"], &tenant["tier"]),
            ("200", &json!("acme"), &json!("gold"))
        );
        let by_url = format!(
            "http://{address}/tenantry.v1.TenantRegistry/GetTenant?encoding=json&message=%7B%22tenantId%22:%22acme%22%7D"
        );
        let (body, code) = curl(vec![by_url]).await;
        assert_eq!((code.as_str(), serde_json::from_str::<Value>(&body).unwrap()), ("200", tenant));
    }
    let missing = r#"{"tenantId":"nobody"}"#;
    let url = format!("http://{}/tenantry.v1.TenantRegistry/GetTenant", replica.server.http);
    let arguments = ["-d", missing, "-H", "content-type: application/json", &url].map(str::to_owned);
    let (body, code) = curl(arguments.to_vec()).await;
    let error: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code.as_str(), &error["code"]), ("404", &json!("not_found")));
    assert_eq!(error["details"][0]["debug"]["reason"], "TENANT_NOT_FOUND", "{error}");
    let (probe, code) = curl(vec![format!("http://{}/readyz", replica.server.http)]).await;
    assert!(code == "200" && probe.contains("view"), "{probe}");
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_read_of_the_contract_answers_over_get_and_every_method_over_json() {
    let replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let pool = prost_reflect::DescriptorPool::decode(tenantry::proto::DESCRIPTOR_SET).unwrap();
    let services = pool.services().filter(|service| service.parent_file().package_name() == "tenantry.v1");
    let mut asked = 0;
    for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        if method.is_client_streaming() || method.is_server_streaming() {
            continue;
        }
        asked += 1;
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let posted = send(replica.server.http, post(&path, "application/json", "{}")).await;
        let url = format!("{path}?connect=v1&encoding=json&message=%7B%7D");
        let got = send(replica.server.http, Request::get(url).body(Bytes::new()).unwrap()).await;
        // An empty request is refused by most, never as a bug, and alike both ways.
        assert!(!posted.status.is_server_error(), "{path}: {posted:?}");
        let is_read = method.method_descriptor_proto().options.as_ref().is_some_and(|options| {
            options.idempotency_level()
                == prost_reflect::prost_types::method_options::IdempotencyLevel::NoSideEffects
        });
        let expected = if is_read { posted.status.as_u16() } else { 405 };
        assert_eq!(got.status.as_u16(), expected, "{path}: {got:?}");
    }
    assert!(asked > 30, "the contract is read");
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_binary_clients_can_store_json_clients_can_read() {
    use tenantry::proto::v1;
    let mut replica = Replica::start(&Setup { no_targets: true, ..Setup::default() }).await;
    let value = |kind| prost_types::Value { kind: Some(kind) };
    for (index, number) in [f64::NAN, f64::INFINITY, -0.0, 1e300].into_iter().enumerate() {
        let key = format!("number-{index}");
        let variants = [
            ("a".to_owned(), value(prost_types::value::Kind::NumberValue(number))),
            ("b".to_owned(), value(prost_types::value::Kind::NumberValue(1.0))),
        ];
        let flag = v1::Flag {
            flag_key: key.clone(),
            r#type: v1::FlagType::Double.into(),
            variants: variants.into(),
            default_variant: "b".into(),
            ..Default::default()
        };
        let made =
            replica.flags.create_flag(v1::CreateFlagRequest { flag: Some(flag), ..Default::default() }).await;
        let body = json!({ "flagKey": key }).to_string();
        let read =
            send(replica.server.http, post("/tenantry.v1.FeatureFlags/GetFlag", "application/json", body))
                .await;
        assert_eq!(read.status == 200, made.is_ok(), "{number}: {read:?}");
        assert!(!read.status.is_server_error(), "{number}: {read:?}");
    }
    replica.stop().await;
}
