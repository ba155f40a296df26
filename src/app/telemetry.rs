//! Logs and traces: who hears what, in which form.

mod json;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::{FilterExt as _, FilterFn, Targets},
    layer::{Filter, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

use self::json::{JsonLines, Members};

const SERVICE: &str = "tenantry";
/// Time the collector gets to take the last spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Pretty on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Coloured lines for people.
    Pretty,
    /// One JSON object a line; the fields of all enclosing spans (`request_id`, `tenant_id`, `operation_id`) are in it.
    Json,
}

/// What is told to whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// The form of log lines, which go to standard error.
    pub format: Format,
    /// Which events are logged, in the `tracing` filter syntax: `info,tenantry::cascade=debug`. Spans at `info` and
    /// above always name the lines within them and are always traced.
    pub filter: String,
    /// Where traces go by OTLP over gRPC (`http://host:4317`); `None` sends none.
    pub otlp_endpoint: Option<String>,
    /// Share of the traces begun here that is exported, 0 to 1; traces begun by the caller follow the caller.
    pub sample_ratio: f64,
}

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter does not parse.
    #[error(
        "The log filter `{0}` is not valid: use a level, or levels by module as in `info,tenantry::cascade=debug`."
    )]
    Filter(String),
    /// The collector's address cannot be used.
    #[error("Traces cannot be sent to `{endpoint}`: it must be an http:// address of an OTLP collector.")]
    Exporter {
        /// The address as configured.
        endpoint: String,
        /// What the exporter said.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Somebody in this process was first.
    #[error("Logging has been started already in this process.")]
    AlreadyStarted,
}

/// Keeps the export of traces alive. Dropped, it sends what it still has, for 3 s at most.
#[derive(Debug)]
#[must_use = "dropping it ends the export of traces"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Guard {
    /// Sends what is still to be sent, without blocking the runtime that sends it.
    pub async fn flush(mut self) {
        if let Some(provider) = self.provider.take() {
            // The sending needs a free runtime thread, so the waiting goes elsewhere.
            let _ = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take() {
            // The process ends: there is nobody left to tell.
            let _ = provider.shutdown_with_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// Starts logging and, with an endpoint, the export of traces. Once per process; with an endpoint it must be called
/// within a multi-thread tokio runtime, which then does the sending.
///
/// # Errors
/// See [`Error`].
pub fn start(options: &Options) -> Result<Guard, Error> {
    let filter = filter(&options.filter)?;
    let is_pretty = match options.format {
        Format::Auto => io::stderr().is_terminal(),
        Format::Pretty => true,
        Format::Json => false,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = if is_pretty {
        lines.with_target(false).with_ansi(io::stderr().is_terminal()).boxed()
    } else {
        lines.event_format(JsonLines).fmt_fields(Members).boxed()
    };
    let provider = match &options.otlp_endpoint {
        Some(endpoint) => Some(provider(endpoint, options.sample_ratio)?),
        None => None,
    };
    // Filters of their own: a quiet log must not mean no traces, nor lines that do not say which call they belong to.
    let lines = lines.with_filter(spans().or(filter));
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer(SERVICE)).with_filter(LevelFilter::INFO)
    });
    tracing_subscriber::registry()
        .with(lines)
        .with(traces)
        .try_init()
        .map_err(|_cause| Error::AlreadyStarted)?;
    Ok(Guard { provider })
}

/// Which events are logged. One that looks at spans' fields looks at them whenever a span is entered, several times a
/// call; levels alone need not.
fn filter(text: &str) -> Result<Box<dyn Filter<Registry> + Send + Sync>, Error> {
    if let Ok(levels) = text.parse::<Targets>() {
        // The pool's lines say less than those of whoever asked it for a connection.
        return Ok(Box::new(levels.with_target("deadpool.postgres", LevelFilter::OFF)));
    }
    let filter = EnvFilter::try_new(text).map_err(|_cause| Error::Filter(text.to_owned()))?;
    Ok(Box::new(filter))
}

/// Lets every span pass that is not made for debugging.
fn spans() -> FilterFn {
    let is_plain: fn(&Metadata<'_>) -> bool =
        |metadata| metadata.is_span() && *metadata.level() <= Level::INFO;
    FilterFn::new(is_plain).with_max_level_hint(LevelFilter::INFO)
}

fn provider(endpoint: &str, sample_ratio: f64) -> Result<SdkTracerProvider, Error> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(FLUSH_TIMEOUT)
        .build()
        .map_err(|source| Error::Exporter { endpoint: endpoint.to_owned(), source })?;
    let resource = Resource::builder()
        .with_service_name(SERVICE)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio))))
        .with_resource(resource)
        .build())
}
