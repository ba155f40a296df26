//! Every protocol on every listener: gRPC-Web and Connect beside gRPC, over HTTP/1.1 and HTTP/2, in protobuf and JSON.

mod browsers;
mod clients;
mod conformance;
mod dialect;
mod exchange;
mod hostile;
mod program;
mod streams;
mod table;

pub(crate) use self::clients::clients_with_stubs;
