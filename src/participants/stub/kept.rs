//! What a stub remembers between runs: without it, a target would seem to have lost every tenant at each restart.
//!
//! A line of JSON for each change, the last of a tenant counts: a change costs the same however many tenants there are.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Held, Inside};

#[derive(Serialize, Deserialize)]
struct Line {
    uid: String,
    tenant_id: String,
    #[serde(flatten)]
    held: Held,
}

impl Inside {
    /// What the file holds; nothing where there is none yet. The file begins anew with one line a tenant.
    pub(super) fn load(file: &Path) -> io::Result<Self> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut inside = Self::default();
        // The last line may be torn, of a change that was not answered.
        for line in text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
            inside.names.insert(line.uid.clone(), line.tenant_id);
            inside.held.insert(line.uid, line.held);
        }
        let beside = file.with_extension("new");
        inside.file = Some(File::create(&beside)?);
        for uid in inside.held.keys() {
            inside.keep(uid)?;
        }
        std::fs::rename(&beside, file)?;
        inside.file = Some(OpenOptions::new().append(true).open(file)?);
        Ok(inside)
    }

    /// Writes down what it holds of a tenant.
    pub(super) fn keep(&self, uid: &str) -> io::Result<()> {
        let (Some(mut file), Some(held)) = (self.file.as_ref(), self.held.get(uid)) else { return Ok(()) };
        let tenant_id = self.names.get(uid).cloned().unwrap_or_default();
        let mut line = serde_json::to_vec(&Line { uid: uid.to_owned(), tenant_id, held: *held })?;
        line.push(b'\n');
        file.write_all(&line)
    }
}
