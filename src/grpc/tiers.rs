//! The service `Tiers`.

use tonic::{Request, Response, Status};

use super::Handler;
use super::convert::{self, tier};
use super::metadata::command;
use super::status::status;
use crate::domain::ids::TierId;
use crate::proto::v1::tiers_server::Tiers;
use crate::proto::v1::{
    CreateTierRequest, DeleteTierRequest, DeleteTierResponse, GetTierRequest, ListTiersRequest,
    ListTiersResponse, Tier, UpdateTierRequest,
};
use crate::services::tiers::{get_tier, list_tiers};

#[tonic::async_trait]
impl Tiers for Handler {
    async fn create_tier(&self, request: Request<CreateTierRequest>) -> Result<Response<Tier>, Status> {
        let made = async {
            let mut message = request.get_ref().clone();
            let request_id = std::mem::take(&mut message.request_id);
            let command =
                command(request.metadata(), "CreateTier", &message, &request_id, message.validate_only)?;
            self.registry.create_tier(tier::decode_new(message.tier)?, &command).await
        };
        let made = made.await.map_err(|error| status(&error))?;
        Ok(self.respond(tier::encode(&made)))
    }

    async fn get_tier(&self, request: Request<GetTierRequest>) -> Result<Response<Tier>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let found = convert::id("tier_id", TierId::parse(&request.get_ref().tier_id))
            .and_then(|tier_id| get_tier(&snapshot, &tier_id));
        let found = found.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, tier::encode(&found)))
    }

    async fn list_tiers(
        &self,
        request: Request<ListTiersRequest>,
    ) -> Result<Response<ListTiersResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let message = request.into_inner();
        let page = convert::page(message.page_size, message.page_token).and_then(|page| {
            convert::fit(&page, |page| list_tiers(&snapshot, page), |item| tier::encode(item))
        });
        let page = page.map_err(|error| status(&error))?;
        let response = ListTiersResponse {
            tiers: page.items,
            next_page_token: page.next_token,
            total_size: convert::count(page.total),
        };
        Ok(self.respond_at(&snapshot, response))
    }

    async fn update_tier(&self, request: Request<UpdateTierRequest>) -> Result<Response<Tier>, Status> {
        let updated = async {
            let mut message = request.get_ref().clone();
            let request_id = std::mem::take(&mut message.request_id);
            let command =
                command(request.metadata(), "UpdateTier", &message, &request_id, message.validate_only)?;
            let update = tier::decode_update(message.tier, message.update_mask)?;
            self.registry.update_tier(update, &command).await
        };
        let updated = updated.await.map_err(|error| status(&error))?;
        Ok(self.respond(tier::encode(&updated)))
    }

    async fn delete_tier(
        &self,
        request: Request<DeleteTierRequest>,
    ) -> Result<Response<DeleteTierResponse>, Status> {
        let deleted = async {
            let mut message = request.get_ref().clone();
            let request_id = std::mem::take(&mut message.request_id);
            let command =
                command(request.metadata(), "DeleteTier", &message, &request_id, message.validate_only)?;
            let tier_id = convert::id("tier_id", TierId::parse(&message.tier_id))?;
            self.registry.delete_tier(&tier_id, convert::etag(message.etag).as_deref(), &command).await
        };
        let removal = deleted.await.map_err(|error| status(&error))?;
        Ok(self.respond(tier::encode_removal(&removal)))
    }
}
