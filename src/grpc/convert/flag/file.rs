//! Flag files of other systems.

use super::super::{Faults, count, etag};
use super::{answer, apply};
use crate::domain::error::Error;
use crate::domain::flagd::File;
use crate::domain::ids::TenantId;
use crate::proto::v1;
use crate::services::feature_flags::{Applied, ExportFlags, Exported, ImportFlags, Manner};

pub(in crate::grpc) fn decode_import(message: &v1::ImportFlagsRequest) -> Result<ImportFlags, Error> {
    let mut faults = Faults::default();
    check_format(message.format, &mut faults);
    faults.check(Some(()))?;
    if message.content.is_empty() {
        return Err(Error::field("content", "must be set"));
    }
    let file = File::parse(&message.content).map_err(|error| {
        let field =
            if error.path == "file" { "content".to_owned() } else { format!("content.{}", error.path) };
        Error::field(field, error.why)
    })?;
    let manner = Manner {
        prune: message.prune,
        force: message.force,
        reset_kill_switches: apply::decode_reset(&message.reset_kill_switches)?,
        plan_etag: etag(message.plan_etag.clone()),
    };
    Ok(ImportFlags { file, manner })
}

pub(in crate::grpc) fn encode_import(applied: &Applied, warnings: Vec<String>) -> v1::ImportFlagsResponse {
    v1::ImportFlagsResponse {
        differences: applied.differences.iter().map(apply::encode_difference).collect(),
        impact: applied.impact.as_ref().map(answer::encode_impact),
        revision: applied.revision.as_i64(),
        removed: applied.removal.as_ref().map(answer::encode_removal),
        kept: applied.kept.iter().map(apply::encode_difference).collect(),
        plan_etag: apply::encode_plan_etag(applied),
        warnings: warnings.into_iter().chain(applied.warnings.iter().cloned()).collect(),
    }
}

pub(in crate::grpc) fn decode_export(message: v1::ExportFlagsRequest) -> Result<ExportFlags, Error> {
    let mut faults = Faults::default();
    check_format(message.format, &mut faults);
    let tenant = faults.optional_id("tenant_id", &message.tenant_id, TenantId::parse);
    faults.check(Some(ExportFlags { flag_set: message.flag_set, tenant }))
}

pub(in crate::grpc) fn encode_export(exported: Exported) -> v1::ExportFlagsResponse {
    v1::ExportFlagsResponse { content: exported.content, flags: count(exported.flags) }
}

/// There is one format; a client that is newer than the server may name another.
fn check_format(number: i32, faults: &mut Faults) {
    if v1::FlagFileFormat::try_from(number).is_err() {
        faults.add("format", format!("{number} is not a number of FlagFileFormat"));
    }
}
