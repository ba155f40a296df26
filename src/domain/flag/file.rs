//! What a flagd file says beside its flags.

use std::sync::Arc;

use imbl::OrdMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::edition::Edition;
use super::{CompiledFlags, Flag};
use crate::domain::flagd::Head;
use crate::domain::ids::Revision;
use crate::domain::rule::Segments;

/// A flagd file that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagFile {
    /// The flag set that it names; empty for one that names none.
    #[serde(rename = "file_name")]
    pub name: String,
    /// What it says beside its flags: a [`Head`] as JSON text, so that nothing of it is read as the database reads JSON.
    pub head: Arc<str>,
    /// The revision of its last change.
    pub revision: Revision,
    /// When it was first imported.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
}

impl FlagFile {
    /// The file as first stored.
    pub fn new(name: String, head: &Head, now: Timestamp) -> Self {
        Self { name, head: written(head), revision: Revision::ZERO, create_time: now, update_time: now }
    }

    /// The file after a change.
    #[must_use]
    pub fn with_head(&self, head: &Head, now: Timestamp) -> Self {
        Self { head: written(head), update_time: now, ..self.clone() }
    }

    /// What it says beside its flags.
    pub fn head(&self) -> Head {
        serde_json::from_str(&self.head).unwrap_or_default()
    }
}

fn written(head: &Head) -> Arc<str> {
    // Texts, lists and maps by text: they always have a JSON text.
    serde_json::to_string(head).unwrap_or_default().into()
}

/// A file, with what its flags are evaluated with.
#[derive(Debug)]
pub(super) struct CompiledFile {
    pub(super) file: Arc<FlagFile>,
    /// Its `$evaluators`: flags made here do not see them, and its flags see no others.
    pub(super) segments: Segments,
    pub(super) metadata: Map<String, Value>,
}

impl CompiledFile {
    pub(super) fn new(file: Arc<FlagFile>) -> Self {
        let head = file.head();
        let segments = Segments::compile_foreign(head.segments()).unwrap_or_default();
        Self { metadata: head.metadata(), segments, file }
    }
}

/// The flag sets that there are, with how many flags each has.
#[derive(Debug, Clone, Default)]
pub(super) struct Sets(OrdMap<String, usize>);

impl Sets {
    pub(super) fn add(&mut self, name: &str) {
        if !name.is_empty() {
            *self.0.entry(name.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        match self.0.get_mut(name) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.0.remove(name)),
        }
    }
}

impl CompiledFlags {
    /// Adds or replaces what a flagd file says beside its flags, and compiles its flags anew.
    #[must_use]
    pub fn with_file(mut self, file: Arc<FlagFile>) -> Self {
        self.edition = Edition::default();
        let name = file.name.clone();
        self.files.insert(name.clone(), Arc::new(CompiledFile::new(file)));
        let stale: Vec<_> = self.flags_of_file(&name).cloned().collect();
        stale.into_iter().fold(self, Self::with_flag)
    }

    /// What a flag's rules are compiled with: all segments, or for a flag of a flagd file those of the file alone.
    pub fn evaluators_of(&self, flag: &Flag) -> &Segments {
        match &flag.origin {
            None => &self.evaluators,
            Some(origin) => {
                self.files.get(&origin.file).map_or(Segments::none(), |compiled| &compiled.segments)
            }
        }
    }

    /// Whether there is a flag set of this name.
    pub fn has_set(&self, name: &str) -> bool {
        self.sets.0.contains_key(name)
    }

    /// A flagd file that was imported, by the flag set that it names.
    pub fn file(&self, name: &str) -> Option<&Arc<FlagFile>> {
        self.files.get(name).map(|compiled| &compiled.file)
    }

    /// All of them.
    pub(super) fn files(&self) -> impl Iterator<Item = &Arc<FlagFile>> {
        self.files.values().map(|compiled| &compiled.file)
    }

    /// What a flag's file says of all its flags.
    pub fn file_metadata(&self, flag: &Flag) -> Option<&Map<String, Value>> {
        let origin = flag.origin.as_ref()?;
        self.files.get(&origin.file).map(|compiled| &compiled.metadata)
    }

    /// The flags that were taken from a flagd file.
    pub fn flags_of_file<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Flag>> {
        self.flags().filter(move |flag| flag.origin.as_ref().is_some_and(|origin| origin.file == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flag::{FlagType, Settings};
    use crate::domain::ids::FlagKey;

    #[test]
    fn a_flag_set_is_there_as_long_as_a_flag_is_in_it() {
        let flag = |key: &str, set: &str| {
            let mut settings = Settings::new(FlagKey::parse(key).unwrap(), FlagType::Boolean);
            set.clone_into(&mut settings.flag_set);
            Arc::new(settings.into_flag(Revision(1), Timestamp::UNIX_EPOCH))
        };
        let flags = CompiledFlags::new().with_flag(flag("a", "web")).with_flag(flag("b", "web"));
        let flags = flags.with_flag(flag("c", "")).with_flag(flag("a", "web"));
        assert!(flags.has_set("web") && !flags.has_set("") && !flags.has_set("shop"));
        let flags = flags.with_flag(flag("a", "shop"));
        assert!(flags.has_set("web") && flags.has_set("shop"));
        let flags = flags.without_flag("b");
        assert!(!flags.has_set("web") && flags.has_set("shop"));
    }
}
