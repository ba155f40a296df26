//! Where OpenFeature's protocols are served: on listeners of their own, or on those that there are.

use std::fmt;
use std::net::{SocketAddr, TcpListener};

use axum::Router;
use tonic::service::Routes;

use super::server::{StartError, bind, set_up};
use crate::config::{self, Config};
use crate::grpc::edge::{NoSuchPage, reflection};
use crate::grpc::flagd::{self, Flagd};
use crate::http::ofrep;
use crate::services::openfeature::OpenFeature;

/// What is served at one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Served {
    address: SocketAddr,
    flag: &'static str,
    protocols: Protocols,
}

/// Which of the protocols.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Protocols {
    pub(super) evaluation: bool,
    pub(super) sync: bool,
    pub(super) ofrep: bool,
}

impl Protocols {
    const fn with(mut self, protocol: Protocol) -> Self {
        match protocol {
            Protocol::Evaluation => self.evaluation = true,
            Protocol::Sync => self.sync = true,
            Protocol::Ofrep => self.ofrep = true,
        }
        self
    }

    /// The packages of its services.
    pub(super) fn packages(self) -> Vec<&'static str> {
        let all = [(self.evaluation, "flagd.evaluation."), (self.sync, "flagd.sync.")];
        all.into_iter().filter_map(|(served, package)| served.then_some(package)).collect()
    }

    /// Adds the services to others.
    pub(super) fn add_to(self, mut routes: Routes, feature: &OpenFeature, request_max: usize) -> Routes {
        if self.evaluation {
            routes = flagd::add_evaluation(routes, feature.clone(), request_max);
        }
        if self.sync {
            routes = flagd::add_sync(routes, feature.clone(), request_max);
        }
        routes
    }

    /// flagd's evaluation, where it is served.
    pub(super) fn flagd(self, feature: &OpenFeature) -> Option<Flagd> {
        self.evaluation.then(|| Flagd::new(feature.clone()))
    }

    /// OFREP's pages, where they are served.
    pub(super) fn pages(self, feature: &OpenFeature) -> Option<Router> {
        self.ofrep.then(|| ofrep::router(feature.clone()))
    }
}

/// One of the protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Evaluation,
    Sync,
    Ofrep,
}

/// A listener to be.
pub(super) struct Own {
    pub(super) socket: TcpListener,
    pub(super) routes: Routes,
    pub(super) flagd: Option<Flagd>,
    pub(super) pages: Option<Router>,
}

/// What goes where.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Beside what the gRPC listener serves.
    pub(super) grpc: Protocols,
    /// Beside what the HTTP listener serves.
    pub(super) http: Protocols,
    own: Vec<Served>,
}

impl Plan {
    /// Two settings with the same address share a listener; port 0 is a free one for each.
    pub(super) fn of(config: &Config) -> Self {
        let mut plan = Self::default();
        for (protocol, flag, address) in asked(&config.openfeature) {
            let fixed = address.port() != 0;
            if fixed && address == config.server.grpc_listen {
                plan.grpc = plan.grpc.with(protocol);
            } else if fixed && address == config.server.http_listen {
                plan.http = plan.http.with(protocol);
            } else if let Some(served) = plan.own.iter_mut().find(|own| fixed && own.address == address) {
                served.protocols = served.protocols.with(protocol);
            } else {
                let protocols = Protocols::default().with(protocol);
                plan.own.push(Served { address, flag, protocols });
            }
        }
        plan
    }

    /// Says whether the listeners that are its own can be had.
    pub(super) fn check(&self) -> Result<(), StartError> {
        self.own.iter().try_for_each(|served| bind(served.flag, served.address).map(drop))
    }

    /// Binds the listeners that are its own. Each tells by reflection which of all `services` it has.
    pub(super) fn listen(
        &self,
        feature: &OpenFeature,
        request_max: usize,
        services: &[String],
    ) -> Result<Vec<Own>, StartError> {
        let own = self.own.iter().map(|served| {
            let packages = [served.protocols.packages(), vec!["grpc.reflection."]].concat();
            let is_of = |name: &&String| packages.iter().any(|package| name.starts_with(package));
            let has: Vec<_> = services.iter().filter(is_of).cloned().collect();
            let routes = Routes::default()
                .add_service(reflection::v1(&has).map_err(set_up)?)
                .add_service(reflection::v1alpha(&has).map_err(set_up)?);
            let routes = served.protocols.add_to(routes, feature, request_max);
            let pages = served.protocols.pages(feature).map(alone);
            let flagd = served.protocols.flagd(feature);
            Ok(Own { socket: bind(served.flag, served.address)?, routes, flagd, pages })
        });
        own.collect()
    }

    /// The addresses as bound: those of the gRPC and the HTTP listener, then its own in order.
    pub(super) fn addresses(&self, grpc: SocketAddr, http: SocketAddr, own: &[SocketAddr]) -> Addresses {
        let of = |has: fn(Protocols) -> bool| {
            let own =
                self.own.iter().zip(own).find(|(served, _)| has(served.protocols)).map(|(_, bound)| *bound);
            has(self.grpc).then_some(grpc).or_else(|| has(self.http).then_some(http)).or(own)
        };
        Addresses {
            evaluation: of(|served| served.evaluation),
            sync: of(|served| served.sync),
            ofrep: of(|served| served.ofrep),
        }
    }
}

/// Where each protocol is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Addresses {
    /// flagd's evaluation service.
    pub evaluation: Option<SocketAddr>,
    /// flagd's sync service.
    pub sync: Option<SocketAddr>,
    /// OFREP.
    pub ofrep: Option<SocketAddr>,
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [("evaluation", self.evaluation), ("sync", self.sync), ("OFREP", self.ofrep)];
        let mut separator = "";
        for (name, address) in all {
            if let Some(address) = address {
                write!(f, "{separator}{name} {address}")?;
                separator = ", ";
            }
        }
        if separator.is_empty() { f.write_str("nowhere") } else { Ok(()) }
    }
}

fn asked(settings: &config::OpenFeature) -> impl Iterator<Item = (Protocol, &'static str, SocketAddr)> {
    settings.addresses().map(|(flag, address)| {
        let protocol = match flag {
            "openfeature-evaluation-listen" => Protocol::Evaluation,
            "openfeature-sync-listen" => Protocol::Sync,
            _ => Protocol::Ofrep,
        };
        (protocol, flag, address)
    })
}

/// OFREP's pages on a listener without others.
pub(super) fn alone(pages: Router) -> Router {
    pages.fallback(no_such_page)
}

async fn no_such_page() -> axum::response::Response {
    let mut response = axum::response::IntoResponse::into_response((
        axum::http::StatusCode::NOT_FOUND,
        "There is no such page; OFREP is served below /ofrep/v1/.\n",
    ));
    response.extensions_mut().insert(NoSuchPage);
    response
}
