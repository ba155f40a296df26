//! OpenFeature's protocols as use cases: evaluate, hand out flag sets, tell of changes.
//!
//! The wire is elsewhere: `grpc::flagd` speaks flagd's services, `http::ofrep` OFREP.

mod announcer;
mod change;
mod flag_set;
mod past;
mod resolve;
mod scope;
mod sets;
mod stream;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use self::announcer::Announcer;
pub use self::change::{Change, Kind, Reach};
pub use self::flag_set::FlagSet;
pub use self::resolve::{Asked, Found, Resolution};
pub use self::scope::{Question, Scope, TENANT_ID};
use self::sets::Sets;
pub use self::stream::{KEEP_ALIVE, Told, Until};
use crate::domain::error::Error;
use crate::services::{Registry, kept_answers};
use crate::view::Snapshot;

/// What OpenFeature's clients are served from. Cheap to clone.
#[derive(Clone)]
pub struct OpenFeature {
    registry: Registry,
    announcer: Arc<Announcer>,
    sets: Arc<Sets>,
    drain: CancellationToken,
}

impl OpenFeature {
    /// Starts to look for changes; it stops with `drain`, and so do its streams, with a last word.
    pub fn start(registry: Registry, drain: CancellationToken) -> Self {
        let announcer = Arc::new(Announcer::default());
        let (view, database) = (Arc::clone(&registry.view), registry.database.clone());
        tokio::spawn(Arc::clone(&announcer).run(view, database, drain.clone()));
        Self { registry, announcer, sets: Arc::new(Sets::new()), drain }
    }

    /// How many flag sets were made since the start, and of how many flags together that had to be worked out.
    pub fn flag_sets_made(&self) -> (u64, u64) {
        self.sets.counts()
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, Error> {
        self.registry.view.snapshot()
    }

    /// Reads a question about flags as they are now. A client cannot give itself another tier: the tenant's own
    /// attributes are laid over the client's.
    pub fn ask<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        question: &Question,
        attributes: Map<String, Value>,
    ) -> Result<Asked<'a>, Error> {
        let scope = question.scope(snapshot, &attributes)?;
        let context = self.registry.evaluation_context(snapshot, scope.tenant.as_deref(), attributes)?;
        let evaluations = &self.registry.evaluations;
        Ok(Asked { snapshot, scope, context, now: crate::services::now(), evaluations })
    }

    /// Every flag asked for as `encode` writes it, or as it wrote it before where nothing it follows from has changed.
    /// `context` is the client's, as it came. Refused is one that makes the flags' rules cost too much.
    pub fn all_kept(
        &self,
        protocol: &'static str,
        asked: &Asked<'_>,
        context: &[u8],
        encode: impl FnOnce(Vec<Found>) -> Bytes,
    ) -> Result<Bytes, Error> {
        let Scope { tenant, flag_set, is_empty } = &asked.scope;
        let mut bytes = format!("{flag_set:?} {is_empty} ").into_bytes();
        bytes.extend_from_slice(context);
        let (record, flags, now) = (tenant.as_ref(), &asked.snapshot.flags, asked.now);
        let tier = tenant.as_ref().and_then(|record| asked.snapshot.tier_of(record));
        let question = kept_answers::Question { protocol, bytes: &bytes, record, tier, flags, now };
        let make = || asked.all().map(|all| kept_answers::Answer::of_all(encode(all)));
        let answer = self.registry.kept_answers.answer(&question, make)?;
        asked.count_all();
        Ok(answer.bytes)
    }
}
