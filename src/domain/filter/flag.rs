//! The fields by which flags can be filtered and ordered.

use std::sync::Arc;

use super::{FieldId, FieldType, FieldValue, Record, record_fields};
use crate::domain::flag::Flag;

const TYPE: FieldType = FieldType::Enum(&["BOOLEAN", "STRING", "INTEGER", "DOUBLE", "OBJECT"]);
const KIND: FieldType =
    FieldType::Enum(&["RELEASE", "EXPERIMENT", "OPERATIONAL", "KILL_SWITCH", "PERMISSION"]);
const STATE: FieldType = FieldType::Enum(&["ENABLED", "DISABLED", "ARCHIVED"]);

record_fields! {
    /// A field of a flag.
    FlagField, FlagKey;
    /// Its key.
    FlagKey "flag_key" FieldType::Text, true;
    /// Its type.
    Type "type" TYPE, true;
    /// What it is for.
    Kind "kind" KIND, true;
    /// Whether it is in use.
    State "state" STATE, true;
    /// Who answers for it.
    Owner "owner" FieldType::Text, true;
    /// Its flag set.
    FlagSet "flag_set" FieldType::Text, true;
    /// The flag that turns it off.
    KillSwitch "kill_switch" FieldType::Text, true;
    /// Its labels.
    Labels "labels" FieldType::Map, false;
    /// The groups it excludes others in.
    ConflictGroups "conflict_groups" FieldType::List, false;
    /// When it expires.
    ExpireTime "expire_time" FieldType::Time, true;
    /// When it was made.
    CreateTime "create_time" FieldType::Time, true;
    /// When it was last changed.
    UpdateTime "update_time" FieldType::Time, true;
}

/// A flag as a row of a page.
pub struct Row(pub Arc<Flag>);

impl Record for Row {
    fn field(&self, id: FieldId) -> FieldValue<'_> {
        let Some(field) = FlagField::from_id(id) else { return FieldValue::Absent };
        let Flag { settings, create_time, update_time, .. } = &*self.0;
        let text = |text| if str::is_empty(text) { FieldValue::Absent } else { FieldValue::Text(text) };
        match field {
            FlagField::FlagKey => FieldValue::Text(settings.key.as_str()),
            FlagField::Type => FieldValue::Text(settings.flag_type.as_str()),
            FlagField::Kind => FieldValue::Text(settings.kind.as_str()),
            FlagField::State => FieldValue::Text(settings.state.as_str()),
            FlagField::Owner => text(&settings.owner),
            FlagField::FlagSet => text(&settings.flag_set),
            FlagField::KillSwitch => {
                settings.kill_switch.as_ref().map_or(FieldValue::Absent, |key| FieldValue::Text(key.as_str()))
            }
            FlagField::ExpireTime => settings.expire_time.map_or(FieldValue::Absent, FieldValue::Time),
            FlagField::CreateTime => FieldValue::Time(*create_time),
            FlagField::UpdateTime => FieldValue::Time(*update_time),
            FlagField::Labels | FlagField::ConflictGroups => FieldValue::Absent,
        }
    }

    fn entry(&self, id: FieldId, key: &str) -> Option<&str> {
        match FlagField::from_id(id)? {
            FlagField::Labels => self.0.settings.labels.get(key).map(String::as_str),
            _ => None,
        }
    }

    fn has_any(&self, id: FieldId) -> bool {
        match FlagField::from_id(id) {
            Some(FlagField::Labels) => !self.0.settings.labels.is_empty(),
            Some(FlagField::ConflictGroups) => !self.0.settings.conflict_groups.is_empty(),
            _ => false,
        }
    }

    fn any_item(&self, id: FieldId, test: &mut dyn FnMut(&str) -> bool) -> bool {
        match FlagField::from_id(id) {
            Some(FlagField::ConflictGroups) => {
                self.0.settings.conflict_groups.iter().any(|group| test(group.as_str()))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::filter::Filter;
    use crate::domain::flag::{FlagState, FlagType, Kind, Settings};
    use crate::domain::ids::{FlagKey, GroupName, Revision};

    #[test]
    fn flags_are_found_by_what_they_are_and_by_their_labels_and_groups() {
        let mut settings = Settings::new(FlagKey::parse("search").unwrap(), FlagType::Boolean);
        settings.labels.insert("team".to_owned(), "core".to_owned());
        settings.conflict_groups.insert(GroupName::parse("ranking").unwrap());
        settings.kind = Kind::KillSwitch;
        let row = Row(Arc::new(settings.into_flag(Revision(1), jiff::Timestamp::UNIX_EPOCH)));
        for (filter, matches) in [
            ("kind = KILL_SWITCH", true),
            ("kind = RELEASE", false),
            ("labels.team = core state = ENABLED", true),
            ("conflict_groups:ranking", true),
            ("flag_key = \"sea*\"", true),
            ("create_time > \"2020-01-01T00:00:00Z\"", false),
        ] {
            assert_eq!(Filter::parse(filter, &SCHEMA).unwrap().matches(&row), matches, "{filter}");
        }
    }

    #[test]
    fn the_enum_names_are_those_of_the_types() {
        let states = [FlagState::Enabled, FlagState::Disabled, FlagState::Archived].map(FlagState::as_str);
        assert!(matches!(STATE, FieldType::Enum(names) if names == states));
        let kinds = [Kind::Release, Kind::Experiment, Kind::Operational, Kind::KillSwitch, Kind::Permission];
        assert!(matches!(KIND, FieldType::Enum(names) if names == kinds.map(Kind::as_str)));
    }
}
