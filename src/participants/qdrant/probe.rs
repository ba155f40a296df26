//! Trying the vector database as the tenant's own client: with tokens that claim what the tenant's claim.
//!
//! A try leaves no trace. Reading counts; writing deletes a point that does not exist.

use tonic::Code;
use uuid::Uuid;

use super::super::{Failure, TenantRef};
use super::node::{Node, is_refusal};
use super::place::Place;
use super::record::CONTROL;
use super::token::{Grant, Mint};
use crate::config::Secret;
use crate::proto::qdrant::points_selector::PointsSelectorOneOf;
use crate::proto::qdrant::{DeletePoints, PointId, PointsIdsList, PointsSelector, point_id::PointIdOptions};

/// What a token meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Door {
    /// It is refused.
    Shut,
    /// It is accepted, and its alias leads nowhere.
    Nowhere,
    /// It is served.
    Open,
}

/// What the tenant's tokens meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doors {
    pub(super) read: Door,
    pub(super) write: Door,
}

/// Who tries.
pub(super) struct Prober {
    mint: Mint,
    records: String,
}

impl Prober {
    pub(super) fn new(key: &Secret<String>, records: &str) -> Self {
        Self { mint: Mint::new(key, records.to_owned()), records: records.to_owned() }
    }

    /// Fails unless a token that nobody locks out is served: else a refusal would prove nothing.
    pub(super) async fn control(&self, node: &Node) -> Result<(), Failure> {
        let outcome = self.as_client(node, &self.records, CONTROL, Grant::Read)?.read(&self.records).await;
        match outcome {
            Err(status) if is_refusal(&status) => Err(node.at(Failure::retryable(
                "the vector database refuses a token that nothing of ours locks out: `jwt_rbac` is off, our key is \
                 not the one that it checks tokens with, or our clock is hours behind its own",
            ))),
            outcome => outcome.map_err(|status| node.failed(status)),
        }
    }

    /// What the tenant's tokens meet at a node.
    pub(super) async fn doors(
        &self,
        node: &Node,
        place: &Place,
        tenant: &TenantRef,
    ) -> Result<Doors, Failure> {
        let client = self.as_client(node, &place.alias, tenant.uid, Grant::Read)?;
        let read = door(node, client.read(&place.alias).await)?;
        let client = self.as_client(node, &place.alias, tenant.uid, Grant::Write)?;
        let write = door(node, client.delete_points(nothing(&place.alias)).await)?;
        Ok(Doors { read, write })
    }

    fn as_client(&self, node: &Node, name: &str, uid: Uuid, grant: Grant) -> Result<Node, Failure> {
        let token = self.mint.token(name, uid, grant);
        // Names hold no letter that could spoil it.
        token.map(|token| node.acting_as(token)).ok_or_else(|| Failure::permanent("a token cannot be made"))
    }
}

fn nothing(name: &str) -> DeletePoints {
    let nobody = PointId { point_id_options: Some(PointIdOptions::Uuid(Uuid::new_v4().to_string())) };
    let ids = PointsSelectorOneOf::Points(PointsIdsList { ids: vec![nobody] });
    DeletePoints {
        collection_name: name.to_owned(),
        wait: Some(true),
        points: Some(PointsSelector { points_selector_one_of: Some(ids) }),
        ordering: None,
    }
}

fn door(node: &Node, outcome: Result<(), tonic::Status>) -> Result<Door, Failure> {
    match outcome {
        Ok(()) => Ok(Door::Open),
        Err(status) if is_refusal(&status) => Ok(Door::Shut),
        Err(status) if status.code() == Code::NotFound => Ok(Door::Nowhere),
        Err(status) => Err(node.failed(status)),
    }
}
