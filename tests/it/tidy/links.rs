//! Where the links of Markdown lead.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The links of a page that lead to a file that is not there, or to no heading of it. Those to other sites are not looked at.
pub(super) fn broken(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    targets(&text).filter_map(|target| fault(page, target).map(|why| format!("{target} {why}"))).collect()
}

/// What stands between `](` and `)`.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

fn fault(page: &Path, target: &str) -> Option<&'static str> {
    if target.contains("://") {
        return None;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let led_to: PathBuf = if path.is_empty() { page.to_owned() } else { page.parent()?.join(path) };
    if !led_to.exists() {
        return Some("is not there");
    }
    if heading.is_empty() {
        return None;
    }
    let text = fs::read_to_string(led_to).unwrap();
    let is_there = text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading);
    (!is_there).then_some("is no heading there")
}

/// What a heading is called in links, as code hosts do it: in small letters, hyphens for spaces, and without signs.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_' | ' '));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn a_heading_is_found_by_its_words() {
    assert_eq!(anchor("## Passwords and `aclfile`"), "passwords-and-aclfile");
    assert_eq!(anchor("# What it says, and what to do"), "what-it-says-and-what-to-do");
    assert_eq!(targets("[a](b.md#c) (d) [e](f)").collect::<Vec<_>>(), ["b.md#c", "f"]);
}
