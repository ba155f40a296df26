//! Where the data goes.

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use super::account::{self, Account};
use crate::config::{Dev, process_environment};

const EPHEMERAL_PREFIX: &str = "tenantry-ephemeral-";
/// A directory younger than this may belong to a start that does not hold its lock yet.
const SETTLED_AFTER: Duration = Duration::from_mins(10);

/// The data directory of `tenantry dev`: the chosen one, else the default beside the work; where that cannot be used,
/// `/var/lib/tenantry` for root and `~/.local/share/tenantry` for others.
pub fn data_dir(dev: &Dev) -> PathBuf {
    if dev.data_dir_chosen || is_usable(&dev.data_dir) {
        return dev.data_dir.clone();
    }
    let is_root = Account::choose(&dev.data_dir).is_ok_and(|account| account.is_switched());
    if is_root {
        return PathBuf::from("/var/lib/tenantry");
    }
    let share = process_environment("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| process_environment("HOME").map(|home| Path::new(&home).join(".local/share")));
    share.map_or_else(|| dev.data_dir.clone(), |share| share.join("tenantry"))
}

/// Whether the directory can be made, written to, and reached by the account that will run the server.
fn is_usable(path: &Path) -> bool {
    let Ok(path) = std::path::absolute(path) else { return false };
    let Ok(account) = Account::choose(&path.join("postgres")) else { return false };
    let above = path.parent().unwrap_or(&path);
    account.barrier(above).is_none()
        && account::make_dir(&path).is_ok()
        && account.barrier(&path).is_none()
        && File::options().create(true).truncate(false).write(true).open(path.join("lock")).is_ok()
}

/// A new path for a database that nobody keeps.
pub(super) fn ephemeral_dir() -> PathBuf {
    env::temp_dir().join(format!("{EPHEMERAL_PREFIX}{}-{:08x}", process::id(), fastrand::u32(..)))
}

/// Deletes what killed tests could not: old ephemeral directories that nobody holds the lock of.
pub(super) fn sweep_abandoned() {
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(EPHEMERAL_PREFIX)
            && is_abandoned(&entry.path()).unwrap_or(false)
        {
            // Another process may be sweeping too, or the directory is another account's: both are fine.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_abandoned(path: &Path) -> io::Result<bool> {
    let lock = File::options().write(true).open(path.join("lock"))?;
    let age = lock.metadata()?.modified()?.elapsed().unwrap_or_default();
    Ok(age > SETTLED_AFTER && lock.try_lock().is_ok())
}
