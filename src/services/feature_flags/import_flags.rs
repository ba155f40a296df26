//! Importing a flagd file: the flags of its flag set are brought to what it says, all at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::Deciding;
use super::apply_flags::{Applied, Manner, Plan, Resource};
use super::judge::{Named, check_set};
use crate::domain::error::{Error, Reason};
use crate::domain::flag::{Flag, FlagFile, Origin};
use crate::domain::flagd::{self, Entry, File, Slot};
use crate::domain::ids::{FlagKey, Revision};
use crate::domain::rule::{HashVersion, Rule, Segments, check_rule};
use crate::domain::text::quote;
use crate::services::{Command, Registry};
use crate::store::flags::{Compared, Replacing};
use crate::store::log::Context;
use crate::view::Snapshot;

/// Most flags that warnings name.
const WARNINGS_MAX: usize = 100;

/// A file as it was read.
#[derive(Debug, Clone)]
pub struct ImportFlags {
    /// What it says.
    pub file: File,
    /// How: to prune is to delete flags of its flag set, and segments of an earlier file of that name.
    pub manner: Manner,
}

impl ImportFlags {
    /// What is taken as flagd takes it, and is no good: for people.
    pub fn warnings(&self) -> Vec<String> {
        let segments = Segments::compile_foreign(self.file.head.segments()).unwrap_or_default();
        let flags = self.file.flags.iter().filter_map(|(key, entry)| warning(key, entry, &segments));
        self.unseen().into_iter().chain(flags).take(WARNINGS_MAX).collect()
    }

    /// What flagd reads past.
    fn unseen(&self) -> Vec<String> {
        let head = &self.file.head;
        let without_key = "is a flag without a key, which is read past, as flagd does";
        let mut found: Vec<String> =
            head.unnamed.iter().map(|_| format!("flags[\"\"] {without_key}")).collect();
        for (place, slot) in head.list.iter().flatten().enumerate() {
            let Slot::Unseen(text) = slot else { continue };
            let key =
                serde_json::from_str::<Value>(text).ok().and_then(|flag| Some(flag.get("key")?.clone()));
            found.push(match key.as_ref().and_then(Value::as_str).filter(|key| !key.is_empty()) {
                None => format!("flags[{place}] {without_key}"),
                Some(key) => {
                    format!(
                        "flags[{place}] has the key {} of a later one, which counts, as in flagd",
                        quote(key)
                    )
                }
            });
        }
        found
    }
}

/// What is wrong with a flag that is taken all the same.
fn warning(key: &str, entry: &Entry, segments: &Segments) -> Option<String> {
    let key = quote(key);
    let flag = match &entry.flag {
        Err(why) => return Some(format!("the flag {key} {why}; it will answer PARSE_ERROR")),
        Ok(flag) => flag,
    };
    let (rule, hash) = (flag.targeting.as_ref()?, HashVersion::default());
    if let Err(error) = Rule::compile_foreign(rule, segments, hash) {
        return Some(format!(
            "the rule of the flag {key} cannot be used: {error}; it will answer PARSE_ERROR"
        ));
    }
    // Each of these flagd finds only when it comes to it.
    let mistake = Rule::compile(rule, segments, hash).map(drop);
    let is_variant = |name: &str| flag.variants.contains_key(name);
    let mistake = mistake.and_then(|()| check_rule(rule, hash, &is_variant));
    mistake.err().map(|error| format!("the rule of the flag {key} has a part that can only fail: {error}"))
}

impl Registry {
    /// Brings the flags of a file's flag set to what it says.
    pub async fn import_flags(&self, import: &ImportFlags, command: &Command) -> Result<Applied, Error> {
        self.change(command, |snapshot, context| {
            let mut plan = Plan::new(&import.manner, context);
            plan.import(snapshot, import, context)?;
            let deciding = Deciding {
                snapshot,
                fixed: &self.static_context,
                context,
                force: import.manner.force,
                command,
            };
            plan.decide(&deciding, |named| match named {
                Named::Flag(key) => place(key.as_str()),
                // Those of a file are its own, and not judged with ours.
                Named::Segment(_) => "content.".to_owned(),
            })
        })
        .await
    }
}

/// Where in the request a flag is.
fn place(key: &str) -> String {
    format!("content.flags[{}].", quote(key))
}

impl Plan<'_> {
    fn import(&mut self, snapshot: &Snapshot, import: &ImportFlags, context: &Context) -> Result<(), Error> {
        let file = &import.file;
        let name = file.head.flag_set();
        check_set(snapshot, &name, || "content.metadata.flagSetId".to_owned())?;
        for (key, entry) in &file.flags {
            let field = || format!("{}metadata.flagSetId", place(key));
            check_set(snapshot, &entry.own_set().unwrap_or_default(), field)?;
        }
        let is_unnamed = |flag: &&Arc<Flag>| {
            import.manner.prune && is_of(flag, &name) && !file.flags.contains_key(flag.key().as_str())
        };
        let unnamed: Vec<_> = snapshot.flags.flags().filter(is_unnamed).collect();
        self.check_reset(&snapshot.flags, file.flags.keys().map(String::as_str).collect(), &unnamed)?;
        self.keep_held(&snapshot.flags, &unnamed);
        self.import_head(snapshot, import, &name, context)?;
        for (key, entry) in &file.flags {
            self.import_flag(snapshot, (key, entry), &name, context)?;
        }
        self.delete_unnamed(&unnamed);
        self.write.compared = Some(Compared {
            since: snapshot.revision,
            flags: file.flags.keys().filter_map(|key| FlagKey::known(key).ok()).collect(),
            flag_sets: import.manner.prune.then(|| name.clone()).into_iter().collect(),
            segments: Some(BTreeSet::new()),
            file: Some(name),
        });
        Ok(())
    }

    fn import_head(
        &mut self,
        snapshot: &Snapshot,
        import: &ImportFlags,
        name: &str,
        context: &Context,
    ) -> Result<(), Error> {
        let current = snapshot.flags.file(name);
        let mut head = match current {
            Some(old) if !import.manner.prune => old.head().with(&import.file.head),
            _ => import.file.head.clone(),
        };
        if let Some(old) = current {
            self.keep_evaluators(&snapshot.flags, name, (&old.head(), &mut head));
        }
        if let Err(error) = Segments::compile_foreign(head.segments()) {
            return Err(Error::field("content.$evaluators", error.to_string()));
        }
        let before = current.map(|old| old.head());
        if before.as_ref() == Some(&head) {
            return Ok(());
        }
        let row = match current {
            None => FlagFile::new(name.to_owned(), &head, context.now),
            Some(old) => old.with_head(&head, context.now),
        };
        self.differ(Resource::File, name, (before.as_ref(), Some(&head)), Vec::new());
        self.event.files.push(row.clone());
        self.write.files.push(Replacing { row, expected: current.map(|old| old.revision) });
        Ok(())
    }

    fn import_flag(
        &mut self,
        snapshot: &Snapshot,
        (key, entry): (&str, &Entry),
        file: &str,
        context: &Context,
    ) -> Result<(), Error> {
        let current = snapshot.flags.flag(key).map(|flag| &**flag);
        let mut origin =
            Origin { file: file.to_owned(), source: entry.text.as_str().into(), is_changed: false };
        let flag_set = entry.own_set().unwrap_or_else(|| file.to_owned());
        if current
            .is_some_and(|old| old.origin.as_ref() == Some(&origin) && old.settings.flag_set == flag_set)
        {
            return Ok(());
        }
        if let Some(old) = current.filter(|old| !is_of(old, file) && !is_of(old, &flag_set)) {
            return Err(of_another(old, key));
        }
        let read = |base| {
            flagd::settings(key, entry, file, base)
                .map_err(|violations| Error::invalid(Reason::InvalidField, violations).within("content."))
        };
        let mut settings = read(current.map(|old| &old.settings))?;
        if let Some(old) = current {
            if self.stands(old) {
                self.keep_standing(&snapshot.flags, (old, &mut settings), &place(key))?;
            } else {
                self.keep_guard(&snapshot.flags, old, &mut settings);
            }
            // What stays of it, such as a kill switch, can make it another flag than the file's.
            origin.is_changed = !settings.says_the_same(&read(None)?);
        }
        let row = match current {
            None => {
                settings.fill_expire_time(context.now);
                settings.into_flag(Revision::ZERO, context.now)
            }
            Some(old) => old.with_settings(settings, context.now),
        };
        self.put_flag(current, Flag { origin: Some(origin), ..row });
        Ok(())
    }
}

/// Whether a file of this flag set brought a flag, or would find it there.
pub(super) fn is_of(flag: &Flag, flag_set: &str) -> bool {
    match &flag.origin {
        Some(origin) => origin.file == flag_set,
        None => flag.settings.flag_set == flag_set,
    }
}

fn of_another(flag: &Flag, key: &str) -> Error {
    let set = flag.origin.as_ref().map_or(&flag.settings.flag_set, |origin| &origin.file);
    let whose =
        if set.is_empty() { "no flag set".to_owned() } else { format!("the flag set {}", quote(set)) };
    let why = format!("the flag {} is of {whose} already; a key is one flag, whatever its set", quote(key));
    Error::new(Reason::FlagExists, why).with("flag_key", key).with("flag_set", set)
}
