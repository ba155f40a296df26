//! What a stub remembers between runs: without it, a target would seem to have lost every tenant at each restart.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Held, Inside};

#[derive(Serialize, Deserialize)]
struct Kept {
    tenant_id: String,
    #[serde(flatten)]
    held: Held,
}

impl Inside {
    /// What the file holds; nothing where there is none yet.
    pub(super) fn load(file: PathBuf) -> io::Result<Self> {
        let kept: BTreeMap<String, Kept> = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let names = kept.iter().map(|(uid, kept)| (uid.clone(), kept.tenant_id.clone())).collect();
        let held: HashMap<_, _> = kept.into_iter().map(|(uid, kept)| (uid, kept.held)).collect();
        Ok(Self { held, names, file: Some(file), ..Self::default() })
    }

    /// Writes the file anew, whole or not at all. A few kilobytes, on a developer's machine.
    pub(super) fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let kept: BTreeMap<&String, Kept> = self
            .held
            .iter()
            .map(|(uid, held)| {
                let tenant_id = self.names.get(uid).cloned().unwrap_or_default();
                (uid, Kept { tenant_id, held: *held })
            })
            .collect();
        let beside = file.with_extension("new");
        std::fs::write(&beside, serde_json::to_vec_pretty(&kept)?)?;
        std::fs::rename(beside, file)
    }
}
