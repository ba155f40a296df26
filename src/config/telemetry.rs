//! Logs and traces.

use super::{
    Error,
    setting::{Kind, Setting, setting},
    values::Values,
};

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// Coloured lines for people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// What is told to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The form of log lines.
    pub log_format: LogFormat,
    /// Which spans and events are logged, in the `tracing` filter syntax: `info,tenantry::cascade=debug`.
    pub log_filter: String,
    /// Where traces go by OTLP over gRPC; unset sends none.
    pub otlp_endpoint: Option<String>,
}

pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "telemetry.log_format",
        "log-format",
        Some("auto"),
        Kind::Text,
        "Form of log lines: auto (pretty on a terminal), pretty or json.",
    ),
    setting(
        "telemetry.log_filter",
        "log-filter",
        Some("info"),
        Kind::Text,
        "What is logged: a level, or levels by module as in info,tenantry::cascade=debug.",
    ),
    setting(
        "telemetry.otlp_endpoint",
        "otlp-endpoint",
        None,
        Kind::Text,
        "Collector that receives traces by OTLP over gRPC: http://host:4317.",
    ),
];

impl Telemetry {
    pub(super) fn read(values: &Values) -> Result<Self, Error> {
        let filter = values.text("telemetry.log_filter")?;
        if filter.parse::<tracing_subscriber::filter::Targets>().is_err()
            && filter.parse::<tracing_subscriber::EnvFilter>().is_err()
        {
            return Err(values.invalid("telemetry.log_filter", "a log filter such as `info`", &filter));
        }
        let otlp_endpoint = values.optional_text("telemetry.otlp_endpoint");
        if let Some(endpoint) = &otlp_endpoint {
            let scheme = endpoint.starts_with("http://") || endpoint.starts_with("https://");
            if endpoint.contains('@') || !scheme || endpoint.parse::<http::Uri>().is_err() {
                return Err(values.invalid(
                    "telemetry.otlp_endpoint",
                    "an http:// or https:// URL without credentials",
                    if endpoint.contains('@') { "one with credentials" } else { endpoint },
                ));
            }
        }
        Ok(Self {
            log_format: values.choice(
                "telemetry.log_format",
                &[("auto", LogFormat::Auto), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)],
            )?,
            log_filter: filter,
            otlp_endpoint,
        })
    }
}
