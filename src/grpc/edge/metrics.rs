//! Counts and times of calls and connections, under the names that gRPC dashboards know.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};
use prost_reflect::DescriptorPool;
use tonic::Code;

use super::{
    methods::{Method, Methods, Shape},
    protocol::Written,
};

/// Why a connection is refused: see `acceptor::Full` and `connection::Early`.
const REFUSED: [&str; 5] = ["server_full", "peer_full", "silent", "other_protocol", "gone"];
/// Seconds; a read takes tens of microseconds, a write some milliseconds, a cascade up to 30 s.
const BUCKETS: &[f64] = &[0.0001, 0.00025, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
const CODES: usize = 17;
const UNKNOWN: &str = "unknown";

/// The edge's metrics; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    handled: IntCounterVec,
    seconds: HistogramVec,
    pub(super) calls_open: IntGauge,
    pub(super) streams_open: IntGauge,
    pub(super) connections_open: IntGauge,
    pub(super) connections_refused: IntCounterVec,
}

impl Metrics {
    /// Makes the metrics and registers them: `grpc_server_handled_total`, `grpc_server_handling_seconds` (by type,
    /// service and method, the first also by code), `tenantry_calls_open` (by kind), `tenantry_connections_open` and
    /// `tenantry_connections_refused_total` (by reason).
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let labels = ["grpc_type", "grpc_service", "grpc_method", "grpc_code"];
        let handled = IntCounterVec::new(
            Opts::new("grpc_server_handled_total", "Calls that ended, by how they ended."),
            &labels,
        )?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "grpc_server_handling_seconds",
                "Time from a call's headers to its end, in seconds.",
            )
            .buckets(BUCKETS.to_vec()),
            &labels[..3],
        )?;
        let open = IntGaugeVec::new(Opts::new("tenantry_calls_open", "Calls being served."), &["kind"])?;
        let connections_open =
            IntGauge::new("tenantry_connections_open", "Open connections of all listeners.")?;
        let connections_refused = IntCounterVec::new(
            Opts::new("tenantry_connections_refused_total", "Connections closed before their first call."),
            &["reason"],
        )?;
        // A series that is born with its first event has not grown when it is first seen.
        for reason in REFUSED {
            connections_refused.with_label_values(&[reason]);
        }
        registry.register(Box::new(handled.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(open.clone()))?;
        registry.register(Box::new(connections_open.clone()))?;
        registry.register(Box::new(connections_refused.clone()))?;
        Ok(Self {
            handled,
            seconds,
            calls_open: open.with_label_values(&["unary"]),
            streams_open: open.with_label_values(&["stream"]),
            connections_open,
            connections_refused,
        })
    }
}

/// A method with its series looked up once, not per call.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) method: Method,
    /// Paths outside the contract share one entry, and are not believed to be unary or streaming.
    pub(super) is_known: bool,
    seconds: Histogram,
    by_code: [OnceLock<IntCounter>; CODES],
    handled: IntCounterVec,
}

impl Served {
    fn new(method: Method, is_known: bool, metrics: &Metrics) -> Self {
        let labels = [method.shape.label(), &method.service, &method.name];
        Self {
            seconds: metrics.seconds.with_label_values(&labels),
            by_code: [const { OnceLock::new() }; CODES],
            handled: metrics.handled.clone(),
            method,
            is_known,
        }
    }

    pub(super) fn ended(&self, code: Code, took: Duration) {
        self.seconds.observe(took.as_secs_f64());
        let Some(slot) = usize::try_from(i32::from(code)).ok().and_then(|index| self.by_code.get(index))
        else {
            return;
        };
        let counter = slot.get_or_init(|| {
            let Method { service, name, shape, .. } = &self.method;
            self.handled.with_label_values(&[shape.label(), service, name, code_name(code)])
        });
        counter.inc();
    }
}

/// Every served method by path.
#[derive(Debug)]
pub(super) struct Table {
    by_path: HashMap<String, Arc<Served>>,
    other: Arc<Served>,
    /// Where the types of error details are found.
    pub(super) pools: Arc<[DescriptorPool]>,
    /// Large messages that streams have in common.
    pub(super) written: Arc<Written>,
}

impl Table {
    pub(super) fn new(methods: Methods, metrics: &Metrics) -> Self {
        let other = Method {
            service: UNKNOWN.to_owned(),
            name: UNKNOWN.to_owned(),
            shape: Shape::default(),
            deadline: None,
            message_bytes_max: None,
            bounds: super::items::Bounds::default(),
            has_no_side_effects: false,
            messages: None,
        };
        let served = |(path, method)| (path, Arc::new(Served::new(method, true, metrics)));
        Self {
            by_path: methods.by_path.into_iter().map(served).collect(),
            other: Arc::new(Served::new(other, false, metrics)),
            pools: methods.pools.into(),
            written: Arc::default(),
        }
    }

    pub(super) fn get(&self, path: &str) -> &Arc<Served> {
        self.by_path.get(path).unwrap_or(&self.other)
    }
}

/// The code as the label `grpc_code`.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
