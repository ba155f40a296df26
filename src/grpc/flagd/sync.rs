//! `flagd.sync.v1`: flag sets for in-process providers.

use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status};

use super::{Events, Flagd, encode_struct, question, status};
use crate::proto::flagd::sync::v1::flag_sync_service_server::FlagSyncService;
use crate::proto::flagd::sync::v1::{
    FetchAllFlagsRequest, FetchAllFlagsResponse, GetMetadataRequest, GetMetadataResponse, SyncFlagsRequest,
    SyncFlagsResponse,
};
use crate::services::openfeature::FlagSet;

#[tonic::async_trait]
impl FlagSyncService for Flagd {
    type SyncFlagsStream = Events<SyncFlagsResponse>;

    async fn sync_flags(
        &self,
        request: Request<SyncFlagsRequest>,
    ) -> Result<Response<Self::SyncFlagsStream>, Status> {
        let question = question(request.metadata(), &request.get_ref().selector);
        let sets = question.and_then(|question| self.feature.flag_sets(question));
        let sets = sets.map_err(|error| status(&error))?;
        let encoded = sets.map(|set| match set {
            Ok(set) => Ok(encode(&set)),
            Err(error) => Err(status(&error)),
        });
        Ok(Response::new(Box::pin(encoded)))
    }

    async fn fetch_all_flags(
        &self,
        request: Request<FetchAllFlagsRequest>,
    ) -> Result<Response<FetchAllFlagsResponse>, Status> {
        let question = question(request.metadata(), &request.get_ref().selector);
        let question = question.map_err(|error| status(&error))?;
        let set = self.feature.flag_set(&question).await.map_err(|error| status(&error))?;
        Ok(Response::new(FetchAllFlagsResponse { flag_configuration: set.configuration.clone() }))
    }

    async fn get_metadata(
        &self,
        request: Request<GetMetadataRequest>,
    ) -> Result<Response<GetMetadataResponse>, Status> {
        let context =
            question(request.metadata(), "").and_then(|question| self.feature.flag_set_context(&question));
        let context = context.map_err(|error| status(&error))?;
        Ok(Response::new(GetMetadataResponse { metadata: Some(encode_struct(context.to_map())) }))
    }
}

fn encode(set: &FlagSet) -> SyncFlagsResponse {
    SyncFlagsResponse {
        flag_configuration: set.configuration.clone(),
        sync_context: Some(encode_struct(set.context.to_map())),
    }
}
