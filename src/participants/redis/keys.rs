//! The keys under a tenant's prefix: removed in bounded batches, looked for again to prove it.

use std::time::Instant;

use super::super::Failure;
use super::nodes::{Cluster, Node, failure};

/// Looking for and removing keys.
pub(super) struct Keys {
    /// Keys looked at in one call.
    batch: u32,
}

/// One step of a scan.
struct Page {
    next: u64,
    keys: Vec<Vec<u8>>,
}

impl Keys {
    pub(super) const fn new(batch: u32) -> Self {
        Self { batch }
    }

    /// Removes what a whole scan of every server and database finds. What appears meanwhile is for the proof to find.
    pub(super) async fn remove(
        &self,
        cluster: &Cluster,
        prefix: &str,
        until: Instant,
    ) -> Result<(), Failure> {
        let mut removed = 0_usize;
        for node in cluster.holders() {
            let mut cursor = 0;
            loop {
                let page = self.page(node, prefix, cursor).await?;
                removed += page.keys.len();
                unlink(node, &page.keys).await?;
                cursor = page.next;
                if cursor == 0 {
                    break;
                }
                if Instant::now() > until {
                    return Err(out_of_time(removed));
                }
            }
        }
        Ok(())
    }

    /// Whether any server has a key of the tenant.
    pub(super) async fn any(&self, cluster: &Cluster, prefix: &str) -> Result<bool, Failure> {
        for node in cluster.holders() {
            let mut cursor = 0;
            loop {
                let page = self.page(node, prefix, cursor).await?;
                if !page.keys.is_empty() {
                    return Ok(true);
                }
                cursor = page.next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(false)
    }

    async fn page(&self, node: &Node, prefix: &str, cursor: u64) -> Result<Page, Failure> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern(prefix)).arg("COUNT").arg(self.batch);
        let (next, keys): (u64, Vec<Vec<u8>>) = node.run(&scan).await.map_err(failure)?;
        Ok(Page { next, keys })
    }
}

/// One command a key: keys of several slots do not fit into one. A key that moved to another node fails by itself, and
/// is found by the proof.
async fn unlink(node: &Node, keys: &[Vec<u8>]) -> Result<(), Failure> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut commands = redis::pipe();
    for key in keys {
        commands.cmd("UNLINK").arg(key).ignore();
    }
    commands.ignore_errors();
    node.run_each(&commands).await.map_err(failure)
}

fn out_of_time(removed: usize) -> Failure {
    if removed > 0 {
        return Failure::unfinished(format!("{removed} keys were removed, and there are more to look at"));
    }
    Failure::retryable("looking at every key takes longer than this target's `deadline` allows")
}

/// The prefix as a pattern that matches it and nothing else.
pub(super) fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for letter in prefix.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_pattern_for_itself_alone() {
        assert_eq!(pattern("t:1:"), "t:1:*");
        assert_eq!(pattern("a*[b]?\\"), "a\\*\\[b\\]\\?\\\\*");
    }
}
