//! PostgreSQL: the log, the writer, one module per aggregate.
//!
//! Every change is one [`log::Change`]: a statement of `sql/<aggregate>/<verb>.sql` between `sql/log/open.sql` and
//! `sql/log/append.sql`, so that state, event, revision and kept reply come into being together or not at all.

pub mod background;
pub mod bulks;
pub mod clock;
pub mod committed;
pub mod connect;
pub mod error;
pub mod evaluations;
pub mod flags;
pub mod log;
pub mod migrate;
pub mod operations;
mod pipeline;
pub mod reading;
pub mod restored;
pub mod target_places;
pub mod targets;
pub mod targets_reached;
pub mod tenants;
pub mod tiers;
mod tls;
pub mod writer;

pub use self::error::Error;

/// The statement of a change: its own part between what every change begins and ends with.
macro_rules! change_sql {
    ($file:literal) => {
        concat!(
            include_str!("sql/log/open.sql"),
            include_str!(concat!("sql/", $file)),
            include_str!("sql/log/append.sql")
        )
    };
}
use change_sql;
