//! Reading: from which snapshot, and how fresh it must be.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::Registry;
use crate::domain::error::{Error, Reason};
use crate::domain::ids::Revision;
use crate::domain::violation::Violation;
use crate::store::log;
use crate::view::Snapshot;

/// How long a read waits for the freshness it demands.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a read demands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Freshness {
    /// This replica's view, as it is.
    #[default]
    Cached,
    /// At least this revision, of this log.
    AtLeast(Token),
    /// As of now, in the database.
    Latest,
}

/// A place in one log, as clients carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The first half of the log's epoch.
    pub epoch: u64,
    /// The place.
    pub revision: Revision,
}

impl Token {
    /// The place of a snapshot.
    pub fn of(epoch: Uuid, revision: Revision) -> Self {
        Self { epoch: epoch.as_u64_pair().0, revision }
    }

    /// Reads `EPOCH-REVISION`, both in hexadecimal.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, revision) = text.split_once('-')?;
        if epoch.len() != 16 || revision.is_empty() || revision.len() > 16 || revision.starts_with('+') {
            return None;
        }
        let epoch = u64::from_str_radix(epoch, 16).ok()?;
        let revision = u64::from_str_radix(revision, 16).ok()?;
        Some(Self { epoch, revision: Revision(revision) })
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{:x}", self.epoch, self.revision.get())
    }
}

impl Registry {
    /// A snapshot as fresh as demanded.
    ///
    /// # Errors
    ///
    /// Before the first load; if the view does not get there in time; for a token of another log.
    pub async fn read(&self, freshness: Freshness) -> Result<Arc<Snapshot>, Error> {
        match freshness {
            Freshness::Cached => self.view.snapshot(),
            Freshness::AtLeast(token) => {
                let snapshot = self.view.snapshot()?;
                if Token::of(snapshot.epoch, token.revision) != token {
                    return Err(Error::new(
                        Reason::EpochMismatch,
                        "the freshness token is of another database; forget it and read again",
                    ));
                }
                if snapshot.revision >= token.revision {
                    return Ok(snapshot);
                }
                self.view.at_least(token.revision, PATIENCE).await
            }
            Freshness::Latest => self.latest(PATIENCE).await,
        }
    }

    /// A snapshot with everything that is in the database now.
    pub(super) async fn latest(&self, patience: Duration) -> Result<Arc<Snapshot>, Error> {
        let until = Instant::now() + patience;
        loop {
            let seen = self.view.snapshot()?;
            let head = self.head(seen.revision, until.duration_since(Instant::now())).await?;
            let left = until.duration_since(Instant::now());
            if seen.is_of(head.epoch, head.seen) && seen.revision <= head.revision {
                return self.view.at_least(head.revision, left).await;
            }
            // What the view has is no longer so, and the follower is about to notice.
            self.view.replacing(&seen, left).await?;
        }
    }

    /// Waits until the view has seen a revision that a caller had from an answer, perhaps of another replica.
    ///
    /// # Errors
    ///
    /// For one that the log has not come to; if the view does not get there in time.
    pub(super) async fn reach(&self, field: &'static str, revision: Revision) -> Result<(), Error> {
        if self.view.has(revision) {
            return Ok(());
        }
        let head = self.head(revision, PATIENCE).await?.revision;
        if revision > head {
            let why = format!("lies ahead of the log, which is at {head}");
            return Err(Error::invalid(Reason::InvalidRevision, vec![Violation::new(field, why)]));
        }
        self.view.at_least(revision, PATIENCE).await.map(drop)
    }

    /// How far the log is, and which entry it has at a revision.
    async fn head(&self, seen: Revision, patience: Duration) -> Result<log::Head, Error> {
        let head = async {
            let client = self.database.pooled().await?;
            log::head(&**client, seen).await
        };
        let head = tokio::time::timeout(patience, head)
            .await
            .map_err(|_| Error::unavailable("the head could not be read in time"))?;
        Ok(head?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_nothing_else_does() {
        let token = Token { epoch: 7, revision: Revision(0xfeed) };
        assert_eq!(token.to_string(), "0000000000000007-feed");
        assert_eq!(Token::parse(&token.to_string()), Some(token));
        for text in [
            "",
            "-",
            "7-1",
            "0000000000000007-",
            "0000000000000007-+1",
            "000000000000000g-1",
            "0000000000000007-11111111111111111",
        ] {
            assert_eq!(Token::parse(text), None, "{text}");
        }
    }
}
