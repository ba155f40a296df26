//! Use cases: one folder per proto service, one file per verb where it has more than one step.
//!
//! A reading use case takes a [`Snapshot`] and answers. A changing one is a decision on a snapshot, made into one
//! conditional change by [`Registry::change`], which also answers repeated requests and decides again after a
//! conflict.

mod apart;
pub mod change;
pub mod costly;
pub mod feature_flags;
pub mod kept_answers;
pub mod lifecycle;
pub mod openfeature;
pub mod paging;
pub mod read;
pub mod tenant_health;
pub mod tenant_registry;
pub mod tiers;

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::change::Command;
use self::costly::Costly;
use self::kept_answers::KeptAnswers;
pub use self::lifecycle::StartOperation;
pub use self::read::Freshness;
use crate::cascade::Engine;
use crate::config;
use crate::domain::ids::TargetName;
use crate::domain::rule::Context;
use crate::metering::evaluations::Evaluations;
pub use crate::store::clock::{new_id, now};
use crate::store::connect::Database;
use crate::store::operations::Lease;
use crate::store::writer::Writer;
use crate::view::View;

/// Everything the use cases stand on.
#[derive(Clone)]
pub struct Registry {
    /// What is read.
    pub view: Arc<View>,
    /// What changes.
    pub writer: Writer,
    /// For what must be asked of the database itself: repeated requests, the newest revision.
    pub database: Database,
    /// Who makes operations true.
    pub engine: Engine,
    /// The systems that follow a tenant's state, in order of their names.
    pub targets: Arc<[TargetName]>,
    /// Under which lease this replica opens operations.
    pub lease: Lease,
    /// How often flags are evaluated.
    pub evaluations: Evaluations,
    /// Answers about all flags that may go out again.
    pub kept_answers: KeptAnswers,
    /// Where answers are made that take long.
    pub costly: Costly,
    /// Attributes that every evaluation of flags sees, whatever a caller says.
    pub static_context: Arc<Context>,
    /// How targets are verified.
    pub settings: config::Cascade,
    /// Deleted tenants whose purge waits for their children, as the replica that begins purges has counted them.
    pub purges_held: IntGauge,
    /// There is a bulk operation to look at.
    pub bulk_news: Arc<Notify>,
    /// The server is about to end: a call that waits for an operation answers it as it is.
    pub drain: CancellationToken,
}
