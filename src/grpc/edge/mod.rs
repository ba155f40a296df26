//! The server's edge: everything between a socket and a handler.
//!
//! [`serve`] owns the listeners. Their accept tasks deal connections to `threads` one-thread runtimes; on such a runtime
//! the connection's task runs after all of its streams' tasks, so answers leave in batches instead of one system call
//! each. A connection speaks HTTP/1.1 or HTTP/2 without TLS, a call on it gRPC, gRPC-Web or Connect (see `protocol`).
//! Around every call stands one pipeline: who is there (see `origin`), request id and span, deadline, admission, panics,
//! and words of our own in place of those of the libraries below (see `normalise`).
//!
//! A status made by us carries `grpc-status-details-bin`; the libraries never set it. That is the marker by which the
//! edge tells ours from theirs, so a handler's errors must always carry an `ErrorInfo`, or their text is replaced.

mod acceptor;
mod admission;
mod body;
mod call;
mod connection;
mod deadline;
pub mod health;
mod items;
mod limits;
mod listener;
mod methods;
mod metrics;
mod normalise;
mod origin;
mod pages;
mod pipeline;
mod protocol;
mod received;
pub mod reflection;
mod request_body;
mod request_id;
mod server;
mod status;
mod stream;
mod worker;

pub(in crate::grpc) use self::status::answer_too_large;
pub use self::{
    deadline::Deadline,
    items::Bounds,
    limits::Limits,
    listener::Listener,
    methods::Methods,
    metrics::Metrics,
    origin::Origins,
    pages::NoSuchPage,
    request_id::RequestId,
    server::{Drained, Server, Wiring, serve},
    status::DOMAIN,
};
