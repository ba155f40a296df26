//! A target system that exists in this process only, behind a real socket.
//!
//! `tenantry dev` uses it in place of a vector database, an object store, a cache and monitoring, and the tests make it
//! misbehave: fail, hang, answer late, lie, or drop the reply after doing the work.

mod control;
mod kept;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::remote::{decode_state, encode_state};
use crate::domain::lifecycle::Desired;
use crate::proto::participant::participant_server::{Participant, ParticipantServer};
use crate::proto::participant::{
    ApplyRequest, ApplyResponse, ObserveRequest, ObserveResponse, State, TenantRef,
};
use crate::proto::stub::stub_control_server::StubControlServer;

/// How a stub misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Fails so many more times, in a way that may pass; then works again.
    Failing(u32),
    /// Refuses for good.
    Refusing,
    /// Never answers, and does nothing.
    Hanging,
    /// Does the work, then answers so much later.
    Late(Duration),
    /// Says that it did the work, and did not.
    Lying,
    /// Does the work, then fails as if the connection broke; so many more times.
    DroppingReplies(u32),
    /// Does the work, and fails each time as if the connection broke.
    Mute,
    /// Does the work, and never answers.
    Slow,
    /// Notes the generation, and does the work so much later: whoever looks in between, or cuts it off, finds the new number
    /// with the state before.
    Halfway(Duration),
    /// Of every six calls about a tenant it fails the first and the fourth, in a way that may pass: an attempt fails before it
    /// did anything, and is looked after; the next one fails after it did, the third succeeds.
    Flapping,
    /// Says of what it observes that it is in the desired state, whatever it is in.
    Unseeing,
    /// Says of what it observes no generation.
    Unnumbered,
}

/// What a stub holds of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The state it is really in.
    pub state: Desired,
    /// The generation applied last.
    pub generation: u64,
}

/// A tenant as a call names it.
#[derive(Debug, Clone)]
struct Who {
    uid: String,
    tenant_id: String,
}

#[derive(Debug, Default)]
struct Inside {
    /// By uid.
    held: HashMap<String, Held>,
    /// Tenant ids by uid, for people.
    names: BTreeMap<String, String>,
    /// Every change that was really made, in order.
    effects: Vec<(String, Held)>,
    /// By uid or tenant id; the empty name is everybody else.
    faults: HashMap<String, Fault>,
    /// Where it is kept between runs, if it is.
    file: Option<File>,
    /// Calls so far about a tenant at which it flaps, by the fault's name.
    flaps: HashMap<String, u64>,
    /// What was last asked for, for a stub that says so without looking.
    asked: HashMap<String, Held>,
    calls: u64,
}

/// A stub that is being served.
#[derive(Debug, Clone)]
pub struct Stub {
    inside: Arc<Mutex<Inside>>,
    address: SocketAddr,
    latency: Duration,
    stop: CancellationToken,
}

impl Stub {
    /// Serves a stub on a free loopback port. Every `apply` takes `latency`.
    ///
    /// # Errors
    ///
    /// Where no port can be had.
    pub async fn start(latency: Duration) -> std::io::Result<Self> {
        Self::serve(latency, 0, Inside::default()).await
    }

    /// Serves a stub on a loopback port (0: a free one) that remembers what it holds in a file.
    ///
    /// # Errors
    ///
    /// Where the port is taken or the file cannot be read.
    pub async fn start_kept(latency: Duration, port: u16, file: &Path) -> std::io::Result<Self> {
        Self::serve(latency, port, Inside::load(file)?).await
    }

    async fn serve(latency: Duration, port: u16, inside: Inside) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let stub = Self {
            inside: Arc::new(Mutex::new(inside)),
            address: listener.local_addr()?,
            latency,
            stop: CancellationToken::new(),
        };
        let server = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .add_service(ParticipantServer::new(stub.clone()))
            .add_service(StubControlServer::new(stub.clone()))
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                stub.stop.clone().cancelled_owned(),
            );
        tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(error = %error, "a stub participant stopped");
            }
        });
        Ok(stub)
    }

    /// Where it is served.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Misbehaves towards a tenant, by uid or id, from now on; `None` behaves again. The empty name is everybody else.
    pub fn set_fault(&self, tenant: &str, fault: Option<Fault>) {
        let mut inside = self.inside();
        inside.flaps.remove(tenant);
        match fault {
            Some(fault) => inside.faults.insert(tenant.to_owned(), fault),
            None => inside.faults.remove(tenant),
        };
    }

    /// What it holds of a tenant.
    pub fn held(&self, uid: &str) -> Option<Held> {
        self.inside().held.get(uid).copied()
    }

    /// Puts a tenant into a state, as somebody does who changes the system by hand.
    pub fn put(&self, uid: &str, held: Held) {
        self.inside().held.insert(uid.to_owned(), held);
    }

    /// Has it know nothing of a tenant any more, as a target that keeps nothing of whom it purged.
    pub fn forget(&self, uid: &str) {
        self.inside().held.remove(uid);
    }

    /// Every change that was really made to a tenant, in order.
    pub fn effects(&self, uid: &str) -> Vec<Held> {
        self.inside().effects.iter().filter(|(of, _)| of == uid).map(|(_, held)| *held).collect()
    }

    /// Calls so far, of both kinds.
    pub fn calls(&self) -> u64 {
        self.inside().calls
    }

    /// Stops serving.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a generation that is new, and nothing else.
    fn note(&self, who: &Who, wanted: Held) {
        if let Some(held) = self.inside().held.get_mut(&who.uid) {
            held.generation = held.generation.max(wanted.generation);
        }
    }

    /// Makes the change, if the generation is new; answers whether anything changed.
    fn work(&self, who: &Who, wanted: Held) -> Result<bool, Status> {
        let mut inside = self.inside();
        match inside.held.get(&who.uid) {
            Some(held) if held.generation > wanted.generation => {
                return Err(Status::failed_precondition("a newer generation was applied already"));
            }
            Some(held) if *held == wanted => return Ok(false),
            _ => {}
        }
        inside.held.insert(who.uid.clone(), wanted);
        inside.names.insert(who.uid.clone(), who.tenant_id.clone());
        inside.effects.push((who.uid.clone(), wanted));
        inside
            .keep(&who.uid)
            .map_err(|error| Status::unavailable(format!("the stub cannot keep its state: {error}")))?;
        Ok(true)
    }
}

impl Inside {
    /// Under which name the fault of a tenant is kept: its own before everybody's.
    fn fault_name(&self, who: &Who) -> Option<String> {
        [who.uid.as_str(), &who.tenant_id, ""]
            .into_iter()
            .find(|name| self.faults.contains_key(*name))
            .map(str::to_owned)
    }

    /// The fault of this call; a counted one is used up.
    fn next_fault(&mut self, who: &Who) -> Option<Fault> {
        let name = self.fault_name(who)?;
        let fault = self.faults.get_mut(&name)?;
        let now = *fault;
        if now == Fault::Flapping {
            let calls = self.flaps.entry(name).or_default();
            *calls += 1;
            return matches!(*calls % 6, 1 | 4).then_some(Fault::Failing(1));
        }
        match fault {
            Fault::Failing(0 | 1) | Fault::DroppingReplies(0 | 1) => drop(self.faults.remove(&name)),
            Fault::Failing(more) | Fault::DroppingReplies(more) => *more -= 1,
            _ => {}
        }
        Some(now)
    }
}

#[tonic::async_trait]
impl Participant for Stub {
    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let request = request.into_inner();
        let who = who(request.tenant)?;
        let wanted = Held {
            state: State::try_from(request.desired)
                .ok()
                .and_then(decode_state)
                .ok_or_else(|| Status::invalid_argument("desired must be a state"))?,
            generation: u64::try_from(request.generation)
                .map_err(|_| Status::invalid_argument("generation must not be negative"))?,
        };
        let fault = {
            let mut inside = self.inside();
            inside.calls += 1;
            inside.asked.insert(who.uid.clone(), wanted);
            inside.next_fault(&who)
        };
        tokio::time::sleep(self.latency).await;
        match fault {
            Some(Fault::Failing(_)) => return Err(Status::unavailable("told to fail")),
            Some(Fault::Refusing) => return Err(Status::failed_precondition("told to refuse")),
            Some(Fault::Hanging) => std::future::pending::<()>().await,
            Some(Fault::Lying) => return Ok(Response::new(ApplyResponse { changed: true })),
            Some(Fault::Halfway(pause)) => {
                self.note(&who, wanted);
                tokio::time::sleep(pause).await;
            }
            Some(
                Fault::Late(_)
                | Fault::DroppingReplies(_)
                | Fault::Mute
                | Fault::Slow
                | Fault::Unseeing
                | Fault::Unnumbered
                | Fault::Flapping,
            )
            | None => {}
        }
        let changed = self.work(&who, wanted)?;
        match fault {
            Some(Fault::Slow) => std::future::pending().await,
            Some(Fault::DroppingReplies(_) | Fault::Mute) => {
                return Err(Status::unavailable("told to drop the reply"));
            }
            Some(Fault::Late(pause)) => tokio::time::sleep(pause).await,
            _ => {}
        }
        Ok(Response::new(ApplyResponse { changed }))
    }

    async fn observe(&self, request: Request<ObserveRequest>) -> Result<Response<ObserveResponse>, Status> {
        let who = who(request.into_inner().tenant)?;
        let fault = {
            let mut inside = self.inside();
            inside.calls += 1;
            match inside.fault_name(&who).and_then(|name| inside.faults.get(&name).copied()) {
                Some(Fault::Flapping) => inside.next_fault(&who),
                // Counted faults are those of changes.
                Some(Fault::Failing(_)) => None,
                fault => fault,
            }
        };
        match fault {
            Some(Fault::Hanging) => std::future::pending::<()>().await,
            Some(Fault::Failing(_)) => return Err(Status::unavailable("told to fail")),
            _ => {}
        }
        let inside = self.inside();
        let seen = match fault {
            Some(Fault::Unseeing) => inside.asked.get(&who.uid),
            _ => inside.held.get(&who.uid),
        };
        Ok(Response::new(ObserveResponse {
            state: seen.map_or(State::Unspecified, |held| encode_state(held.state)).into(),
            generation: match (seen, fault) {
                (None, _) | (_, Some(Fault::Unnumbered)) => 0,
                (Some(held), _) => i64::try_from(held.generation).unwrap_or(i64::MAX),
            },
            desired: seen
                .and_then(|held| {
                    inside.asked.get(&who.uid).filter(|asked| asked.generation == held.generation)
                })
                .map_or(State::Unspecified, |asked| encode_state(asked.state))
                .into(),
        }))
    }
}

fn who(tenant: Option<TenantRef>) -> Result<Who, Status> {
    tenant
        .filter(|tenant| !tenant.uid.is_empty())
        .map(|tenant| Who { uid: tenant.uid, tenant_id: tenant.tenant_id })
        .ok_or_else(|| Status::invalid_argument("tenant.uid must be set"))
}
