//! What an application may do in its database whoever its tenants are: tables, policies, owners and roles.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::GenericClient;

use super::super::Failure;
use super::super::access::failure;
use super::client::overreaches;

/// What was found of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rights {
    /// What lets clients see what is others', or do as we do, in our words. What they get from a table can be tried only where the
    /// tenant has rows in it, and what a login gets whom no policy binds, only as that login.
    pub(super) opened: Option<String>,
    /// Whether no table follows any tenant's state, as after `install`: what a client was seen to get says nothing then.
    pub(super) is_bare: bool,
}

impl Rights {
    fn are_sound(&self) -> bool {
        *self == Self::default()
    }
}

/// When they were last found to be sound. They are the same for every tenant, and to ask for them takes the database many
/// times longer than the rest of a look: 5 to 25 ms with ten to a hundred tables, 2 ms without.
#[derive(Debug)]
pub(super) struct Found {
    sound: Mutex<Option<Instant>>,
    age_max: Duration,
}

impl Found {
    pub(super) const fn new(age_max: Duration) -> Self {
        Self { sound: Mutex::new(None), age_max }
    }

    /// What they are, or were less than so long ago that a look may go by it. Only what is sound is remembered: that
    /// something was mended is seen at once.
    pub(super) async fn lately(&self, client: &impl GenericClient, role: &str) -> Result<Rights, Failure> {
        let sound = *self.sound.lock().unwrap_or_else(PoisonError::into_inner);
        if sound.is_some_and(|asked| asked.elapsed() < self.age_max) {
            return Ok(Rights::default());
        }
        self.now(client, role).await
    }

    /// What they are.
    pub(super) async fn now(&self, client: &impl GenericClient, role: &str) -> Result<Rights, Failure> {
        let asked = Instant::now();
        let row =
            client.query_one(include_str!("../sql/probe/rights.sql"), &[&role]).await.map_err(failure)?;
        let [table, unbound, overreach]: [Option<String>; 3] = [row.get(0), row.get(1), row.get(2)];
        let opened = unbound
            .map(|login| not_bound(&login))
            .or_else(|| table.map(|table| not_protected(&table)))
            .or_else(|| overreach.map(|what| overreaches(&what)));
        let rights = Rights { opened, is_bare: row.get(3) };
        *self.sound.lock().unwrap_or_else(PoisonError::into_inner) = rights.are_sound().then_some(asked);
        Ok(rights)
    }
}

fn not_bound(login: &str) -> String {
    format!(
        "no policy binds the application's role {login}, which can see every tenant's rows: take that away (`ALTER ROLE … \
         NOBYPASSRLS NOSUPERUSER NOCREATEROLE`), or its membership"
    )
}

fn not_protected(named: &str) -> String {
    format!(
        "tables or views are not as `tenancy.protect` wants them: {named}; run that for it again, drop policies that let more \
         through, revoke rights that no policy binds (of an owner: `ALTER … OWNER TO`)"
    )
}
