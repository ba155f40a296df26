//! Logs and traces.
//!
//! Pretty on a terminal, JSON elsewhere; every line carries the fields of the spans around it, so the request id, the
//! tenant and the operation are on each. Traces go to a collector by OTLP where one is configured.

use std::io::{self, IsTerminal as _};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use super::Error;
use crate::config::Telemetry;
use crate::config::telemetry::LogFormat;

/// Flushes traces at the end.
pub struct Guard {
    traces: Option<SdkTracerProvider>,
}

impl Guard {
    /// Sends what is still to be sent.
    pub fn stop(self) {
        if let Some(traces) = self.traces
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!(error = %error, "the last traces could not be sent");
        }
    }
}

/// Starts logs and traces for this process. A second call keeps those of the first.
pub fn start(settings: &Telemetry) -> Result<Guard, Error> {
    let pretty = match settings.log_format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = if pretty {
        lines.compact().with_ansi(io::stderr().is_terminal()).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
    };
    let traces = settings.otlp_endpoint.as_deref().map(exporter).transpose()?;
    let spans =
        traces.as_ref().map(|traces| tracing_opentelemetry::layer().with_tracer(traces.tracer("tenantry")));
    let filter =
        EnvFilter::try_new(&settings.log_filter).map_err(|error| Error::Failed(error.to_string()))?;
    let started = tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).try_init();
    if started.is_err() {
        tracing::debug!("logs were started before");
    }
    Ok(Guard { traces })
}

fn exporter(endpoint: &str) -> Result<SdkTracerProvider, Error> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| Error::Failed(format!("traces cannot be sent to {endpoint}: {error}")))?;
    let resource = opentelemetry_sdk::Resource::builder().with_service_name("tenantry").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
