//! Whether tenants' things are where the configuration has the targets look for them.

use super::server::StartError;
use crate::config::Config;
use crate::config::database::Url;
use crate::config::targets::Target;
use crate::store::connect::Database;
use crate::store::target_places::{self, Configured, Outcome};

/// Notes where targets keep tenants' things, and refuses a configuration that has them look elsewhere.
pub(super) async fn check(config: &Config, database: &Database, url: &Url) -> Result<(), StartError> {
    let configured: Vec<Configured> =
        config.cascade.targets.iter().filter_map(|(name, target)| configured(name, target)).collect();
    if configured.is_empty() {
        return Ok(());
    }
    let noted = async { target_places::note(&mut database.dedicated(|_| {}).await?, &configured).await };
    match noted.await.map_err(|error| StartError::of(error, url))? {
        Outcome::Noted(replaced) => {
            for moved in replaced {
                let (target, from, to) = (moved.target, moved.from, moved.to);
                tracing::info!(%target, %from, %to, "tenants' things at this target are in another place from now on");
            }
            Ok(())
        }
        Outcome::Refused(moved) => Err(StartError::Place(moved)),
    }
}

fn configured(name: &str, target: &Target) -> Option<Configured> {
    let moved_from = target.moved_from().map(str::to_owned);
    target.place().map(|place| Configured { target: name.to_owned(), place, moved_from })
}
