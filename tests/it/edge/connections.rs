//! Who may hold a connection, for how long, and what it may do to it.

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
use tonic::Code;

use super::{
    served::{Served, few_threads},
    wire::{GET, connect, of_tenant, request, send},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const GOAWAY: u8 = 7;

/// Writes the bytes and reads until the server closes or ten seconds are over.
async fn last_words(address: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            answer.extend_from_slice(&chunk[..count]);
        }
    };
    timeout(Duration::from_secs(10), read).await.ok()?;
    Some(answer)
}

/// Types of the HTTP/2 frames in `bytes`.
fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [a, b, c, kind, rest @ ..] = bytes {
        types.push(*kind);
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        bytes = rest.get(length + 5..).unwrap_or_default();
    }
    types
}

#[tokio::test]
async fn tls_and_noise_are_hung_up_on() {
    let served = Served::usual().await;
    assert_eq!(last_words(served.address, b"\x16\x03\x01\x02\0\x01").await, Some(Vec::new()));
    assert_eq!(last_words(served.address, b"\0\0\0\0").await, Some(Vec::new()));
}

#[tokio::test]
async fn a_peer_that_never_calls_does_not_keep_its_place() {
    let limits = Limits { first_request_timeout: Duration::from_millis(200), ..few_threads() };
    let served = Served::with(limits).await;
    let began = Instant::now();
    assert_eq!(last_words(served.address, b"").await, Some(Vec::new()), "silence");
    assert_eq!(last_words(served.address, &PREFACE[..10]).await, Some(Vec::new()), "half a preface");
    assert!(last_words(served.address, PREFACE).await.is_some(), "a preface without settings");
    let answer = last_words(served.address, &[PREFACE, SETTINGS].concat()).await.unwrap();
    assert!(frames(&answer).contains(&GOAWAY), "a connection without calls");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    // The count follows the close.
    sleep(Duration::from_millis(200)).await;
    assert!(served.metrics_text().contains(r#"refused_total{reason="silent"} 4"#));
}

#[tokio::test]
async fn a_peer_that_calls_now_and_then_keeps_its_connection() {
    let limits = Limits { first_request_timeout: Duration::from_millis(200), ..few_threads() };
    let served = Served::with(limits).await;
    let client = connect(served.address).await;
    for pause in [100, 400, 0] {
        assert_eq!(send(&client, request(GET, &[]), of_tenant("a")).await.unwrap().code(), Code::Ok);
        sleep(Duration::from_millis(pause)).await;
    }
}

#[tokio::test]
async fn one_peer_cannot_take_all_connections() {
    let served = Served::with(Limits { connections_per_peer_max: 2, ..few_threads() }).await;
    let (first, second) = (connect(served.address).await, connect(served.address).await);
    for client in [&first, &second] {
        assert_eq!(send(client, request(GET, &[]), of_tenant("a")).await.unwrap().code(), Code::Ok);
    }
    assert_eq!(last_words(served.address, b"").await, Some(Vec::new()), "the third is closed at once");
    drop(first);
    sleep(Duration::from_millis(200)).await;
    let third = connect(served.address).await;
    assert_eq!(send(&third, request(GET, &[]), of_tenant("a")).await.unwrap().code(), Code::Ok);
    assert!(served.metrics_text().contains(r#"refused_total{reason="peer_full"} 1"#));
}

#[tokio::test]
async fn the_cap_on_streams_is_announced() {
    let served = Served::with(Limits { streams_per_connection_max: 7, ..few_threads() }).await;
    let client = connect(served.address).await;
    send(&client, request(GET, &[]), of_tenant("a")).await.unwrap();
    assert_eq!(client.current_max_send_streams(), 7);
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused_and_the_connection_lives() {
    let served = Served::with(Limits { header_list_bytes_max: 4_096, ..few_threads() }).await;
    let client = connect(served.address).await;
    let large = "x".repeat(3_000);
    let headers = [("a", large.as_str()), ("b", large.as_str())];
    let answer = send(&client, request(GET, &headers), of_tenant("a")).await;
    assert!(answer.as_ref().map_or(true, |answer| answer.http == 431), "{answer:?}");
    assert_eq!(send(&client, request(GET, &[]), of_tenant("a")).await.unwrap().code(), Code::Ok);
}

#[tokio::test]
async fn opening_and_resetting_streams_in_a_hurry_ends_the_connection() {
    let served = Served::usual().await;
    let mut attack = [PREFACE, SETTINGS].concat();
    for index in 0_u32..2_000 {
        let stream = (index * 2 + 1).to_be_bytes();
        // HEADERS with :method POST, :scheme http, :path / by their indices, then RST_STREAM with CANCEL.
        attack.extend_from_slice(&[0, 0, 3, 1, 4]);
        attack.extend_from_slice(&stream);
        attack.extend_from_slice(&[0x83, 0x86, 0x84, 0, 0, 4, 3, 0]);
        attack.extend_from_slice(&stream);
        attack.extend_from_slice(&8_u32.to_be_bytes());
    }
    let answer = last_words(served.address, &attack).await.expect("the server hangs up");
    assert!(frames(&answer).contains(&GOAWAY), "{:?}", frames(&answer));
}

#[tokio::test]
async fn an_old_connection_is_asked_to_go_once_its_calls_have_ended() {
    let limits = Limits { connection_age_max: Some(Duration::from_millis(300)), ..few_threads() };
    let served = Served::with(limits).await;
    let stream = TcpStream::connect(served.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let call = send(&client, request(GET, &[]), of_tenant("half-a-second")).await.unwrap();
    assert_eq!(call.code(), Code::Ok, "what was begun is finished");
    let ended = timeout(Duration::from_secs(3), connection).await.unwrap().unwrap();
    assert!(ended.is_ok(), "{ended:?}");
}
