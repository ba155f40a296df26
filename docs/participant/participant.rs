//! A service that joins the cascade: copy it with `Cargo.toml`, `build.rs` and `proto/` (README.md says how), and put your
//! own store in the place of the two maps.
//!
//! Run it with `cargo run -- 127.0.0.1:7001`, and tell Tenantry of it: `--participants documents=http://127.0.0.1:7001`.
//! With a certificate, a key and the authority of those who may call, it speaks mutual TLS:
//! `cargo run -- 127.0.0.1:7001 server.crt server.key authority.crt`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use self::pb::participant_server::{Participant, ParticipantServer};
use self::pb::{ApplyRequest, ApplyResponse, ObserveRequest, ObserveResponse, State, TenantRef};

/// What `build.rs` makes of the contract.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod pb {
    tonic::include_proto!("tenantry.participant.v1");
}

/// The metric of the tenants' limits that this service keeps; it leaves the others alone.
const METRIC: &str = "documents";

/// A tenant as this service knows it. Keep it in the same transaction as your data.
#[derive(Clone)]
struct Held {
    state: State,
    generation: i64,
    /// How many documents it may have; without end where its limits do not say. What came with the generation counts.
    documents_max: Option<i64>,
}

/// The service: tenants by uid, and their documents.
#[derive(Clone, Default)]
pub struct Documents {
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    tenants: HashMap<String, Held>,
    documents: HashMap<String, Vec<String>>,
}

impl Documents {
    /// What the service's own clients call to read. Whatever lets a client in asks the tenant's state first.
    pub fn read(&self, uid: &str) -> Result<Vec<String>, Status> {
        let inside = self.inside();
        match inside.state(uid) {
            State::Active | State::ReadOnly => Ok(inside.documents.get(uid).cloned().unwrap_or_default()),
            _ => Err(Status::permission_denied("the tenant is locked out")),
        }
    }

    /// What the service's own clients call to write.
    pub fn write(&self, uid: &str, document: &str) -> Result<(), Status> {
        let mut inside = self.inside();
        if inside.state(uid) != State::Active {
            return Err(Status::permission_denied("the tenant may not write"));
        }
        let documents_max = inside.tenants.get(uid).and_then(|held| held.documents_max);
        let documents = inside.documents.entry(uid.to_owned()).or_default();
        if documents_max.is_some_and(|max| i64::try_from(documents.len()).is_ok_and(|count| count >= max)) {
            return Err(Status::resource_exhausted("the tenant has all the documents that it may have"));
        }
        documents.push(document.to_owned());
        Ok(())
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn state(&self, uid: &str) -> State {
        self.tenants.get(uid).map_or(State::Unspecified, |held| held.state)
    }
}

#[tonic::async_trait]
impl Participant for Documents {
    /// Rule 1: a generation older than one applied is refused for good, the same one again changes nothing, and when this
    /// answers, it is done. Rule 7: limits come with a generation, also one of the same state.
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let ApplyRequest { tenant, desired, generation } = request.into_inner();
        let tenant = known(tenant)?;
        let (uid, documents_max) = (tenant.uid, tenant.limits.get(METRIC).copied());
        let state = State::try_from(desired).ok().filter(|state| *state != State::Unspecified);
        let state = state.ok_or_else(|| Status::invalid_argument("desired must be a state"))?;
        if generation < 1 {
            return Err(Status::invalid_argument("generation must be 1 or more"));
        }
        let mut inside = self.inside();
        let held = inside.tenants.get(&uid).cloned();
        let held = held.as_ref();
        if held.is_some_and(|held| held.generation > generation) {
            return Err(Status::failed_precondition("a newer change was applied already"));
        }
        if held.is_some_and(|held| held.generation == generation && held.state != state) {
            return Err(Status::failed_precondition("this generation is of another state"));
        }
        if held.is_some_and(|held| held.state == State::Deleted) && state != State::Deleted {
            return Err(Status::failed_precondition("the tenant's data is gone for good"));
        }
        if held.is_some_and(|held| held.generation == generation) {
            return Ok(Response::new(ApplyResponse { changed: false }));
        }
        if state == State::Deleted {
            inside.documents.remove(&uid);
        }
        let changed = held.is_none_or(|held| (held.state, held.documents_max) != (state, documents_max));
        // Of a deleted tenant too: it is by this that a late call for it is refused.
        inside.tenants.insert(uid, Held { state, generation, documents_max });
        Ok(Response::new(ApplyResponse { changed }))
    }

    /// Rule 2: answer what a client of yours would now get, not what you remember of the last Apply.
    async fn observe(&self, request: Request<ObserveRequest>) -> Result<Response<ObserveResponse>, Status> {
        let uid = known(request.into_inner().tenant)?.uid;
        let reads = self.read(&uid).is_ok();
        let inside = self.inside();
        let generation = inside.tenants.get(&uid).map_or(0, |held| held.generation);
        let state = match inside.state(&uid) {
            State::Suspended | State::Archived | State::Deleted if reads => State::Active,
            State::Deleted if inside.documents.contains_key(&uid) => State::Archived,
            state => state,
        };
        let desired = inside.state(&uid).into();
        Ok(Response::new(ObserveResponse { state: state.into(), generation, desired }))
    }
}

/// Rule 4: an id can be used again after its tenant was purged, a uid never.
fn known(tenant: Option<TenantRef>) -> Result<TenantRef, Status> {
    let tenant = tenant.filter(|tenant| !tenant.uid.is_empty());
    tenant.ok_or_else(|| Status::invalid_argument("tenant.uid must be set"))
}

/// Shows the certificate, and lets in who shows one of the authority. All three are PEM.
pub fn mutual(certificate: Vec<u8>, key: Vec<u8>, authority: Vec<u8>) -> ServerTlsConfig {
    ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(authority))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut server = Server::builder();
    let address = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => "127.0.0.1:7001",
        [address] => address,
        [address, certificate, key, authority] => {
            let [certificate, key, authority] = [certificate, key, authority].map(std::fs::read);
            server = server.tls_config(mutual(certificate?, key?, authority?))?;
            address
        }
        _ => return Err("usage: participant [ADDRESS [CERTIFICATE KEY AUTHORITY]]".into()),
    };
    let service = ParticipantServer::new(Documents::default());
    server.add_service(service).serve(address.parse()?).await?;
    Ok(())
}
