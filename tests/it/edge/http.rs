//! HTTP/1.1 on the edge: pages beside calls, slow and silent peers, caps, the drain.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tenantry::grpc::edge::Limits;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    served::{Served, few_threads},
    wire::GET,
};

/// Long enough for a busy machine; nothing waits for it where all is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends the bytes and reads until the server closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = String::new();
    let _ = timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("the server closes");
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    raw(address, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await
}

fn call(tenant: &str) -> Vec<u8> {
    let body = format!(r#"{{"tenantId":"{tenant}"}}"#);
    let head = format!(
        "POST {GET} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    format!("{head}\r\n{body}").into_bytes()
}

/// Reads one answer whose body is short, and leaves the connection as it is.
async fn one_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut chunk = [0; 4_096];
    let read = async {
        loop {
            let count = stream.read(&mut chunk).await.unwrap();
            answer.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&answer);
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
            if count == 0 || body.is_some_and(|body| body.ends_with('}')) {
                return;
            }
        }
    };
    timeout(PATIENCE, read).await.expect("an answer");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn probes_metrics_and_a_page_stand_beside_the_calls() {
    let served = Served::usual().await;
    let address = served.pages;
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/metrics").await.contains("tenantry_connections_open"));
    assert!(get(address, "/").await.contains("/readyz"));
    assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));
    let ready = get(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains(r#""state":"ready""#), "{ready}");
    let elsewhere = get(served.address, "/livez").await;
    assert!(elsewhere.starts_with("HTTP/1.1 405"), "a listener without pages: {elsewhere}");
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_call() {
    let served = Served::usual().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    for tenant in ["acme", "ours", "acme"] {
        stream.write_all(&call(tenant)).await.unwrap();
        let answer = one_answer(&mut stream).await;
        let code = if tenant == "ours" { "404" } else { "200" };
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
    }
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_do_not_keep_a_place() {
    let limits = Limits {
        head_timeout: Duration::from_millis(200),
        unary_deadline: Duration::from_millis(300),
        ..few_threads()
    };
    let served = Served::with(limits).await;
    assert_eq!(raw(served.pages, b"GET / HT").await, "", "half a head");
    let half = call("acme");
    let answer = raw(served.pages, &half[..half.len() - 3]).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "half a body: {answer}");
    // A connection that is kept and not used ends as well.
    let began = Instant::now();
    assert!(raw(served.pages, &call("acme")).await.starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test]
async fn large_heads_and_noise_are_refused() {
    let served = Served::usual().await;
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "x".repeat(40_000));
    assert!(raw(served.pages, large.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    assert!(raw(served.pages, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    for noise in ["NOISE\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"] {
        assert!(raw(served.pages, noise.as_bytes()).await.starts_with("HTTP/1.1 4"), "{noise}");
    }
    let smuggled = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde";
    assert!(raw(served.pages, smuggled.as_bytes()).await.starts_with("HTTP/1.1 400"));
    assert!(get(served.pages, "/livez").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_probe_gets_in_where_callers_hold_every_place_and_a_call_does_not() {
    let served = Served::with(Limits { connections_max: 1, ..few_threads() }).await;
    let mut held = TcpStream::connect(served.pages).await.unwrap();
    held.write_all(&call("acme")).await.unwrap();
    assert!(one_answer(&mut held).await.starts_with("HTTP/1.1 200"));
    assert!(get(served.pages, "/livez").await.starts_with("HTTP/1.1 200"));
    let mut late = TcpStream::connect(served.pages).await.unwrap();
    late.write_all(&call("acme")).await.unwrap();
    let refused = one_answer(&mut late).await;
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("resource_exhausted"), "{refused}");
    assert!(refused.contains("connection: close"), "no place for pages is kept: {refused}");
}

#[tokio::test]
async fn probes_hear_of_the_drain_until_the_end_and_calls_are_sent_elsewhere() {
    let mut served = Served::usual().await;
    let mut kept = TcpStream::connect(served.pages).await.unwrap();
    kept.write_all(&call("half-a-second")).await.unwrap();
    while !served.metrics_text().contains(r#"tenantry_calls_open{kind="unary"} 1"#) {
        sleep(Duration::from_millis(5)).await;
    }
    served.drain.cancel();
    let answer = one_answer(&mut kept).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "what was begun is finished: {answer}");
    assert_eq!(served.server.drained().await.aborted_connections, 0);
    let unready = get(served.pages, "/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("going down"), "{unready}");
    let mut late = TcpStream::connect(served.pages).await.unwrap();
    late.write_all(&call("acme")).await.unwrap();
    let refused = one_answer(&mut late).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("unavailable"), "{refused}");
    served.stop.cancel();
    timeout(PATIENCE, served.server.stopped()).await.expect("an end though a connection is open");
    assert!(TcpStream::connect(served.pages).await.is_err(), "the listener is closed");
}
