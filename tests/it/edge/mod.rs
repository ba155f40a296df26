//! The server's edge over real sockets: what it lets in, what it says, how it ends.

mod calls;
mod connections;
mod drain;
mod http;
mod refusals;
mod served;
mod wire;
