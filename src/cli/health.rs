//! `tenantry health …` and `tenantry stats`.

use clap::Subcommand;
use serde_json::json;

use super::number::finite;
use super::output::show;
use super::{Context, Failure};

/// Commands about tenants' health.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Report what was measured.
    Report {
        /// Of which tenant.
        tenant_id: String,
        /// Latency in milliseconds that 95 % of its calls stay below.
        #[arg(long, value_parser = finite)]
        latency_p95_ms: f64,
        /// Share of calls that failed, 0 to 1.
        #[arg(long, value_parser = finite)]
        error_rate: f64,
        /// Share of queries that succeeded, 0 to 1.
        #[arg(long, value_parser = finite)]
        query_success_rate: f64,
        /// Share of its storage in use, 0 to 1.
        #[arg(long, value_parser = finite)]
        storage_utilization: f64,
    },
    /// Show the last report and the score.
    Get {
        /// Of which tenant.
        tenant_id: String,
    },
}

pub(super) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let answer = match command {
        Command::Report {
            tenant_id,
            latency_p95_ms,
            error_rate,
            query_success_rate,
            storage_utilization,
        } => {
            let signals = json!({
                "latencyP95Ms": latency_p95_ms,
                "errorRate": error_rate,
                "querySuccessRate": query_success_rate,
                "storageUtilization": storage_utilization,
            });
            let request = json!({ "tenantId": tenant_id, "signals": signals });
            context.change("TenantHealth/ReportSignals", request).await?
        }
        Command::Get { tenant_id } => {
            context.client.call("TenantHealth/GetTenantHealth", json!({ "tenantId": tenant_id })).await?
        }
    };
    show(context.connection.output, &answer)
}

pub(super) async fn stats(context: &Context<'_>) -> Result<(), Failure> {
    show(context.connection.output, &context.client.call("TenantRegistry/GetStatistics", json!({})).await?)
}
