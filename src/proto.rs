//! Generated code: messages, clients, servers and the descriptor set. Nothing of ours.
#![allow(missing_docs, unreachable_pub, clippy::pedantic, clippy::all)]

pub mod google {
    pub mod r#type {
        tonic::include_proto!("google.r#type");
    }
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
    pub mod api {
        tonic::include_proto!("google.api");
    }
}
pub mod tenantry {
    pub mod v1 {
        tonic::include_proto!("tenantry.v1");
    }
    pub mod participant {
        pub mod v1 {
            tonic::include_proto!("tenantry.participant.v1");
        }
    }
    pub mod stub {
        pub mod v1 {
            tonic::include_proto!("tenantry.stub.v1");
        }
    }
}
pub mod flagd {
    pub mod evaluation {
        pub mod v1 {
            tonic::include_proto!("flagd.evaluation.v1");
        }
        pub mod v2 {
            tonic::include_proto!("flagd.evaluation.v2");
        }
    }
    pub mod sync {
        pub mod v1 {
            tonic::include_proto!("flagd.sync.v1");
        }
    }
}
pub mod qdrant {
    tonic::include_proto!("qdrant");
}
pub use tenantry::{participant::v1 as participant, stub::v1 as stub, v1};

/// The descriptor set of every service, with comments and options, as bytes.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));

/// What a request is about, for the log.
pub trait Addressed {
    /// The tenant it names; empty where it names none.
    fn tenant_id(&self) -> &str {
        ""
    }

    /// The operation it names; empty where it names none.
    fn operation_id(&self) -> &str {
        ""
    }
}
include!(concat!(env!("OUT_DIR"), "/addressed.rs"));
