//! What was logged of a target last: at each attempt of each tenant it would be the same again.

use std::sync::{Mutex, PoisonError};

/// The last text.
#[derive(Default)]
pub(super) struct Said(Mutex<Option<String>>);

impl Said {
    /// Whether the text is another than the last, which it is from now on.
    pub(super) fn is_news(&self, text: &str) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = last.as_deref() != Some(text);
        if is_news {
            *last = Some(text.to_owned());
        }
        is_news
    }
}

#[cfg(test)]
#[path = "said_tests.rs"]
mod tests;
