//! How columns are read that a version before did not fill.

use serde::{Deserialize, Deserializer};

/// A column that is null where the version before wrote the row: a default, not an error. Both versions run side by
/// side while replicas are rolled.
pub(super) fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
