//! What the contract says of itself, by its descriptors.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Value};

use crate::proto::DESCRIPTOR_SET;

/// Its numbers in `google.api.FieldBehavior`.
const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;

/// Every message, method and enum.
pub(super) fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(DESCRIPTOR_SET).unwrap_or_default());
    &POOL
}

/// What stands before each value of an enum, for example `FLAG_TYPE_`.
pub(super) fn prefix(values: &EnumDescriptor) -> String {
    values.default_value().name().trim_end_matches("UNSPECIFIED").to_owned()
}

/// An enum's value without its type's name before it; of any other text, all.
pub(super) fn enum_name(text: &str) -> &str {
    static PREFIXES: LazyLock<HashMap<String, usize>> = LazyLock::new(|| {
        let ours = pool().all_enums().filter(|values| values.full_name().starts_with("tenantry."));
        let lengths = ours.flat_map(|values| {
            let length = prefix(&values).len();
            values.values().map(|value| (value.name().to_owned(), length)).collect::<Vec<_>>()
        });
        lengths.collect()
    });
    PREFIXES.get(text).and_then(|length| text.get(*length..)).unwrap_or(text)
}

/// A value of one of our enums by its short name, as arguments take it: in small or capital letters, with `-` or `_`. The
/// error lists what there is.
pub(super) fn enum_value(of: &str, word: &str) -> Result<String, String> {
    let values = pool().get_enum_by_name(&format!("tenantry.v1.{of}"));
    let values = values.ok_or_else(|| format!("there is no {of}"))?;
    let prefix = prefix(&values);
    let full = format!("{prefix}{}", word.to_uppercase().replace('-', "_"));
    let known: Vec<String> = values.values().skip(1).map(|value| value.name().to_owned()).collect();
    if known.contains(&full) {
        return Ok(full);
    }
    let short = known.iter().filter_map(|value| value.strip_prefix(&prefix));
    let short: Vec<String> = short.map(|name| name.to_lowercase().replace('_', "-")).collect();
    Err(format!("must be one of {}", short.join(", ")))
}

/// Whether answers alone have the field.
pub(super) fn is_output_only(field: &FieldDescriptor) -> bool {
    behaves(field, OUTPUT_ONLY)
}

/// Whether requests need the field.
pub(super) fn is_required(field: &FieldDescriptor) -> bool {
    behaves(field, REQUIRED)
}

fn behaves(field: &FieldDescriptor, behavior: i32) -> bool {
    static BEHAVIOR: LazyLock<Option<ExtensionDescriptor>> =
        LazyLock::new(|| pool().get_extension_by_name("google.api.field_behavior"));
    let Some(extension) = BEHAVIOR.as_ref() else { return false };
    let options = field.options();
    let behaviors = options.get_extension(extension);
    behaviors.as_list().is_some_and(|all| all.contains(&Value::EnumNumber(behavior)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_of_our_enums_lose_what_stands_before_them() {
        assert_eq!(enum_name("TENANT_STATUS_ACTIVE"), "ACTIVE");
        assert_eq!(enum_name("CONDITION_OPERATOR_IN"), "IN");
        assert_eq!(enum_name("ACTION_CREATE"), "CREATE");
        assert_eq!(enum_name("TENANT_STATUS_QUO"), "TENANT_STATUS_QUO", "a name that somebody gave");
        let unnamed = pool().all_enums().filter(|it| it.full_name().starts_with("tenantry."));
        let unnamed: Vec<_> = unnamed.filter(|it| !prefix(it).ends_with('_')).collect();
        assert!(unnamed.is_empty(), "{unnamed:?}");
    }

    #[test]
    fn a_field_tells_who_sets_it() {
        let flag = pool().get_message_by_name("tenantry.v1.Flag").unwrap();
        let field = |name| flag.get_field_by_name(name).unwrap();
        assert!(is_output_only(&field("etag")) && !is_required(&field("etag")));
        assert!(is_required(&field("flag_key")) && !is_output_only(&field("flag_key")));
        assert!(!is_required(&field("owner")) && !is_output_only(&field("owner")));
    }
}
