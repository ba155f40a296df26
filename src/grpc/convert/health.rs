//! Health.

use super::tenant::encode_level;
use super::{Faults, timestamp};
use crate::domain::error::Error;
use crate::domain::health::{Score, Signals, penalties};
use crate::domain::ids::TenantId;
use crate::domain::tenant::Health;
use crate::proto::v1;

pub(in crate::grpc) fn decode_signals(message: Option<v1::Signals>) -> Result<Signals, Error> {
    let Some(message) = message else { return Err(Error::field("signals", "must be set")) };
    let mut faults = Faults::default();
    let mut require = |field: &str, value: Option<f64>| {
        let value = value.unwrap_or_else(|| {
            faults.add(format!("signals.{field}"), "must be set");
            0.0
        });
        // The database does not tell -0 from 0, so nobody else may.
        value + 0.0
    };
    let signals = Signals {
        latency_p95_ms: require("latency_p95_ms", message.latency_p95_ms),
        error_rate: require("error_rate", message.error_rate),
        query_success_rate: require("query_success_rate", message.query_success_rate),
        storage_utilization: require("storage_utilization", message.storage_utilization),
    };
    if let Err(invalid) = signals.check() {
        faults.add(format!("signals.{}", invalid.field), invalid.why);
    }
    faults.check(Some(signals))
}

pub(in crate::grpc) fn encode(tenant_id: &TenantId, health: Option<&Health>) -> v1::TenantHealthStatus {
    let score = health.map_or(Score::BEST, |health| health.score);
    v1::TenantHealthStatus {
        tenant_id: tenant_id.to_string(),
        health_score: i32::from(score.get()),
        health_level: encode_level(score.level()).into(),
        signals: health.map(|health| v1::Signals {
            latency_p95_ms: Some(health.signals.latency_p95_ms),
            error_rate: Some(health.signals.error_rate),
            query_success_rate: Some(health.signals.query_success_rate),
            storage_utilization: Some(health.signals.storage_utilization),
        }),
        report_time: health.map(|health| timestamp(health.report_time)),
        penalties: health
            .and_then(|health| penalties(&health.signals).ok())
            .map(|penalties| penalties.by_signal())
            .into_iter()
            .flatten()
            .filter(|(_, points)| *points > 0.0)
            .map(|(signal, points)| (signal.to_owned(), points))
            .collect(),
    }
}
