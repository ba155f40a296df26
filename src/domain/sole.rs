//! What may be said several times, as long as it is the same each time.

use super::error::Error;

/// The value, where all of them are equal; none where there is none.
///
/// # Errors
///
/// [`Reason::InvalidField`](super::error::Reason::InvalidField) of `field` where two differ: whoever stands between a
/// client and this server may add theirs before or behind, so neither the first nor the last is known to be meant.
pub fn sole<T: PartialEq>(field: &str, values: impl IntoIterator<Item = T>) -> Result<Option<T>, Error> {
    let mut values = values.into_iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(Error::field(field, "must not be there twice with different values"));
    }
    Ok(Some(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_may_be_said_twice_and_two_may_not() {
        assert_eq!(sole::<&str>("x", []).unwrap(), None);
        assert_eq!(sole("x", ["a"]).unwrap(), Some("a"));
        assert_eq!(sole("x", ["a", "a", "a"]).unwrap(), Some("a"));
        for values in [["a", "a", "b"], ["", "b", "b"], ["b", "b", ""]] {
            assert_eq!(sole("x", values).unwrap_err().violations[0].field, "x", "{values:?}");
        }
    }
}
