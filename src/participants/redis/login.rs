//! What the tenant's user logs in with at each node of a cluster: the platform gives it, node by node, and a node that comes
//! back without its users has lost it.

use std::collections::BTreeMap;

use redis::Value;

use super::user::{has_flag, list};

/// What a user logs in with, as the rules that give it: hashes of passwords, or that it needs none.
type Login = Vec<String>;

/// The rule that no password is needed.
pub(super) const NONE_NEEDED: &str = "nopass";

/// Whether anybody logs in with it.
fn is_open(login: &Login) -> bool {
    login.iter().any(|rule| rule == NONE_NEEDED)
}

/// What it logs in with, by node.
#[derive(Debug, Default)]
pub(super) struct Logins {
    nodes: BTreeMap<String, Login>,
}

impl Logins {
    /// Takes down what a node tells of the user.
    pub(super) fn add(&mut self, address: &str, user: &Value) {
        let hashes = list(user, "passwords").iter().filter_map(|hash| match hash {
            Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
            Value::SimpleString(text) => Some(text.as_str()),
            _ => None,
        });
        let mut login: Login = hashes.map(|hash| format!("#{hash}")).collect();
        if has_flag(user, NONE_NEEDED) {
            login.push(NONE_NEEDED.to_owned());
        }
        login.sort_unstable();
        self.nodes.insert(address.to_owned(), login);
    }

    /// Whether anybody logs in at a node.
    pub(super) fn is_open_at(&self, address: &str) -> bool {
        self.nodes.get(address).is_some_and(is_open)
    }

    /// What most of those nodes have that have passwords. Where no more than half agree, only the platform knows.
    fn agreed(&self) -> Option<&Login> {
        let given = || self.nodes.values().filter(|login| !login.is_empty() && !is_open(login));
        let votes = |login: &Login| given().filter(|other| *other == login).count();
        let most = given().max_by_key(|login| votes(login))?;
        (votes(most) * 2 > given().count()).then_some(most)
    }

    /// The rules that bring a node to what most have. Where that is not known and anybody logs in, nobody does until the platform
    /// has set a password.
    pub(super) fn missing_at(&self, address: &str) -> Vec<String> {
        match (self.agreed(), self.nodes.get(address)) {
            (Some(agreed), Some(here)) if agreed != here => {
                let mut rules = vec!["resetpass".to_owned()];
                rules.extend(agreed.iter().cloned());
                rules
            }
            (None, Some(here)) if is_open(here) => vec!["resetpass".to_owned()],
            _ => Vec::new(),
        }
    }

    /// Where the user logs in with something else than at most nodes. That nobody gave it anything yet is no difference, and where
    /// it needs no password is for others to say.
    pub(super) fn differing(&self) -> Option<String> {
        let closed = || self.nodes.iter().filter(|(_, login)| !is_open(login));
        let (_, first) = closed().next()?;
        if closed().all(|(_, login)| login == first) {
            return None;
        }
        let Some(agreed) = self.agreed() else {
            let nodes: Vec<&str> = closed().map(|(address, _)| address.as_str()).collect();
            return Some(format!(
                "no more than half of the nodes agree on the passwords of the user: set them alike at {}",
                nodes.join(", ")
            ));
        };
        let other = closed().filter(|(_, login)| *login != agreed);
        let nodes: Vec<&str> = other.map(|(address, _)| address.as_str()).collect();
        Some(format!("the user has other passwords than at most nodes at {}", nodes.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(nodes: &[&[&str]]) -> Logins {
        let login = |words: &&[&str]| words.iter().map(ToString::to_string).collect();
        let nodes = nodes.iter().enumerate().map(|(node, words)| (node.to_string(), login(words)));
        Logins { nodes: nodes.collect() }
    }

    #[test]
    fn a_node_is_brought_to_what_most_have_and_a_tie_is_left_to_the_platform() {
        for (nodes, brought) in [
            (&[&["#a"][..], &["#a"], &[]][..], &[&[][..], &[], &["resetpass", "#a"]][..]),
            (&[&["#a"], &[], &[]], &[&[], &["resetpass", "#a"], &["resetpass", "#a"]]),
            (&[&["#a"], &["#b"], &["#b"]], &[&["resetpass", "#b"], &[], &[]]),
            (&[&["nopass"], &["#a", "#b"], &["#a", "#b"]], &[&["resetpass", "#a", "#b"], &[], &[]]),
            (&[&["nopass"], &["nopass"], &["#a"]], &[&["resetpass", "#a"], &["resetpass", "#a"], &[]]),
            (&[&["nopass"], &["nopass"]], &[&["resetpass"], &["resetpass"]]),
            (&[&["nopass"], &["#a"], &["#b"]], &[&["resetpass"], &[], &[]]),
            (&[&["#a"], &["#b"], &[]], &[&[], &[], &[]]),
            (&[&[], &[]], &[&[], &[]]),
        ] {
            let logins = logins(nodes);
            for (node, rules) in brought.iter().enumerate() {
                assert_eq!(logins.missing_at(&node.to_string()), *rules, "{nodes:?} at {node}");
            }
            let mut closed = nodes.iter().filter(|login| **login != ["nopass"]);
            let first = closed.next();
            let is_alike = closed.all(|login| Some(login) == first);
            assert_eq!(logins.differing().is_none(), is_alike, "{nodes:?}");
        }
    }
}
