//! The service `TenantHealth`.

use tonic::{Request, Response, Status};

use super::Handler;
use super::convert::{self, health};
use super::metadata::command;
use super::status::status;
use crate::domain::ids::TenantId;
use crate::proto::v1::tenant_health_server::TenantHealth;
use crate::proto::v1::{GetTenantHealthRequest, ReportSignalsRequest, TenantHealthStatus};
use crate::services::tenant_health::get_tenant_health;

#[tonic::async_trait]
impl TenantHealth for Handler {
    async fn report_signals(
        &self,
        request: Request<ReportSignalsRequest>,
    ) -> Result<Response<TenantHealthStatus>, Status> {
        let reported = async {
            let mut message = request.get_ref().clone();
            let request_id = std::mem::take(&mut message.request_id);
            let command =
                command(request.metadata(), "ReportSignals", &message, &request_id, message.validate_only)?;
            let tenant_id = convert::id("tenant_id", TenantId::parse(&message.tenant_id))?;
            let signals = health::decode_signals(message.signals)?;
            self.registry.report_signals(&tenant_id, signals, &command).await
        };
        let reported = reported.await.map_err(|error| status(&error))?;
        Ok(self.respond(health::encode(&reported.tenant_id, Some(&reported))))
    }

    async fn get_tenant_health(
        &self,
        request: Request<GetTenantHealthRequest>,
    ) -> Result<Response<TenantHealthStatus>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let found =
            convert::id("tenant_id", TenantId::parse(&request.get_ref().tenant_id)).and_then(|tenant_id| {
                let health = get_tenant_health(&snapshot, &tenant_id)?;
                Ok(health::encode(&tenant_id, health))
            });
        let found = found.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, found))
    }
}
