//! The vector database as a target, against a server of our own that speaks Qdrant's API (`server`), which is held
//! against Qdrant's own client (`published`).

mod absent;
mod client;
mod effect;
mod failures;
mod published;
mod removal;
mod rules;
pub(super) mod server;
mod taken_over;

use std::sync::Arc;

use tenantry::domain::lifecycle::Desired;
use tenantry::participants::{Participant, TenantRef};
use tonic::Code;

use self::client::{Client, May};
use self::server::{KEY, Options, Qdrant};
use super::{target, tenant};

async fn server() -> Qdrant {
    Qdrant::start(Options::default()).await
}

/// A target at every node of a server, with more settings behind.
fn at(server: &Qdrant, more: &str) -> Arc<dyn Participant> {
    target(&format!(
        "kind = \"qdrant\", urls = {:?}, vector_size = 4, api_key = \"{KEY}\", deadline = \"20s\"{more}",
        server.urls()
    ))
}

/// A tenant whose namespace was chosen.
fn named(tenant_id: &str, namespace: &str) -> TenantRef {
    let mut tenant = tenant(tenant_id);
    namespace.clone_into(&mut tenant.names.vector_namespace);
    tenant
}

/// The collection's own name.
fn collection(tenant: &TenantRef) -> String {
    format!("t.{}", tenant.uid.simple())
}

/// A tenant's two clients.
struct Clients {
    reader: Client,
    writer: Client,
}

type Met = (Result<Vec<u64>, Code>, Result<(), Code>);

impl Clients {
    async fn of(url: &str, tenant: &TenantRef) -> Self {
        Self {
            reader: Client::of(url, tenant, May::Read).await,
            writer: Client::of(url, tenant, May::Write).await,
        }
    }

    /// Writes the first vector.
    async fn fill(&self) {
        self.writer.put(1, [1.0, 0.0, 0.0, 0.0]).await.expect("the tenant's client writes");
    }

    /// What they meet: the reader reads, the writer reads and writes.
    async fn meet(&self) -> Met {
        let read = self.reader.nearest([1.0, 0.0, 0.0, 0.0]).await;
        let (read_by_writer, written) = self.writer.meets().await;
        if let (Ok(a), Ok(b)) = (&read, &read_by_writer) {
            assert_eq!(a.first(), b.first());
        }
        (read.map(|ids| ids.into_iter().take(1).collect()), written)
    }
}

/// What the clients of a tenant in a state meet.
fn expected(state: Desired) -> Met {
    match state {
        Desired::Active => (Ok(vec![1]), Ok(())),
        Desired::ReadOnly => (Ok(vec![1]), Err(Code::Unauthenticated)),
        _ => (Err(Code::Unauthenticated), Err(Code::Unauthenticated)),
    }
}
