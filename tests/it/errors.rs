//! The catalogue of reasons is complete, and says the same as the code.

use tenantry::domain::error::Reason;

#[test]
fn every_reason_has_its_row_in_the_catalogue_with_its_code() {
    let page = include_str!("../../docs/ERRORS.md");
    for reason in Reason::ALL {
        let row = page.lines().find(|line| line.starts_with(&format!("| {} |", reason.as_str())));
        let row = row.unwrap_or_else(|| panic!("docs/ERRORS.md has no row for {}", reason.as_str()));
        let code = format!("{:?}", reason.code());
        let mut words = String::new();
        for letter in code.chars() {
            if letter.is_uppercase() && !words.is_empty() {
                words.push('_');
            }
            words.push(letter.to_ascii_uppercase());
        }
        assert!(row.contains(&format!("| {words} |")), "{row} should say {words}");
    }
    let (page, _) = page.split_once("## Of the server's edge").unwrap();
    let reasons =
        page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |")).map(|(cell, _)| cell);
    let is_reason = |cell: &&str| {
        cell.contains('_') && cell.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
    };
    let stale: Vec<_> = reasons
        .filter(is_reason)
        .filter(|cell| !Reason::ALL.iter().any(|reason| reason.as_str() == *cell))
        .collect();
    assert!(stale.is_empty(), "docs/ERRORS.md names reasons that the code does not have: {stale:?}");
}
