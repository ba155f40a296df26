//! The server's edge: everything between a socket and a handler.
//!
//! [`serve`] owns the listener. One accept task deals connections to `threads` one-thread runtimes; on such a runtime
//! the connection's task runs after all of its streams' tasks, so answers leave in batches instead of one system call
//! each. Around every call stands one pipeline: request id and span, deadline, admission, panics, and words of our own
//! in place of those of the libraries below (see `normalise`).
//!
//! A status made by us carries `grpc-status-details-bin`; the libraries never set it. That is the marker by which the
//! edge tells ours from theirs, so a handler's errors must always carry an `ErrorInfo`, or their text is replaced.

mod admission;
mod body;
mod call;
mod connection;
mod deadline;
pub mod health;
mod limits;
mod methods;
mod metrics;
mod normalise;
mod pipeline;
pub mod reflection;
mod request_body;
mod request_id;
mod server;
mod status;
mod stream;

pub use self::{
    deadline::Deadline,
    limits::Limits,
    methods::Methods,
    metrics::Metrics,
    request_id::RequestId,
    server::{Finished, Server, Wiring, serve},
    status::DOMAIN,
};
