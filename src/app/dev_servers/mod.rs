//! Real servers of target systems for `tenantry demo --real` and the tests: one file a kind.
//!
//! Each is started on free loopback ports, keeps its data in a temporary folder, and ends with the process that started
//! it.

pub mod alertmanager;
pub mod ceph;
pub mod program;
pub mod redis;
pub mod seaweedfs;
pub mod versitygw;

/// A credential by which a server of ours lets somebody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name; its access key too.
    pub user: String,
    /// The secret. These servers hold nothing worth hiding, and listen on loopback alone.
    pub secret: String,
}

impl Login {
    /// Of a user, with a secret that derives from the name.
    pub fn of(user: &str) -> Self {
        Self { user: user.to_owned(), secret: format!("{user}-secret") }
    }
}
