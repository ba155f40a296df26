//! Objects whose names a list of versions does not say.
//!
//! XML cannot carry every character that a key may have. Some servers do not encode the keys of versions although they are
//! asked to, and put U+FFFD in the place of such a character: what is removed by that name is another object, or none.

use std::time::Instant;

use aws_sdk_s3::Client;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::super::Failure;
use super::place::Place;
use super::purge::{PAGE, SINGLE_CALLS_MAX, Thing, objects, things};

/// What stands for a character that cannot be said.
const UNSAID: char = char::REPLACEMENT_CHARACTER;

/// Things of a page that was `listed` twice, by their true names: at most about a page, and none where the names are true.
pub(super) async fn find(
    client: &Client,
    place: &Place,
    listed: &[Thing],
    until: Instant,
) -> Result<Vec<Thing>, Failure> {
    if !listed.iter().any(|thing| thing.key.contains(UNSAID)) {
        return Ok(Vec::new());
    }
    let current = current(client, place, listed).await?;
    if current.is_empty() { sought(client, place, until).await } else { Ok(current) }
}

/// The list of objects has true names, and neither older versions nor what is marked as deleted.
async fn current(client: &Client, place: &Place, listed: &[Thing]) -> Result<Vec<Thing>, Failure> {
    let objects = objects(client, place, &place.prefix, PAGE).await?;
    let unsaid = objects.into_iter().filter(|object| !is_xml(&object.key));
    let mut found: Vec<Thing> = unsaid
        .flat_map(|object| {
            let name = as_listed(&object.key);
            let same = listed.iter().filter(move |thing| thing.key == name);
            same.map(move |thing| Thing { key: object.key.clone(), version: thing.version.clone() })
        })
        .take(listed.len())
        .collect();
    found.dedup();
    Ok(found)
}

/// What is marked as deleted: a prefix is compared with the true name, so which character stands there is found by asking
/// for each. The first such name of a page is followed to its end; what else there is shows when that is gone.
async fn sought(client: &Client, place: &Place, until: Instant) -> Result<Vec<Thing>, Failure> {
    let mut found = Vec::new();
    let mut open = vec![place.prefix.clone()];
    while let Some(start) = open.pop()
        && Instant::now() < until
    {
        let said = as_listed(&start).len();
        let mut next = None;
        for thing in things(client, place, &start, PAGE).await? {
            let Some(rest) = thing.key.get(said..) else { continue };
            match rest.split_once(UNSAID) {
                Some((head, _)) => {
                    next.get_or_insert_with(|| format!("{start}{head}"));
                }
                None if is_xml(&start) => {}
                None => found.push(Thing { key: format!("{start}{rest}"), version: thing.version }),
            }
        }
        let Some(head) = next else { continue };
        let starts = stream::iter(unsayable().map(|letter| format!("{head}{letter}")));
        let starts = starts.map(async |start| {
            let is_there = !things(client, place, &start, 1).await?.is_empty();
            Ok::<_, Failure>(is_there.then_some(start))
        });
        let starts: Vec<Option<String>> = starts.buffered(SINGLE_CALLS_MAX).try_collect().await?;
        open.extend(starts.into_iter().flatten());
    }
    Ok(found)
}

/// Every character that may stand behind U+FFFD; that itself, too.
fn unsayable() -> impl Iterator<Item = char> {
    ('\u{1}'..' ')
        .chain(['\u{fffd}', '\u{fffe}', '\u{ffff}'])
        .filter(|letter| !is_said(*letter) || *letter == UNSAID)
}

/// A key as such a server lists it.
fn as_listed(key: &str) -> String {
    key.chars().map(|letter| if is_said(letter) { letter } else { UNSAID }).collect()
}

/// Whether a list can have it: a carriage return is written as what it is.
fn is_said(letter: char) -> bool {
    letter == '\r' || is_xml_letter(letter)
}

/// Whether XML 1.0 can carry the text as it is. A carriage return becomes a line feed on the way.
pub(super) fn is_xml(text: &str) -> bool {
    text.chars().all(is_xml_letter)
}

const fn is_xml_letter(letter: char) -> bool {
    matches!(letter, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_carry_goes_alone() {
        for key in ["a b", "ä€😀", "a\nb", "a&<>\"'b", "%2F", "//"] {
            assert!(is_xml(key), "{key:?}");
        }
        for key in ["\u{1}", "a\rb", "\u{fffe}", "\u{7f}\u{0}"] {
            assert!(!is_xml(key), "{key:?}");
        }
    }

    #[test]
    fn whatever_stands_behind_a_replacement_is_tried() {
        assert_eq!(as_listed("a\u{1}b\r\n\u{fffe}ä"), "a\u{fffd}b\r\n\u{fffd}ä");
        let tried: String = unsayable().collect();
        assert!(as_listed(&tried).chars().all(|letter| letter == UNSAID));
        assert_eq!(tried.chars().count(), 31, "{tried:?}");
    }
}
