//! The official conformance suite of the Connect protocol (`connectrpc.com/conformance`) against the edge: its runner
//! starts a relay to this test, which serves the suite's own service behind the edge, as often as it asks.

mod service;

use std::{net::Ipv4Addr, path::Path, process::Command, sync::Arc};

use prometheus::Registry;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};
use tenantry::grpc::edge::{Limits, Listener, Methods, Metrics, Wiring, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use self::service::Conformance;
use crate::clients::{go_program, must_run, root, run};

const VERSION: &str = "v1.0.5";

/// The suite's contract, compiled from where Go keeps it.
async fn contract() -> Vec<u8> {
    let mut list = Command::new("go");
    let module = format!("connectrpc.com/conformance@{VERSION}");
    list.args(["mod", "download", "-json", &module]).current_dir(std::env::temp_dir());
    let about: serde_json::Value = serde_json::from_str(&must_run(list).await).unwrap();
    let proto = Path::new(about["Dir"].as_str().unwrap()).join("proto");
    let mut compiler = protox::Compiler::new([proto]).unwrap();
    compiler.include_imports(true);
    compiler.open_file("connectrpc/conformance/v1/service.proto").unwrap();
    compiler.open_file("connectrpc/conformance/v1/server_compat.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

/// Serves one server under test: as long as the relay lives.
async fn server_under_test(mut relay: TcpStream, contract: Arc<Vec<u8>>, pool: DescriptorPool) {
    let name = |name: &str| pool.get_message_by_name(&format!("connectrpc.conformance.v1.{name}")).unwrap();
    let mut length = [0; 4];
    relay.read_exact(&mut length).await.unwrap();
    let mut request = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    relay.read_exact(&mut request).await.unwrap();
    let request = DynamicMessage::decode(name("ServerCompatRequest"), request.as_slice()).unwrap();
    let limit = request.get_field_by_name("message_receive_limit").unwrap().as_u32().unwrap();
    let limits = Limits {
        threads: 1,
        message_bytes_max: if limit == 0 { 16 << 20 } else { usize::try_from(limit).unwrap() },
        drain_timeout: std::time::Duration::ZERO,
        ..Limits::default()
    };
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let drain = CancellationToken::new();
    let wiring = Wiring {
        limits,
        methods: Methods::of(&[&contract]).unwrap(),
        metrics: Metrics::register(&Registry::new()).unwrap(),
        drain: drain.clone(),
        stop: drain.clone(),
    };
    let server =
        serve(vec![Listener::new("conformance", socket, Conformance::new(pool.clone()))], wiring).unwrap();
    let mut response = DynamicMessage::new(name("ServerCompatResponse"));
    response.set_field_by_name("host", Value::String("127.0.0.1".to_owned()));
    response.set_field_by_name("port", Value::U32(server.addresses()[0].port().into()));
    let response = response.encode_to_vec();
    let mut framed = u32::try_from(response.len()).unwrap().to_be_bytes().to_vec();
    framed.extend(response);
    relay.write_all(&framed).await.unwrap();
    // The runner closes its end, or kills the relay.
    let _ = relay.read(&mut [0]).await;
    drain.cancel();
    server.stopped().await;
}

// How many cases there were is part of the result; what is left out is said aloud.
#[allow(clippy::print_stderr)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_of_the_official_suite_passes() {
    let package = "connectrpc.com/conformance/cmd/connectconformance";
    let Some(runner) = go_program("connectconformance", &format!("{package}@{VERSION}")).await else {
        eprintln!("LEFT OUT: the Connect conformance suite needs Go, which is not on this machine");
        return;
    };
    let contract = Arc::new(contract().await);
    let pool = DescriptorPool::decode(contract.as_slice()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        loop {
            let (relay, _) = listener.accept().await.unwrap();
            tokio::spawn(server_under_test(relay, Arc::clone(&contract), pool.clone()));
        }
    });
    let folder = root().join("tests/clients/conformance");
    let mut suite = Command::new(runner);
    suite.args(["--mode", "server", "--conf"]).arg(folder.join("config.yaml"));
    suite.args(["--max-servers", "4", "--parallel", "16", "--"]);
    suite.arg("python3").arg(folder.join("relay.py")).arg(port.to_string());
    let (_, said) = run(suite).await;
    serving.abort();
    let total = said.lines().find(|line| line.contains("Total cases:")).unwrap_or_else(|| panic!("{said}"));
    let total: usize = total.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(total > 1_500, "the suite ran: {said}");
    let mut more_is_said = 0;
    for case in said.split("FAILED: ").skip(1) {
        let case = case.split("\n\n").next().unwrap();
        assert!(complains_of_details_only(case), "{case}");
        more_is_said += 1;
    }
    eprintln!(
        "Connect conformance: {total} cases, {} pass, {more_is_said} only say more",
        total - more_is_said
    );
    // As many as there were when this was written, with version 1.0.5 of the suite: no more may hide behind the excuse.
    assert!(more_is_said <= 152, "{more_is_said} cases");
}

/// Where the suite expects an error of the server's own, it wants it without details, and cannot read those it does not
/// know. Each of ours has an `ErrorInfo`. Everything else of such a case must be as the suite wants it.
fn complains_of_details_only(case: &str) -> bool {
    let complaints = case.lines().skip(1).flat_map(|line| line.split("; "));
    let complaints =
        complaints.map(|complaint| complaint.trim_matches(['\t', ' ', ';'])).filter(|it| !it.is_empty());
    let known = |complaint: &str| {
        let unread = complaint.starts_with("connect error JSON: details[")
            && complaint.contains("message type \"google.rpc.")
            && complaint.contains("could not be resolved");
        unread
            || (complaint.starts_with("actual error contain ") && complaint.ends_with(" details"))
            || complaint == "expecting 0"
    };
    let complaints: Vec<_> = complaints.collect();
    !complaints.is_empty() && complaints.into_iter().all(known)
}
