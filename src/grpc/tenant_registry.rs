//! The service `TenantRegistry`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::Handler;
use super::convert::{self, tenant};
use super::metadata::command;
use super::status::{rpc_status, status};
use super::watching::Watching;
use crate::domain::error::Error;
use crate::domain::ids::TenantId;
use crate::proto::v1::batch_create_tenants_response::{Result as Item, result::Outcome};
use crate::proto::v1::tenant_registry_server::TenantRegistry;
use crate::proto::v1::watch_tenants_response::ChangeType;
use crate::proto::v1::{
    BatchCreateTenantsRequest, BatchCreateTenantsResponse, BatchGetTenantsRequest, BatchGetTenantsResponse,
    CreateTenantRequest, GetStatisticsRequest, GetStatisticsResponse, GetTenantRequest, ListTenantsRequest,
    ListTenantsResponse, Tenant, UpdateTenantRequest, WatchTenantsRequest, WatchTenantsResponse,
};
use crate::services::tenant_registry::{
    BATCH_MAX, ListTenants, Shown, Watch, WatchTenants, Watched, get_tenant,
};
use crate::view::{Record, Snapshot, Statistics};

/// Tenants that a list may look at on the thread that serves; with more it moves to one that may block.
const INLINE_MAX: usize = 5_000;
/// Where tenants without a region or business unit are counted.
const UNSET: &str = "unset";

#[tonic::async_trait]
impl TenantRegistry for Handler {
    type WatchTenantsStream = Watching<WatchTenantsResponse>;

    async fn create_tenant(&self, request: Request<CreateTenantRequest>) -> Result<Response<Tenant>, Status> {
        let shown = async {
            let (new, command) = decode_create(request.metadata(), request.get_ref().clone())?;
            self.registry.create_tenant(new, &command).await
        };
        let shown = shown.await.map_err(|error| status(&error))?;
        Ok(self.respond(tenant::encode(&shown)))
    }

    async fn get_tenant(&self, request: Request<GetTenantRequest>) -> Result<Response<Tenant>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let record = find(&snapshot, &request.get_ref().tenant_id).map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, tenant::encode(&Shown::new(&snapshot, record))))
    }

    async fn batch_get_tenants(
        &self,
        request: Request<BatchGetTenantsRequest>,
    ) -> Result<Response<BatchGetTenantsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let found = batch_get(&snapshot, &request.get_ref().tenant_ids).map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, found))
    }

    async fn list_tenants(
        &self,
        request: Request<ListTenantsRequest>,
    ) -> Result<Response<ListTenantsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let message = request.into_inner();
        let page = convert::page(message.page_size, message.page_token).map_err(|error| status(&error))?;
        let list = ListTenants {
            filter: message.filter,
            order_by: message.order_by,
            show_deleted: message.show_deleted,
        };
        let listed = {
            let snapshot = Arc::clone(&snapshot);
            move || {
                let encode = |record: &Arc<_>| tenant::encode(&Shown::new(&snapshot, record));
                convert::fit(&page, |page| list.run(&snapshot, page), encode)
            }
        };
        let page = if snapshot.tenants.len() <= INLINE_MAX {
            listed()
        } else {
            tokio::task::spawn_blocking(listed).await.unwrap_or_else(|error| Err(Error::bug(error)))
        };
        let page = page.map_err(|error| status(&error))?;
        let response = ListTenantsResponse {
            tenants: page.items,
            next_page_token: page.next_token,
            total_size: convert::count(page.total),
        };
        Ok(self.respond_at(&snapshot, response))
    }

    async fn update_tenant(&self, request: Request<UpdateTenantRequest>) -> Result<Response<Tenant>, Status> {
        let updated = async {
            let mut message = request.get_ref().clone();
            let request_id = std::mem::take(&mut message.request_id);
            let command =
                command(request.metadata(), "UpdateTenant", &message, &request_id, message.validate_only)?;
            let update = tenant::decode_update(message)?;
            self.registry.update_tenant(update, &command).await
        };
        let shown = updated.await.map_err(|error| status(&error))?;
        Ok(self.respond(tenant::encode(&shown)))
    }

    async fn batch_create_tenants(
        &self,
        request: Request<BatchCreateTenantsRequest>,
    ) -> Result<Response<BatchCreateTenantsResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        if message.requests.is_empty() || message.requests.len() > BATCH_MAX {
            let error = Error::field("requests", format!("must have 1 to {BATCH_MAX} entries"));
            return Err(status(&error));
        }
        let items = message.requests.into_iter().map(|item| decode_create(&metadata, item)).collect();
        let results = self.registry.batch_create_tenants(items).await;
        let results = results
            .into_iter()
            .enumerate()
            .map(|(index, result)| {
                let outcome = match result {
                    Ok(shown) => Outcome::Tenant(tenant::encode(&shown)),
                    Err(error) => Outcome::Error(rpc_status(&error.within(&format!("requests[{index}].")))),
                };
                Item { outcome: Some(outcome) }
            })
            .collect();
        Ok(self.respond(BatchCreateTenantsResponse { results }))
    }

    async fn watch_tenants(
        &self,
        request: Request<WatchTenantsRequest>,
    ) -> Result<Response<Self::WatchTenantsStream>, Status> {
        let begin = async {
            let asked = decode_watch(request.get_ref().clone())?;
            self.registry.watch_tenants(&asked).await
        };
        self.watch(&request, begin, |watch| encode_watch(&watch)).await
    }

    async fn get_statistics(
        &self,
        request: Request<GetStatisticsRequest>,
    ) -> Result<Response<GetStatisticsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let counted = Arc::clone(&snapshot);
        let statistics = tokio::task::spawn_blocking(move || counted.statistics())
            .await
            .map_err(|error| status(&Error::bug(error)))?;
        Ok(self.respond_at(&snapshot, encode_statistics(&statistics)))
    }
}

fn decode_create(
    metadata: &tonic::metadata::MetadataMap,
    mut message: CreateTenantRequest,
) -> Result<(crate::domain::tenant::NewTenant, crate::services::Command), Error> {
    let request_id = std::mem::take(&mut message.request_id);
    let command = command(metadata, "CreateTenant", &message, &request_id, message.validate_only)?;
    Ok((tenant::decode_new(message.tenant)?, command))
}

/// The tenant that a request names.
pub(super) fn find<'a>(snapshot: &'a Snapshot, tenant_id: &str) -> Result<&'a Arc<Record>, Error> {
    // Only what is not there needs to be looked at more closely.
    match snapshot.tenants.get(tenant_id) {
        Some(record) => Ok(record),
        None => get_tenant(snapshot, &convert::id("tenant_id", TenantId::parse(tenant_id))?),
    }
}

fn batch_get(snapshot: &Snapshot, tenant_ids: &[String]) -> Result<BatchGetTenantsResponse, Error> {
    if tenant_ids.is_empty() || tenant_ids.len() > BATCH_MAX {
        return Err(Error::field("tenant_ids", format!("must have 1 to {BATCH_MAX} entries")));
    }
    let mut found = BatchGetTenantsResponse::default();
    for (index, text) in tenant_ids.iter().enumerate() {
        let tenant_id = TenantId::parse(text)
            .map_err(|invalid| Error::field(format!("tenant_ids[{index}]"), invalid.to_string()))?;
        match snapshot.tenant(&tenant_id) {
            Some(record) => found.tenants.push(tenant::encode(&Shown::new(snapshot, record))),
            None => found.missing_tenant_ids.push(text.clone()),
        }
    }
    Ok(found)
}

fn decode_watch(message: WatchTenantsRequest) -> Result<WatchTenants, Error> {
    let after = match message.start_revision {
        0 => None,
        number => Some(
            crate::domain::ids::Revision::from_i64(number)
                .ok_or_else(|| Error::field("start_revision", "must not be negative"))?,
        ),
    };
    Ok(WatchTenants { after, initial_snapshot: message.initial_snapshot, filter: message.filter })
}

fn encode_watch(watch: &Watch) -> WatchTenantsResponse {
    let (kind, record) = match &watch.what {
        Watched::Initial(record) => (ChangeType::Initial, Some(record)),
        Watched::InitialEnd => (ChangeType::InitialEnd, None),
        Watched::Changed(record) => (ChangeType::Changed, Some(record)),
        Watched::Removed(record) => (ChangeType::Removed, Some(record)),
        Watched::Bookmark => (ChangeType::Bookmark, None),
    };
    WatchTenantsResponse {
        r#type: kind.into(),
        tenant: record.map(|record| tenant::encode(&Shown::new(&watch.snapshot, record))),
        revision: watch.revision.as_i64(),
    }
}

fn encode_statistics(statistics: &Statistics) -> GetStatisticsResponse {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let named = |counts: &BTreeMap<Arc<str>, u64>| {
        let name = |name: &str| if name.is_empty() { UNSET.to_owned() } else { name.to_owned() };
        counts.iter().map(|(of, count)| (name(of), number(*count))).collect()
    };
    GetStatisticsResponse {
        total: number(statistics.total),
        by_status: statistics
            .by_status
            .iter()
            .map(|(status, count)| (status.as_str().to_ascii_lowercase(), number(*count)))
            .collect(),
        by_tier: statistics.by_tier.iter().map(|(tier, count)| (tier.to_string(), number(*count))).collect(),
        by_region: named(&statistics.by_region),
        by_business_unit: named(&statistics.by_business_unit),
        average_health_score: (statistics.average_health * 10.0).round() / 10.0,
        open_operations: number(statistics.open_operations),
        scheduled_operations: number(statistics.scheduled_operations),
    }
}
