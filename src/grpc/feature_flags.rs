//! The service `FeatureFlags`.

mod evaluation;

use std::sync::Arc;

use prost::Message as _;
use tonic::{Request, Response, Status};

use super::Handler;
use super::convert::flag::{answer, apply, choice, file, segment};
use super::convert::{self, flag};
use super::frame::unframed;
use super::metadata::{command, now};
use super::status::status;
use crate::domain::error::Error;
use crate::domain::flag::InProcess;
use crate::domain::ids::{FlagKey, SegmentName, TenantId};
use crate::proto::v1::feature_flags_server::FeatureFlags;
use crate::proto::v1::{
    ApplyFlagsRequest, ApplyFlagsResponse, ArchiveFlagRequest, CreateFlagRequest, CreateSegmentRequest,
    DeleteFlagRequest, DeleteFlagResponse, DeleteSegmentRequest, EvaluateFlagRequest, EvaluateFlagResponse,
    EvaluateFlagsRequest, EvaluateFlagsResponse, ExplainFlagRequest, ExplainFlagResponse, ExportFlagsRequest,
    ExportFlagsResponse, Flag, GetFlagRequest, GetSegmentRequest, ImportFlagsRequest, ImportFlagsResponse,
    ListDependentsRequest, ListDependentsResponse, ListFlagsRequest, ListFlagsResponse, ListSegmentsRequest,
    ListSegmentsResponse, ListStaleFlagsRequest, ListStaleFlagsResponse, ListTenantOverridesRequest,
    ListTenantOverridesResponse, Segment, SetTenantOverrideRequest, SetTierDefaultRequest, TenantOverride,
    TierDefault, UpdateFlagRequest, UpdateSegmentRequest,
};
use crate::services::Freshness;
use crate::services::feature_flags::{
    FlagRemoval, ListFlags, export_flags, get_flag, get_segment, list_dependents, list_segments,
    list_tenant_overrides,
};
use crate::view::Snapshot;

/// Takes the request id out of a message and makes the command: `command!(request, message, "Method")`.
macro_rules! command {
    ($request:ident, $message:ident, $method:literal) => {{
        let request_id = std::mem::take(&mut $message.request_id);
        command($request.metadata(), $method, &$message, &request_id, $message.validate_only)?
    }};
}

#[tonic::async_trait]
impl FeatureFlags for Handler {
    async fn create_flag(&self, request: Request<CreateFlagRequest>) -> Result<Response<Flag>, Status> {
        let (handler, size) = (self.clone(), request.get_ref().encoded_len());
        let made = async move {
            let mut message = request.get_ref().clone();
            let command = command!(request, message, "CreateFlag");
            handler.registry.create_flag(flag::decode_new(message.flag)?, &command).await
        };
        let made = self.apart.run(size, made).await.map_err(|error| status(&error))?;
        let snapshot = self.registry.view.snapshot().ok();
        Ok(self.respond(flag::encode_judged(snapshot.as_deref(), &made, now())))
    }

    async fn get_flag(&self, request: Request<GetFlagRequest>) -> Result<Response<Flag>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let found = convert::id("flag_key", FlagKey::known(&request.get_ref().flag_key))
            .and_then(|key| get_flag(&snapshot, &key));
        let found = found.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, flag::encode(Some(&snapshot), &found, now())))
    }

    async fn list_flags(
        &self,
        request: Request<ListFlagsRequest>,
    ) -> Result<Response<ListFlagsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let message = request.into_inner();
        let list = ListFlags { filter: message.filter, order_by: message.order_by };
        let now = now();
        let in_process = InProcess::new(&snapshot.flags, now);
        let page = convert::page(message.page_size, message.page_token).and_then(|page| {
            let encode = |item: &Arc<_>| flag::encode_among(Some((&snapshot, &in_process)), item, now);
            convert::fit(&page, |page| list.run(&snapshot, page), encode)
        });
        let page = page.map_err(|error| status(&error))?;
        let response = ListFlagsResponse {
            flags: page.items,
            next_page_token: page.next_token,
            total_size: convert::count(page.total),
        };
        Ok(self.respond_at(&snapshot, response))
    }

    async fn update_flag(&self, request: Request<UpdateFlagRequest>) -> Result<Response<Flag>, Status> {
        let (handler, size) = (self.clone(), request.get_ref().encoded_len());
        let updated = async move {
            let mut message = request.get_ref().clone();
            let command = command!(request, message, "UpdateFlag");
            // What a variant may be hangs on the flag's type: a flag that another replica made must be seen first.
            let mut snapshot = handler.registry.view.snapshot()?;
            if message.flag.as_ref().is_some_and(|flag| snapshot.flags.flag(&flag.flag_key).is_none()) {
                snapshot = handler.registry.read(Freshness::Latest).await?;
            }
            let update = flag::decode_update(&snapshot, message)?;
            handler.registry.update_flag(update, &command).await
        };
        let updated = self.apart.run(size, updated).await.map_err(|error| status(&error))?;
        let snapshot = self.registry.view.snapshot().ok();
        Ok(self.respond(flag::encode_judged(snapshot.as_deref(), &updated, now())))
    }

    async fn delete_flag(
        &self,
        request: Request<DeleteFlagRequest>,
    ) -> Result<Response<DeleteFlagResponse>, Status> {
        let deleted = async {
            let mut message = request.get_ref().clone();
            let command = command!(request, message, "DeleteFlag");
            let removal = FlagRemoval {
                key: convert::id("flag_key", FlagKey::known(&message.flag_key))?,
                etag: convert::etag(message.etag),
                force: message.force,
                plan_etag: convert::etag(message.plan_etag),
            };
            self.registry.delete_flag(&removal, &command).await
        };
        let deleted = deleted.await.map_err(|error| status(&error))?;
        Ok(self.respond(answer::encode_deleted(&deleted)))
    }

    async fn set_tier_default(
        &self,
        request: Request<SetTierDefaultRequest>,
    ) -> Result<Response<TierDefault>, Status> {
        let set = async {
            let mut message = request.get_ref().clone();
            let command = command!(request, message, "SetTierDefault");
            let set = choice::decode_set_tier_default(message)?;
            let judged = self.registry.set_tier_default(&set, &command).await?;
            Ok(choice::encode_tier_default((set.flag, set.tier), &judged))
        };
        Ok(self.respond(set.await.map_err(|error| status(&error))?))
    }

    async fn set_tenant_override(
        &self,
        request: Request<SetTenantOverrideRequest>,
    ) -> Result<Response<TenantOverride>, Status> {
        let set = async {
            let mut message = request.get_ref().clone();
            let command = command!(request, message, "SetTenantOverride");
            let set = choice::decode_set_tenant_override(message)?;
            let judged = self.registry.set_tenant_override(&set, &command).await?;
            let impact = judged.impact.as_ref().map(answer::encode_impact);
            let snapshot = self.registry.view.snapshot()?;
            let warnings = evaluation::warnings(&snapshot, &set.tenant);
            let made = judged.made.as_ref().map(choice::encode_tenant_override);
            let cleared = || TenantOverride {
                flag_key: set.flag.to_string(),
                tenant_id: set.tenant.to_string(),
                ..TenantOverride::default()
            };
            Ok(TenantOverride { impact, warnings, ..made.unwrap_or_else(cleared) })
        };
        Ok(self.respond(set.await.map_err(|error| status(&error))?))
    }

    async fn list_tenant_overrides(
        &self,
        request: Request<ListTenantOverridesRequest>,
    ) -> Result<Response<ListTenantOverridesResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let page = list_overrides(&snapshot, request.into_inner()).map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, page))
    }

    async fn evaluate_flag(
        &self,
        request: Request<EvaluateFlagRequest>,
    ) -> Result<Response<EvaluateFlagResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let reply =
            self.evaluate_one(&snapshot, request.into_inner()).await.and_then(|reply| unframed(&reply));
        let answer = reply.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, answer))
    }

    async fn evaluate_flags(
        &self,
        request: Request<EvaluateFlagsRequest>,
    ) -> Result<Response<EvaluateFlagsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let request = request.into_inner();
        let asked = request.encode_to_vec().into();
        let reply = self.evaluate_many(&snapshot, request, &asked).await.and_then(|reply| unframed(&reply));
        let answer = reply.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, answer))
    }

    async fn explain_flag(
        &self,
        request: Request<ExplainFlagRequest>,
    ) -> Result<Response<ExplainFlagResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let explained = self.explain(snapshot.clone(), request.into_inner()).await;
        let answer = explained.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, answer))
    }

    async fn archive_flag(&self, request: Request<ArchiveFlagRequest>) -> Result<Response<Flag>, Status> {
        let archived = async {
            let mut message = request.get_ref().clone();
            let command = command!(request, message, "ArchiveFlag");
            let removal = FlagRemoval {
                key: convert::id("flag_key", FlagKey::known(&message.flag_key))?,
                etag: convert::etag(message.etag),
                force: message.force,
                plan_etag: None,
            };
            self.registry.archive_flag(&removal, &command).await
        };
        let archived = archived.await.map_err(|error| status(&error))?;
        let snapshot = self.registry.view.snapshot().ok();
        Ok(self.respond(flag::encode_judged(snapshot.as_deref(), &archived, now())))
    }

    async fn apply_flags(
        &self,
        request: Request<ApplyFlagsRequest>,
    ) -> Result<Response<ApplyFlagsResponse>, Status> {
        let (handler, size) = (self.clone(), request.get_ref().encoded_len());
        let applied = async move {
            let mut message = request.get_ref().clone();
            let command = command!(request, message, "ApplyFlags");
            handler.registry.apply_flags(&apply::decode(message)?, &command).await
        };
        let applied = self.apart.run(size, applied).await.map_err(|error| status(&error))?;
        Ok(self.respond(apply::encode(&applied)))
    }

    async fn import_flags(
        &self,
        request: Request<ImportFlagsRequest>,
    ) -> Result<Response<ImportFlagsResponse>, Status> {
        let (handler, size) = (self.clone(), request.get_ref().encoded_len());
        let imported = async move {
            let mut message = request.get_ref().clone();
            let command = command!(request, message, "ImportFlags");
            let import = file::decode_import(&message)?;
            let applied = handler.registry.import_flags(&import, &command).await?;
            Ok(file::encode_import(&applied, import.warnings()))
        };
        Ok(self.respond(self.apart.run(size, imported).await.map_err(|error: Error| status(&error))?))
    }

    async fn export_flags(
        &self,
        request: Request<ExportFlagsRequest>,
    ) -> Result<Response<ExportFlagsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let exported = file::decode_export(request.into_inner())
            .and_then(|export| export_flags(&snapshot, &export, now()));
        let exported = exported.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, file::encode_export(exported)))
    }

    async fn list_stale_flags(
        &self,
        request: Request<ListStaleFlagsRequest>,
    ) -> Result<Response<ListStaleFlagsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let message = request.into_inner();
        let listed = async {
            let page = convert::page(message.page_size, message.page_token)?;
            let list = ListFlags { filter: message.filter, order_by: String::new() };
            self.registry.list_stale_flags(&snapshot, &list, &page, now()).await
        };
        let page = listed.await.map_err(|error| status(&error))?;
        let response = ListStaleFlagsResponse {
            flags: page.items.iter().map(answer::encode_stale).collect(),
            next_page_token: page.next_token,
            total_size: convert::count(page.total),
        };
        Ok(self.respond_at(&snapshot, response))
    }

    async fn list_dependents(
        &self,
        request: Request<ListDependentsRequest>,
    ) -> Result<Response<ListDependentsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let message = request.into_inner();
        let page = convert::id("flag_key", FlagKey::known(&message.flag_key)).and_then(|key| {
            list_dependents(&snapshot, &key, &convert::page(message.page_size, message.page_token)?)
        });
        let page = page.map_err(|error| status(&error))?;
        let response = ListDependentsResponse {
            dependents: page.items.iter().map(answer::encode_dependent).collect(),
            next_page_token: page.next_token,
            total_size: convert::count(page.total),
        };
        Ok(self.respond_at(&snapshot, response))
    }

    async fn create_segment(
        &self,
        request: Request<CreateSegmentRequest>,
    ) -> Result<Response<Segment>, Status> {
        let (handler, size) = (self.clone(), request.get_ref().encoded_len());
        let made = async move {
            let mut message = request.get_ref().clone();
            let command = command!(request, message, "CreateSegment");
            handler.registry.create_segment(segment::decode_new(message.segment)?, &command).await
        };
        let made = self.apart.run(size, made).await.map_err(|error| status(&error))?;
        Ok(self.respond(segment::encode(None, &made)))
    }

    async fn get_segment(&self, request: Request<GetSegmentRequest>) -> Result<Response<Segment>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let found = convert::id("segment_name", SegmentName::parse(&request.get_ref().segment_name))
            .and_then(|name| get_segment(&snapshot, &name));
        let found = found.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, segment::encode(Some(&snapshot), &found)))
    }

    async fn list_segments(
        &self,
        request: Request<ListSegmentsRequest>,
    ) -> Result<Response<ListSegmentsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let message = request.into_inner();
        let page = convert::page(message.page_size, message.page_token).and_then(|page| {
            let encode = |item: &Arc<_>| segment::encode(Some(&snapshot), item);
            convert::fit(&page, |page| list_segments(&snapshot, page), encode)
        });
        let page = page.map_err(|error| status(&error))?;
        let response = ListSegmentsResponse {
            segments: page.items,
            next_page_token: page.next_token,
            total_size: convert::count(page.total),
        };
        Ok(self.respond_at(&snapshot, response))
    }

    async fn update_segment(
        &self,
        request: Request<UpdateSegmentRequest>,
    ) -> Result<Response<Segment>, Status> {
        let (handler, size) = (self.clone(), request.get_ref().encoded_len());
        let updated = async move {
            let mut message = request.get_ref().clone();
            let command = command!(request, message, "UpdateSegment");
            let update = segment::decode_update(message.segment, message.update_mask)?;
            handler.registry.update_segment(update, &command).await
        };
        let updated = self.apart.run(size, updated).await.map_err(|error| status(&error))?;
        let snapshot = self.registry.view.snapshot().ok();
        Ok(self.respond(segment::encode_judged(snapshot.as_deref(), &updated)))
    }

    async fn delete_segment(&self, request: Request<DeleteSegmentRequest>) -> Result<Response<()>, Status> {
        let (handler, size) = (self.clone(), request.get_ref().encoded_len());
        let deleted = async move {
            let mut message = request.get_ref().clone();
            let command = command!(request, message, "DeleteSegment");
            let name = convert::id("segment_name", SegmentName::parse(&message.segment_name))?;
            let etag = convert::etag(message.etag);
            handler.registry.delete_segment(&name, etag.as_deref(), &command).await
        };
        self.apart.run(size, deleted).await.map_err(|error| status(&error))?;
        Ok(self.respond(()))
    }
}

fn list_overrides(
    snapshot: &Snapshot,
    message: ListTenantOverridesRequest,
) -> Result<ListTenantOverridesResponse, Error> {
    let mut faults = convert::Faults::default();
    let flag_key = faults.optional_id("flag_key", &message.flag_key, FlagKey::known);
    let tenant_id = faults.optional_id("tenant_id", &message.tenant_id, TenantId::parse);
    faults.check(Some(()))?;
    let page = convert::page(message.page_size, message.page_token)?;
    let list = |page: &_| list_tenant_overrides(snapshot, flag_key.as_ref(), tenant_id.as_ref(), page);
    let page = convert::fit(&page, list, |own| choice::encode_tenant_override(own))?;
    Ok(ListTenantOverridesResponse {
        overrides: page.items,
        next_page_token: page.next_token,
        total_size: convert::count(page.total),
    })
}
