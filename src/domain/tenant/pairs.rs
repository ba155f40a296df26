//! A change of some labels or annotations, while the others stay as they are.

use super::ProfileField;
use crate::domain::shared_text::TextMap;
use crate::domain::text;
use crate::domain::violation::Violation;

/// Most keys that are taken away at once: as many as there can be.
const REMOVED_MAX: usize = 64;

/// What becomes of some entries of a map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PairsChange {
    /// Entries that are there afterwards.
    pub set: TextMap,
    /// Keys that are not.
    pub remove: Vec<String>,
}

/// Whose entries they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// Of the labels.
    Labels,
    /// Of the annotations.
    Annotations,
}

impl Pairs {
    /// The field of the profile.
    pub const fn field(self) -> ProfileField {
        match self {
            Self::Labels => ProfileField::Labels,
            Self::Annotations => ProfileField::Annotations,
        }
    }

    /// The request's field of what is set.
    pub const fn set(self) -> &'static str {
        match self {
            Self::Labels => "set_labels",
            Self::Annotations => "set_annotations",
        }
    }

    /// The request's field of what is removed.
    pub const fn remove(self) -> &'static str {
        match self {
            Self::Labels => "remove_labels",
            Self::Annotations => "remove_annotations",
        }
    }
}

impl PairsChange {
    /// Whether nothing becomes of anything.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// The map as it will be.
    #[must_use]
    pub fn of(&self, now: &TextMap) -> TextMap {
        let stays = now.iter().filter(|(key, _)| !self.remove.iter().any(|removed| **removed == ***key));
        let all = stays.chain(self.set.iter());
        all.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// What is wrong with it, whatever it is a change of. `replaced` where the request replaces the whole map as well.
    pub fn violations(&self, whose: Pairs, replaced: bool) -> Vec<Violation> {
        let mut found = Vec::new();
        let (set, remove) = (whose.set(), whose.remove());
        if replaced {
            for (field, given) in [(set, !self.set.is_empty()), (remove, !self.remove.is_empty())] {
                if given {
                    let all = whose.field().as_str();
                    found.push(Violation::new(
                        field,
                        format!("must not be given where update_mask names {all}: that replaces all of them"),
                    ));
                }
            }
        }
        let fits = match whose {
            Pairs::Labels => text::labels(self.set.iter()),
            Pairs::Annotations => text::annotations(self.set.iter()),
        };
        if let Err(invalid) = fits {
            found.push(Violation::new(set, invalid.why));
        }
        if self.remove.len() > REMOVED_MAX {
            found.push(Violation::new(remove, format!("must have at most {REMOVED_MAX} entries")));
            return found;
        }
        for (index, key) in self.remove.iter().enumerate() {
            let field = format!("{remove}[{index}]");
            if let Err(invalid) = text::label_key(key) {
                found.push(Violation::new(field, invalid.why));
            } else if self.set.get(key).is_some() {
                found.push(Violation::new(field, format!("{} is in {set} as well", text::quote(key))));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> TextMap {
        pairs.iter().copied().collect()
    }

    #[test]
    fn what_is_set_joins_or_replaces_and_what_is_removed_goes() {
        let change = PairsChange {
            set: map(&[("team", "red"), ("new", "1")]),
            remove: vec!["env".into(), "none".into()],
        };
        let now = map(&[("env", "prod"), ("team", "blue"), ("zone", "a")]);
        assert_eq!(change.of(&now), map(&[("new", "1"), ("team", "red"), ("zone", "a")]));
        assert!(change.violations(Pairs::Labels, false).is_empty());
        assert_eq!(PairsChange::default().of(&now), now);
    }

    #[test]
    fn each_fault_names_its_field() {
        let fields = |set: &[(&str, &str)], remove: &[&str], replaced| -> Vec<String> {
            let remove = remove.iter().map(|key| (*key).to_owned()).collect();
            let change = PairsChange { set: map(set), remove };
            change.violations(Pairs::Labels, replaced).into_iter().map(|violation| violation.field).collect()
        };
        assert_eq!(fields(&[("a b", "c")], &[], false), ["set_labels"]);
        assert_eq!(fields(&[("a", "c d")], &[], false), ["set_labels"]);
        assert_eq!(fields(&[("a", "b")], &["b", "a"], false), ["remove_labels[1]"]);
        assert_eq!(fields(&[], &["\0"], false), ["remove_labels[0]"]);
        assert_eq!(fields(&[("a", "b")], &["b"], true), ["set_labels", "remove_labels"]);
        assert_eq!(fields(&[], &["a"; 65], false), ["remove_labels"]);
        assert_eq!(fields(&[], &[], true), [""; 0]);
    }
}
