//! A service that joins the cascade: copy it, and put your own store in the place of the two maps.
//!
//! Run it with `cargo run --example participant -- 127.0.0.1:7001`, and tell Tenantry of it:
//! `--participants documents=http://127.0.0.1:7001`. In a project of your own the messages come from
//! `proto/tenantry/participant/v1/participant.proto` by `tonic-prost-build`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tenantry::proto::participant::participant_server::{Participant, ParticipantServer};
use tenantry::proto::participant::{
    ApplyRequest, ApplyResponse, ObserveRequest, ObserveResponse, State, TenantRef,
};
use tonic::{Request, Response, Status};

/// A tenant as this service knows it. Keep it in the same transaction as your data.
#[derive(Clone, Copy)]
struct Held {
    state: State,
    generation: i64,
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
        inside.documents.entry(uid.to_owned()).or_default().push(document.to_owned());
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
    /// Rule 1: a generation older than one applied is refused for good. Rule 2: the same one again changes nothing.
    /// Rule 3: when this answers, it is done.
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let ApplyRequest { tenant, desired, generation } = request.into_inner();
        let uid = uid(tenant)?;
        let state = State::try_from(desired).ok().filter(|state| *state != State::Unspecified);
        let state = state.ok_or_else(|| Status::invalid_argument("desired must be a state"))?;
        let mut inside = self.inside();
        let held = inside.tenants.get(&uid).copied();
        if held.is_some_and(|held| held.generation > generation) {
            return Err(Status::failed_precondition("a newer change was applied already"));
        }
        if state == State::Deleted {
            inside.documents.remove(&uid);
        }
        inside.tenants.insert(uid, Held { state, generation });
        let changed = held.is_none_or(|held| held.state != state);
        Ok(Response::new(ApplyResponse { changed }))
    }

    /// Rule 4: answer what a client of yours would now get, not what you remember of the last Apply.
    async fn observe(&self, request: Request<ObserveRequest>) -> Result<Response<ObserveResponse>, Status> {
        let uid = uid(request.into_inner().tenant)?;
        let reads = self.read(&uid).is_ok();
        let inside = self.inside();
        let generation = inside.tenants.get(&uid).map_or(0, |held| held.generation);
        let state = match inside.state(&uid) {
            State::Suspended | State::Archived | State::Deleted if reads => State::Active,
            State::Deleted if inside.documents.contains_key(&uid) => State::Archived,
            state => state,
        };
        Ok(Response::new(ObserveResponse { state: state.into(), generation }))
    }
}

/// Names can be used again after a tenant was purged; a uid never is.
fn uid(tenant: Option<TenantRef>) -> Result<String, Status> {
    let uid = tenant.map(|tenant| tenant.uid).filter(|uid| !uid.is_empty());
    uid.ok_or_else(|| Status::invalid_argument("tenant.uid must be set"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7001".to_owned()).parse()?;
    let service = ParticipantServer::new(Documents::default());
    tonic::transport::Server::builder().add_service(service).serve(address).await?;
    Ok(())
}
