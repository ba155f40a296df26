//! The server's edge over real sockets: what it lets in, what it says, how it ends.

mod calls;
mod connections;
mod drain;
mod http;
mod refusals;
pub(crate) mod served;
pub(crate) mod wire;
