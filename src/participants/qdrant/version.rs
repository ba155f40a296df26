//! Which servers will do.

use super::super::Failure;
use super::node::Node;

/// The first that changes a point only if it fits: the others would let an older call overwrite a newer record.
const SINCE: (u64, u64) = (1, 16);

/// Fails for a server that is too old.
pub(super) async fn check(node: &Node) -> Result<(), Failure> {
    let version = node.version().await.map_err(|status| node.failed(status))?;
    match parse(&version) {
        Some(number) if number >= SINCE => Ok(()),
        _ => Err(node.at(Failure::permanent(format!(
            "the vector database is Qdrant {}: {}.{} or later is needed",
            crate::domain::text::quote(&version),
            SINCE.0,
            SINCE.1
        )))),
    }
}

fn parse(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(parse("1.20.0"), Some((1, 20)));
        assert_eq!(parse("1.9.7-dev"), Some((1, 9)));
        assert!(parse("1.9.7") < Some(SINCE) && parse("2.0.0") > Some(SINCE));
        for nonsense in ["", "1", "one.two", "v1.20"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }
}
