//! OpenFeature's protocols as use cases: evaluate, hand out flag sets, tell of changes.
//!
//! The wire is elsewhere: `grpc::flagd` speaks flagd's services, `http::ofrep` OFREP.

mod announcer;
mod change;
mod flag_set;
mod news;
mod past;
mod recent;
mod resolve;
mod scope;
mod sets;
mod sizes;
mod stream;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use self::announcer::Announcer;
pub use self::change::{Change, Kind, Reach};
pub use self::flag_set::FlagSet;
pub use self::news::{Encode, Part};
pub use self::resolve::{Asked, Found, Resolution};
pub use self::scope::{Question, Scope, TENANT_ID};
use self::sets::Sets;
pub use self::stream::{KEEP_ALIVE, Told, Until};
use crate::domain::error::Error;
use crate::domain::flag::FlagType;
use crate::services::Registry;
use crate::services::kept_answers::{Answer, KeptAnswers};
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
        let announcer = Arc::new(Announcer::new());
        let (view, database) = (Arc::clone(&registry.view), registry.database.clone());
        tokio::spawn(Arc::clone(&announcer).run(view, database, drain.clone()));
        Self { registry, announcer, sets: Arc::new(Sets::new()), drain }
    }

    /// How many flag sets were made since the start, and of how many flags together that had to be worked out.
    pub fn flag_sets_made(&self) -> (u64, u64) {
        self.sets.counts()
    }

    /// Puts the sizes of flag sets among the metrics.
    ///
    /// # Errors
    ///
    /// When there are metrics of these names already.
    pub fn register_metrics(&self, registry: &prometheus::Registry) -> Result<(), prometheus::Error> {
        sizes::register_metrics(registry, &self.sets)
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, Error> {
        self.registry.view.snapshot()
    }

    /// Reads a question about flags as they are now. A client cannot give itself another tier: the tenant's own
    /// attributes are laid over the client's.
    pub fn ask(&self, question: &Question, attributes: Map<String, Value>) -> Result<Asked, Error> {
        let snapshot = self.snapshot()?;
        let scope = question.scope(&snapshot, &attributes)?;
        let context = self.registry.evaluation_context(&snapshot, scope.tenant.as_deref(), attributes)?;
        let evaluations = self.registry.evaluations.clone();
        Ok(Asked { snapshot, scope, context, now: crate::services::now(), evaluations })
    }

    /// One flag of any type.
    ///
    /// # Errors
    ///
    /// Where there is no such flag, it is broken, or the context makes its rules cost too much.
    pub async fn one(&self, asked: Asked, key: String) -> Result<Resolution, Error> {
        let answer = |(): &(), (asked, key): &(Asked, String), effort| asked.one(key, effort);
        self.registry.costly.answer(&(), (asked, key), answer).await
    }

    /// One flag of a type. A whole number is a number, and a number without fraction is a whole number.
    ///
    /// # Errors
    ///
    /// Those of [`Self::one`], and where the flag is of another type.
    pub async fn one_of_type(
        &self,
        asked: Asked,
        key: String,
        wanted: FlagType,
    ) -> Result<Resolution, Error> {
        let answer =
            move |(): &(), (asked, key): &(Asked, String), effort| asked.one_of_type(key, wanted, effort);
        self.registry.costly.answer(&(), (asked, key), answer).await
    }

    /// Every flag asked for as `encode` writes it, or as it wrote it before where nothing it follows from has changed.
    /// `context` is the client's, as it came.
    ///
    /// # Errors
    ///
    /// Where the context makes the flags' rules cost too much.
    pub async fn all_kept(
        &self,
        protocol: &'static str,
        asked: Asked,
        context: &[u8],
        encode: fn(&Asked, Vec<Found>) -> Bytes,
    ) -> Result<Bytes, Error> {
        let mut bytes = format!("{:?} {} ", asked.scope.flag_set, asked.scope.is_empty).into_bytes();
        bytes.extend_from_slice(context);
        if let Some(kept) = self.registry.kept_answers.find(&asked.kept(protocol, &bytes)) {
            asked.count_all();
            return Ok(kept.bytes);
        }
        let make = move |kept: &KeptAnswers, (asked, bytes): &(Asked, Vec<u8>), effort| {
            let answer = Answer::of_all(encode(asked, asked.all(effort)?));
            kept.offer(&asked.kept(protocol, bytes), &answer);
            asked.count_all();
            Ok(answer.bytes)
        };
        self.registry.costly.answer(&self.registry.kept_answers, (asked, bytes), make).await
    }
}
