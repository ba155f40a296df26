//! Wiring: the parts that serve one database.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::targets::{self, WiringError};
use crate::cascade::{self, Engine};
use crate::config::{self, Config};
use crate::domain::ids::Revision;
use crate::domain::operation::Patience;
use crate::domain::rule::Context;
use crate::metering::evaluations::Evaluations;
use crate::services::Registry;
use crate::store::connect::Database;
use crate::store::writer::Writer;
use crate::store::{Error, log};
use crate::view::{View, follower};

/// Puts the parts together and starts those that run by themselves; they stop with `stop`.
pub fn start(config: &Config, database: Database, stop: CancellationToken) -> Result<Registry, WiringError> {
    let view = Arc::new(View::new(config.view.stale_after, config.view.slow_reader_after));
    let (written, changes) = watch::channel(Revision::ZERO);
    let writer = Writer::start(database.clone(), written);
    tokio::spawn(announce(database.clone(), changes.clone(), stop.clone()));
    tokio::spawn(follower::follow(
        Arc::clone(&view),
        database.clone(),
        changes,
        config.view.poll_interval,
        stop.clone(),
    ));
    let settings = cascade::Settings {
        lease: config.cascade.lease,
        attempt_max: targets::longest_call(&config.cascade) * 2,
        patience: Patience { attempts_max: config.cascade.max_attempts },
    };
    let participants = targets::participants(&config.cascade, &database)?;
    let engine = Engine::start(
        cascade::Ground { view: Arc::clone(&view), writer: writer.clone(), database: database.clone() },
        participants,
        settings,
        stop.clone(),
    );
    let evaluations = Evaluations::new().map_err(|error| WiringError::Evaluations(error.to_string()))?;
    tokio::spawn(evaluations.clone().write(database.clone(), stop));
    Ok(Registry {
        view,
        writer,
        database,
        targets: engine.targets(),
        lease: engine.lease(),
        engine,
        evaluations,
        static_context: Arc::new(static_context(&config.flags)?),
    })
}

fn static_context(settings: &config::evaluation::Evaluation) -> Result<Context, WiringError> {
    let attributes = settings.context.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
    Context::new(attributes.collect()).map_err(|error| WiringError::Evaluations(error.to_string()))
}

/// Tells other replicas of this one's changes: after the commit, on another connection, and once for many.
async fn announce(database: Database, mut changes: watch::Receiver<Revision>, stop: CancellationToken) {
    loop {
        tokio::select! {
            told = changes.changed() => if told.is_err() { return },
            () = stop.cancelled() => return,
        }
        changes.borrow_and_update();
        let told: Result<(), Error> = async { log::notify(&**database.pooled().await?).await }.await;
        if let Err(error) = told {
            // Others poll.
            tracing::debug!(error = %error, "other replicas were not told of a change");
        }
    }
}
