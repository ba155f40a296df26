//! Wiring: the parts that serve one database.

use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::targets::{self, WiringError};
use crate::cascade::{self, Engine};
use crate::config::{self, Config};
use crate::domain::ids::Revision;
use crate::domain::operation::Patience;
use crate::domain::rule::Context;
use crate::metering::evaluations::Evaluations;
use crate::services::costly::Costly;
use crate::services::kept_answers::KeptAnswers;
use crate::services::{Registry, lifecycle};
use crate::store::connect::Database;
use crate::store::writer::Writer;
use crate::store::{Error, log};
use crate::view::{View, follower};

/// The pause after other replicas were told of a change, in which more gather. Telling takes the database as long as
/// a small change does, so a busy writer must not pay for it each time; a fortieth of the 200 ms that they poll at.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(5);

/// Puts the parts together and starts those that run by themselves; they stop with `stop`. Calls that wait for something
/// to come true answer with `drain`, which comes before.
pub fn start(
    config: &Config,
    database: Database,
    drain: &CancellationToken,
    stop: &CancellationToken,
) -> Result<Registry, WiringError> {
    let view = Arc::new(View::new(
        config.view.stale_after,
        config.view.slow_reader_after,
        config.view.ended_operations,
    ));
    let (written, changes) = watch::channel(Revision::ZERO);
    let (unread, to_read) = watch::channel(Revision::ZERO);
    let own = Arc::clone(&view);
    let writer = Writer::start(database.clone(), move |committed| {
        let last = committed.last();
        if !own.take(committed) {
            advance(&unread, last);
        }
        advance(&written, last);
    });
    tokio::spawn(announce(database.clone(), changes, stop.clone()));
    tokio::spawn(follower::follow(
        Arc::clone(&view),
        database.clone(),
        to_read,
        config.view.poll_interval,
        stop.clone(),
    ));
    let settings = cascade::Settings {
        lease: config.cascade.lease,
        attempt_max: targets::longest_call(&config.cascade) * 2,
        patience: Patience { attempts_max: config.cascade.max_attempts },
        limits: cascade::Limits {
            concurrent_max: config.cascade.target_concurrency,
            failures_max: config.cascade.circuit_failures,
            cooldown: config.cascade.circuit_cooldown,
        },
    };
    let participants = targets::participants(config, &database)?;
    let engine = Engine::start(
        cascade::Ground { view: Arc::clone(&view), writer: writer.clone(), database: database.clone() },
        participants,
        settings,
        stop.clone(),
    )?;
    let evaluations = Evaluations::new(config.flags.tenant_series)
        .map_err(|error| WiringError::Evaluations(error.to_string()))?;
    tokio::spawn(evaluations.clone().write(database.clone(), stop.clone()));
    let purges_held = IntGauge::new(
        "tenantry_purges_held",
        "Deleted tenants whose purge waits for tenants that name them as their parent; 0 where another replica begins purges.",
    )?;
    let registry = Registry {
        view,
        writer,
        database,
        targets: engine.targets(),
        lease: engine.lease(),
        engine,
        settings: config.cascade.clone(),
        purges_held,
        bulk_news: Arc::default(),
        evaluations,
        kept_answers: KeptAnswers::default(),
        costly: Costly::new(),
        static_context: Arc::new(static_context(&config.flags)?),
        drain: drain.clone(),
    };
    lifecycle::start_background(&registry, stop);
    Ok(registry)
}

fn static_context(settings: &config::evaluation::Evaluation) -> Result<Context, WiringError> {
    let attributes = settings.context.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    Context::new(attributes.collect()).map_err(|error| WiringError::Evaluations(error.to_string()))
}

/// Wakes whoever waits for a change; an old one that turned up again takes nothing back.
fn advance(newest: &watch::Sender<Revision>, revision: Revision) {
    newest.send_modify(|newest| *newest = revision.max(*newest));
}

/// Tells other replicas of this one's changes: after the commit, on another connection, and once for many.
async fn announce(database: Database, mut changes: watch::Receiver<Revision>, stop: CancellationToken) {
    loop {
        tokio::select! {
            told = changes.changed() => if told.is_err() { return },
            () = stop.cancelled() => return,
        }
        let newest = *changes.borrow_and_update();
        let told: Result<(), Error> = async { log::notify(&**database.pooled().await?, newest).await }.await;
        if let Err(error) = told {
            // Others poll.
            tracing::debug!(error = %error, "other replicas were not told of a change");
        }
        tokio::select! {
            () = tokio::time::sleep(ANNOUNCE_PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}
