//! Probes and metrics over HTTP/1.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus::{IntCounter, Registry};
use tenantry::http::{Check, Limits, Readiness, Server, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

fn start(limits: Limits, drain: &CancellationToken) -> (Server, Arc<AtomicBool>) {
    let registry = Registry::new();
    let counter = IntCounter::new("tenantry_test_total", "For this test.").unwrap();
    counter.inc_by(3);
    registry.register(Box::new(counter)).unwrap();
    let is_up = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&is_up);
    let database = Check {
        name: "database",
        ask: Arc::new(move || {
            if asked.load(Ordering::Relaxed) {
                Readiness::Ready("primary".to_owned())
            } else {
                Readiness::NotReady("no answer for 5 s".to_owned())
            }
        }),
    };
    let view = Check { name: "view", ask: Arc::new(|| Readiness::Degraded("from the disk copy".to_owned())) };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    (serve(listener, vec![database, view], registry, limits, drain.clone()).unwrap(), is_up)
}

async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    raw(address, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn probes_metrics_and_a_page_that_lists_them() {
    let drain = CancellationToken::new();
    let (server, is_up) = start(Limits::default(), &drain);
    let address = server.local_addr();
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/metrics").await.contains("tenantry_test_total 3"));
    assert!(get(address, "/").await.contains("/readyz"));
    assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));

    let ready = get(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "degraded is still ready: {ready}");
    let (_, body) = ready.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["checks"]["view"]["state"], "degraded");

    is_up.store(false, Ordering::Relaxed);
    let unready = get(address, "/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
    assert!(unready.contains("no answer for 5 s"));
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"), "alive though not ready");
}

#[tokio::test]
async fn slow_headers_do_not_keep_a_connection() {
    let drain = CancellationToken::new();
    let limits = Limits { header_timeout: Duration::from_millis(200), ..Limits::default() };
    let (server, _) = start(limits, &drain);
    let began = Instant::now();
    raw(server.local_addr(), b"GET / HT").await;
    raw(server.local_addr(), b"").await;
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn connections_above_the_cap_are_closed() {
    let drain = CancellationToken::new();
    let (server, _) = start(Limits { connections_max: 1, ..Limits::default() }, &drain);
    let held = TcpStream::connect(server.local_addr()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(get(server.local_addr(), "/livez").await, "");
    drop(held);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(get(server.local_addr(), "/livez").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_drain_ends_it_though_a_connection_is_open() {
    let drain = CancellationToken::new();
    let (server, _) = start(Limits::default(), &drain);
    let _held = TcpStream::connect(server.local_addr()).await.unwrap();
    let began = Instant::now();
    drain.cancel();
    server.finished().await;
    assert!(began.elapsed() < Duration::from_secs(4));
}
