//! Many streams at once, after a change of many flags.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tenantry::proto::flagd::evaluation::v1::EventStreamRequest;
use tenantry::proto::flagd::evaluation::v2::ResolveBooleanRequest;
use tenantry::proto::flagd::evaluation::v2::service_client::ServiceClient;
use tenantry::proto::v1;
use tenantry::services::openfeature::{OpenFeature, Told};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::news::{heard, selected};
use super::wire::channel;
use super::world::{World, boolean_flag};
use crate::support::new_tenant;

const FLAGS: usize = 5_000;
const STREAMS: usize = 300;
/// How often they come.
const TIMES: usize = 5;
/// More than any machine needs.
const PATIENCE: Duration = Duration::from_mins(2);

/// An event whose data nobody takes apart: this side must not be what is measured.
#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

/// Opens a stream and gives it once it was told of the flags.
async fn told(channel: Channel, tenant: String) -> tonic::Streaming<Event> {
    let mut request = Request::new(EventStreamRequest {});
    request.metadata_mut().insert("flagd-selector", format!("tenantId={tenant}").parse().unwrap());
    let path = "/flagd.evaluation.v1.Service/EventStream".parse().unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<EventStreamRequest, Event>::default();
    let mut events = client.server_streaming(request, path, codec).await.unwrap().into_inner();
    loop {
        let event = events.message().await.unwrap().unwrap();
        // Each takes more than ten bytes.
        if event.data.len() > FLAGS * 10 {
            return events;
        }
    }
}

/// A flag's answer and a probe.
async fn ask(resolving: &mut ServiceClient<Channel>, health: &mut HealthClient<Channel>) {
    let request = ResolveBooleanRequest { flag_key: "boolean".into(), context: None };
    assert_eq!(resolving.resolve_boolean(request).await.unwrap().into_inner().value, Some(true));
    health.check(HealthCheckRequest::default()).await.unwrap();
}

/// How much others got while these streams were opened, as a share of what they get when nobody opens any.
async fn opened(world: &World, tenants: &[String]) -> f64 {
    let mut resolving = ServiceClient::new(channel(world, "rpc").await);
    let mut health = HealthClient::new(world.replica.channel.clone());
    let began = Instant::now();
    for _ in 0..200 {
        ask(&mut resolving, &mut health).await;
    }
    let alone = began.elapsed() / 200;
    let channels = [channel(world, "rpc").await, channel(world, "rpc").await];
    let (mut answered, mut longest) = (0, Duration::ZERO);
    let began = Instant::now();
    for _ in 0..TIMES {
        let streams = tenants.iter().cloned().enumerate();
        let streams: Vec<_> =
            streams.map(|(place, tenant)| tokio::spawn(told(channels[place % 2].clone(), tenant))).collect();
        while streams.iter().any(|stream| !stream.is_finished()) {
            let asked = Instant::now();
            ask(&mut resolving, &mut health).await;
            longest = longest.max(asked.elapsed());
            answered += 1;
            assert!(began.elapsed() < PATIENCE, "only {answered} calls were answered");
        }
        for stream in streams {
            drop(stream.await.unwrap());
        }
    }
    let took = began.elapsed();
    let share = (alone * answered).as_secs_f64() / took.as_secs_f64();
    let _ = writeln!(
        std::io::stderr(),
        "{} streams took {took:?}; {answered} calls meanwhile, {share:.3} of those alone, the longest {longest:?}",
        tenants.len() * TIMES
    );
    share
}

/// Makes tenants.
async fn tenants(world: &mut World, count: usize) -> Vec<String> {
    let names: Vec<_> = (0..count).map(|number| format!("tenant-{number:03}")).collect();
    let create =
        |name: &String| v1::CreateTenantRequest { tenant: Some(new_tenant(name)), ..Default::default() };
    let requests = names.iter().map(create).collect();
    let made = world.replica.tenants.batch_create_tenants(v1::BatchCreateTenantsRequest { requests }).await;
    assert_eq!(made.unwrap().into_inner().results.len(), count);
    names
}

/// Each stream picked and encoded all that had changed for itself, on the threads that serve: providers that came back after a
/// restart held up everybody for seconds, the probes among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_come_at_once_after_many_changes_hold_up_no_other_call() {
    let mut world = World::start().await;
    let names = tenants(&mut world, STREAMS).await;
    let flags = (0..FLAGS).map(|number| boolean_flag(&format!("flag-{number:05}"), "off")).collect();
    let set = v1::ApplyFlagsRequest { flags, ..Default::default() };
    world.replica.flags.apply_flags(set).await.unwrap();
    // From here on all of it is known.
    drop(told(channel(&world, "rpc").await, names[0].clone()).await);
    let of_one = vec![names[0].clone(); STREAMS];
    for streams in [of_one, names] {
        let share = opened(&world, &streams).await;
        assert!(share > 0.004, "others got {share:.3} of what they get else");
    }
    world.stop().await;
}

/// Each had its own list of them.
#[tokio::test]
async fn tenants_hear_of_what_concerns_everybody_by_one_and_the_same_list() {
    let mut world = World::start().await;
    let names = tenants(&mut world, 2).await;
    let feature = OpenFeature::start(world.replica.server.registry.clone(), CancellationToken::new());
    let mut streams: Vec<_> = names
        .iter()
        .map(|name| feature.changes(selected(&format!("tenantId={name}")), None).unwrap())
        .collect();
    world.flag("fence", "off").await;
    for told in &mut streams {
        heard(told, "fence").await;
    }
    let flags = (0..200).map(|number| boolean_flag(&format!("flag-{number:05}"), "off")).collect();
    let set = v1::ApplyFlagsRequest { flags, ..Default::default() };
    world.replica.flags.apply_flags(set).await.unwrap();
    let mut lists = Vec::new();
    for told in &mut streams {
        let next = async {
            loop {
                match told.next().await.expect("the stream goes on").unwrap() {
                    Told::Changed(part) if part.flags.len() >= 200 => return part,
                    _ => {}
                }
            }
        };
        lists.push(tokio::time::timeout(PATIENCE, next).await.expect("it is told"));
    }
    assert!(Arc::ptr_eq(&lists[0], &lists[1]));
    world.stop().await;
}
