//! A listener: an address, what is served there, and to whom.

use std::net::TcpListener;

use axum::Router;

use super::origin::{Guard, Origins};

/// An address with what is served there. Every listener speaks every protocol, over HTTP/1.1 and HTTP/2, and all of them
/// share the threads, the limits and the metrics of [`super::serve`].
#[derive(Debug)]
pub struct Listener<S> {
    pub(super) name: &'static str,
    pub(super) socket: TcpListener,
    pub(super) services: S,
    pub(super) place: Place,
}

/// What every connection of a listener needs to know of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) pages: Option<Router>,
    pub(super) guard: Guard,
    pub(super) outlasts_drain: bool,
}

impl<S> Listener<S> {
    /// Serves calls of `services` (tonic's `Routes`, or any tower service of the same shape). `name` is for the log.
    pub fn new(name: &'static str, socket: TcpListener, services: S) -> Self {
        Self { name, socket, services, place: Place::default() }
    }

    /// Serves a router beside the calls, at every path that is no method of the contract. Its fallback marks what it
    /// does not serve with [`super::NoSuchPage`], so that a call to an unknown method is answered as a call.
    #[must_use]
    pub fn with_pages(mut self, pages: Router) -> Self {
        self.place.pages = Some(pages);
        self
    }

    /// Lets pages of these origins call. Without it, only pages of the listener's own origin can.
    #[must_use]
    pub fn for_origins(mut self, origins: Origins) -> Self {
        self.place.guard.origins = origins;
        self
    }

    /// Answers over HTTP/1.1 only to names of this machine: for a server that asks for no credentials.
    #[must_use]
    pub fn for_this_machine(mut self) -> Self {
        self.place.guard.loopback_hosts = true;
        self
    }

    /// Takes new connections, for pages, until [`super::Wiring::stop`]: so that a probe hears of the drain. Calls on
    /// them are refused.
    #[must_use]
    pub fn outlasting_the_drain(mut self) -> Self {
        self.place.outlasts_drain = true;
        self
    }
}
