//! Values that must not reach a log, an error or a screen.

use std::fmt;

/// What is shown in a secret's place.
pub const MASK: &str = "****";

/// A value whose `Debug` and `Display` show only a mask; [`Secret::expose`] is the one way to read it, so that a
/// search for `expose` finds every place where a secret leaves its wrapper.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the call that needs it and nothing else.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MASK)
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_only_its_mask_however_it_is_printed() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "**** **** Some(****)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
