//! What a misspelt name most likely means.

/// The known name nearest to a misspelt one: at most `far` letters are to add, drop or change.
pub fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>, far: usize) -> Option<&'k str> {
    // A longer one is far from all; to compare it would take long.
    let near = |known: &&str| known.len().abs_diff(name.len()) <= far * char::MAX.len_utf8();
    let nearest = known.filter(near).map(|known| (distance(known, name), known)).min();
    nearest.filter(|(distance, _)| *distance <= far).map(|(_, known)| known)
}

/// Levenshtein's distance: how many letters to add, drop or change.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (line, a) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (column, b) in right.chars().enumerate() {
            let above = row.get(column + 1).copied().unwrap_or(usize::MAX);
            let here = (diagonal + usize::from(a != b)).min(above + 1).min(before + 1);
            if let Some(cell) = row.get_mut(column) {
                *cell = before;
            }
            diagonal = above;
            before = here;
        }
        if let Some(cell) = row.last_mut() {
            *cell = before;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_single_letter_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn what_is_near_has_few_letters_to_change_and_not_far_more_of_them() {
        let known = ["flagKey", "flagSet", "type"];
        let near = |name: &str, far| nearest(name, known.into_iter(), far);
        assert_eq!(near("flagkey", 2), Some("flagKey"));
        assert_eq!(near("foo", 1), None);
        assert_eq!(near(&"flagKey".repeat(100_000), 4), None);
    }
}
