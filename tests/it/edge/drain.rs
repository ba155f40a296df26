//! How the server goes: nothing begun is lost, nothing endless holds it up.

use std::time::{Duration, Instant};

use tenantry::grpc::edge::Limits;
use tokio::{net::TcpStream, time::sleep};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use super::{
    served::{Served, few_threads},
    wire::{GET, connect, of_tenant, request, send},
};

#[tokio::test]
async fn a_call_in_flight_finishes_and_nobody_new_gets_in() {
    let mut served = Served::usual().await;
    let client = connect(served.address).await;
    let call = tokio::spawn(async move {
        send(&client, request(GET, &[]), of_tenant("half-a-second")).await.unwrap().code()
    });
    sleep(Duration::from_millis(150)).await;
    served.drain.cancel();
    sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(served.address).await.is_err(), "the listener is closed");
    assert_eq!(call.await.unwrap(), Code::Ok);
    assert_eq!(served.server.drained().await.aborted_connections, 0);
}

#[tokio::test]
async fn an_open_stream_ends_with_a_status_that_says_come_again() {
    let mut served = Served::usual().await;
    let mut client = HealthClient::new(served.channel().await);
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    let began = Instant::now();
    served.drain.cancel();
    let status = watch.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "SHUTTING_DOWN");
    assert!(status.get_details_retry_info().is_some());
    drop((watch, client));
    assert_eq!(served.server.drained().await.aborted_connections, 0);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_is_cut() {
    let mut served =
        Served::with(Limits { drain_timeout: Duration::from_millis(300), ..few_threads() }).await;
    let client = connect(served.address).await;
    let call =
        tokio::spawn(async move { send(&client, request(GET, &[]), of_tenant("slow")).await.is_err() });
    sleep(Duration::from_millis(150)).await;
    let began = Instant::now();
    served.drain.cancel();
    assert_eq!(served.server.drained().await.aborted_connections, 1);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(call.await.unwrap(), "its client hears of it");
}

#[tokio::test]
async fn silent_and_idle_connections_do_not_hold_up_the_end() {
    let mut served = Served::usual().await;
    let silent = TcpStream::connect(served.address).await.unwrap();
    let idle = connect(served.address).await;
    send(&idle, request(GET, &[]), of_tenant("a")).await.unwrap();
    let began = Instant::now();
    served.drain.cancel();
    assert_eq!(served.server.drained().await.aborted_connections, 0);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop((silent, idle));
}
