//! Wiring: the parts that serve one database.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cascade::{self, Engine};
use crate::config::{self, Config};
use crate::domain::ids::{Revision, TargetName};
use crate::domain::operation::Patience;
use crate::participants::Participant;
use crate::participants::postgres::Postgres;
use crate::participants::remote::Remote;
use crate::services::Registry;
use crate::store::connect::Database;
use crate::store::writer::Writer;
use crate::store::{Error, log};
use crate::view::{View, follower};

/// Why the parts cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The configuration does not fit together.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// A participant's name or endpoint is unusable.
    #[error("Participant {name} cannot be used: {why}.")]
    Participant {
        /// Which.
        name: String,
        /// Why.
        why: String,
    },
}

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
        attempt_max: config.cascade.apply_deadline * 2,
        patience: Patience { attempts_max: config.cascade.max_attempts },
    };
    let participants = participants(&config.cascade, &database)?;
    let engine = Engine::start(
        cascade::Ground { view: Arc::clone(&view), writer: writer.clone(), database: database.clone() },
        participants,
        settings,
        stop,
    );
    Ok(Registry { view, writer, database, targets: engine.targets(), lease: engine.lease(), engine })
}

fn participants(
    settings: &config::Cascade,
    database: &Database,
) -> Result<BTreeMap<TargetName, Arc<dyn Participant>>, WiringError> {
    let mut participants: BTreeMap<TargetName, Arc<dyn Participant>> = BTreeMap::new();
    for (name, place) in &settings.participants {
        let unusable = |why: String| WiringError::Participant { name: name.clone(), why };
        let target = TargetName::parse(name).map_err(|error| unusable(error.to_string()))?;
        let participant: Arc<dyn Participant> = match place {
            config::cascade::Participant::Postgres => Arc::new(Postgres::new(database.pool())),
            config::cascade::Participant::Remote(endpoint) => Arc::new(
                Remote::new(endpoint, settings.apply_deadline)
                    .map_err(|_| unusable("its endpoint is not a URL".to_owned()))?,
            ),
        };
        participants.insert(target, participant);
    }
    Ok(participants)
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
