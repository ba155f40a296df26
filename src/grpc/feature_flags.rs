//! The service `FeatureFlags`.

use tonic::{Request, Response, Status};

use super::Handler;
use super::convert::{self, flag};
use super::metadata::{command, now};
use super::status::status;
use crate::domain::error::Error;
use crate::domain::ids::{FlagKey, TenantId};
use crate::proto::v1::feature_flags_server::FeatureFlags;
use crate::proto::v1::{
    CreateFlagRequest, DeleteFlagRequest, EvaluateFlagRequest, EvaluateFlagResponse, EvaluateFlagsRequest,
    EvaluateFlagsResponse, ExplainFlagRequest, ExplainFlagResponse, Flag, GetFlagRequest, ListFlagsRequest,
    ListFlagsResponse, ListTenantOverridesRequest, ListTenantOverridesResponse, SetTenantOverrideRequest,
    SetTierDefaultRequest, TenantOverride, TierDefault, UpdateFlagRequest,
};
use crate::services::Freshness;
use crate::services::feature_flags::{get_flag, list_flags, list_tenant_overrides};
use crate::services::tenant_registry::get_tenant;
use crate::view::Snapshot;

/// Most flags asked for by name in one call.
const KEYS_MAX: usize = 1_000;

#[tonic::async_trait]
impl FeatureFlags for Handler {
    async fn create_flag(&self, request: Request<CreateFlagRequest>) -> Result<Response<Flag>, Status> {
        let made = async {
            let mut message = request.get_ref().clone();
            let request_id = std::mem::take(&mut message.request_id);
            let command =
                command(request.metadata(), "CreateFlag", &message, &request_id, message.validate_only)?;
            self.registry.create_flag(flag::decode_new(message.flag)?, &command).await
        };
        let made = made.await.map_err(|error| status(&error))?;
        Ok(self.respond(flag::encode(None, &made)))
    }

    async fn get_flag(&self, request: Request<GetFlagRequest>) -> Result<Response<Flag>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let found = convert::id("flag_key", FlagKey::parse(&request.get_ref().flag_key))
            .and_then(|key| get_flag(&snapshot, &key));
        let found = found.map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, flag::encode(Some(&snapshot), &found)))
    }

    async fn list_flags(
        &self,
        request: Request<ListFlagsRequest>,
    ) -> Result<Response<ListFlagsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let message = request.into_inner();
        let page = convert::page(message.page_size, message.page_token)
            .and_then(|page| list_flags(&snapshot, &page));
        let page = page.map_err(|error| status(&error))?;
        let response = ListFlagsResponse {
            flags: page.items.iter().map(|item| flag::encode(Some(&snapshot), item)).collect(),
            next_page_token: page.next_token,
            total_size: convert::count(page.total),
        };
        Ok(self.respond_at(&snapshot, response))
    }

    async fn update_flag(&self, request: Request<UpdateFlagRequest>) -> Result<Response<Flag>, Status> {
        let updated = async {
            let mut message = request.get_ref().clone();
            let request_id = std::mem::take(&mut message.request_id);
            let command =
                command(request.metadata(), "UpdateFlag", &message, &request_id, message.validate_only)?;
            // What a variant may be hangs on the flag's type: a flag that another replica made must be seen first.
            let mut snapshot = self.registry.view.snapshot()?;
            if message.flag.as_ref().is_some_and(|flag| snapshot.flags.flag(&flag.flag_key).is_none()) {
                snapshot = self.registry.read(Freshness::Latest).await?;
            }
            let update = flag::decode_update(&snapshot, message.flag, message.update_mask)?;
            self.registry.update_flag(update, &command).await
        };
        let updated = updated.await.map_err(|error| status(&error))?;
        let snapshot = self.registry.view.snapshot().ok();
        Ok(self.respond(flag::encode(snapshot.as_deref(), &updated)))
    }

    async fn delete_flag(&self, request: Request<DeleteFlagRequest>) -> Result<Response<()>, Status> {
        let deleted = async {
            let mut message = request.get_ref().clone();
            let request_id = std::mem::take(&mut message.request_id);
            let command =
                command(request.metadata(), "DeleteFlag", &message, &request_id, message.validate_only)?;
            let key = convert::id("flag_key", FlagKey::parse(&message.flag_key))?;
            self.registry.delete_flag(&key, convert::etag(message.etag).as_deref(), &command).await
        };
        deleted.await.map_err(|error| status(&error))?;
        Ok(self.respond(()))
    }

    async fn set_tier_default(
        &self,
        request: Request<SetTierDefaultRequest>,
    ) -> Result<Response<TierDefault>, Status> {
        let set = async {
            let mut message = request.get_ref().clone();
            let request_id = std::mem::take(&mut message.request_id);
            let command =
                command(request.metadata(), "SetTierDefault", &message, &request_id, message.validate_only)?;
            let set = flag::decode_set_tier_default(&message)?;
            self.registry.set_tier_default(&set, &command).await
        };
        let set = set.await.map_err(|error| status(&error))?;
        let message = request.into_inner();
        let response = set.map_or_else(
            || TierDefault { flag_key: message.flag_key, tier_id: message.tier_id, ..TierDefault::default() },
            |default| flag::encode_tier_default(&default),
        );
        Ok(self.respond(response))
    }

    async fn set_tenant_override(
        &self,
        request: Request<SetTenantOverrideRequest>,
    ) -> Result<Response<TenantOverride>, Status> {
        let set = async {
            let mut message = request.get_ref().clone();
            let request_id = std::mem::take(&mut message.request_id);
            let command = command(
                request.metadata(),
                "SetTenantOverride",
                &message,
                &request_id,
                message.validate_only,
            )?;
            let set = flag::decode_set_tenant_override(&message)?;
            self.registry.set_tenant_override(&set, &command).await
        };
        let set = set.await.map_err(|error| status(&error))?;
        let message = request.into_inner();
        let response = set.map_or_else(
            || TenantOverride {
                flag_key: message.flag_key,
                tenant_id: message.tenant_id,
                ..TenantOverride::default()
            },
            |own| flag::encode_tenant_override(&own),
        );
        Ok(self.respond(response))
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
        let message = request.get_ref();
        let answer =
            evaluate_one(&snapshot, &message.tenant_id, &message.flag_key).map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, answer))
    }

    async fn evaluate_flags(
        &self,
        request: Request<EvaluateFlagsRequest>,
    ) -> Result<Response<EvaluateFlagsResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let answer = evaluate_many(&snapshot, request.get_ref()).map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, answer))
    }

    async fn explain_flag(
        &self,
        request: Request<ExplainFlagRequest>,
    ) -> Result<Response<ExplainFlagResponse>, Status> {
        let snapshot = self.snapshot(&request).await?;
        let message = request.get_ref();
        let answer =
            explain(&snapshot, &message.tenant_id, &message.flag_key).map_err(|error| status(&error))?;
        Ok(self.respond_at(&snapshot, answer))
    }
}

fn list_overrides(
    snapshot: &Snapshot,
    message: ListTenantOverridesRequest,
) -> Result<ListTenantOverridesResponse, Error> {
    let mut faults = convert::Faults::default();
    let flag_key = faults.optional_id("flag_key", &message.flag_key, FlagKey::parse);
    let tenant_id = faults.optional_id("tenant_id", &message.tenant_id, TenantId::parse);
    faults.check(Some(()))?;
    let page = convert::page(message.page_size, message.page_token)?;
    let page = list_tenant_overrides(snapshot, flag_key.as_ref(), tenant_id.as_ref(), &page)?;
    Ok(ListTenantOverridesResponse {
        overrides: page.items.iter().map(|own| flag::encode_tenant_override(own)).collect(),
        next_page_token: page.next_token,
        total_size: convert::count(page.total),
    })
}

/// The ids of a question, both checked.
fn decode_question(tenant_id: &str, flag_key: &str) -> Result<(TenantId, FlagKey), Error> {
    let mut faults = convert::Faults::default();
    let tenant_id = faults.id("tenant_id", TenantId::parse(tenant_id));
    let flag_key = faults.id("flag_key", FlagKey::parse(flag_key));
    faults.check(tenant_id.zip(flag_key))
}

fn evaluate_one(snapshot: &Snapshot, tenant_id: &str, flag_key: &str) -> Result<EvaluateFlagResponse, Error> {
    let (tenant_id, flag_key) = decode_question(tenant_id, flag_key)?;
    let record = get_tenant(snapshot, &tenant_id)?;
    let evaluation = snapshot.flags.evaluate(&record.facts(), flag_key.as_str(), now());
    Ok(flag::encode_evaluation(flag_key.as_str(), &evaluation))
}

/// Evaluates the flags asked for, or all of them. In bulk an unknown flag, or a name that can be none, is an answer
/// and not an error.
fn evaluate_many(
    snapshot: &Snapshot,
    message: &EvaluateFlagsRequest,
) -> Result<EvaluateFlagsResponse, Error> {
    if message.flag_keys.len() > KEYS_MAX {
        return Err(Error::field("flag_keys", format!("must have at most {KEYS_MAX} entries")));
    }
    let tenant_id = convert::id("tenant_id", TenantId::parse(&message.tenant_id))?;
    let record = get_tenant(snapshot, &tenant_id)?;
    let (facts, now) = (record.facts(), now());
    let mut answer = EvaluateFlagsResponse::default();
    if message.flag_keys.is_empty() {
        let all = snapshot.flags.evaluate_all(&facts, now);
        answer.flags =
            all.map(|(key, evaluation)| flag::encode_evaluation(key.as_str(), &evaluation)).collect();
    }
    for key in &message.flag_keys {
        let evaluation = snapshot.flags.evaluate(&facts, key, now);
        if evaluation.error_code().is_some() {
            answer.warnings.push(format!("there is no flag {}", crate::domain::text::quote(key)));
        }
        answer.flags.push(flag::encode_evaluation(key, &evaluation));
    }
    Ok(answer)
}

fn explain(snapshot: &Snapshot, tenant_id: &str, flag_key: &str) -> Result<ExplainFlagResponse, Error> {
    let (tenant_id, flag_key) = decode_question(tenant_id, flag_key)?;
    let record = get_tenant(snapshot, &tenant_id)?;
    let (facts, now) = (record.facts(), now());
    let evaluation = snapshot.flags.evaluate(&facts, flag_key.as_str(), now);
    let layers = snapshot.flags.explain(&facts, flag_key.as_str(), now);
    Ok(ExplainFlagResponse {
        result: Some(flag::encode_evaluation(flag_key.as_str(), &evaluation)),
        layers: layers.iter().map(flag::encode_explanation).collect(),
    })
}
