//! A tenant's collection and its snapshots: made, kept for the archive, removed without a trace.
//!
//! Snapshots lie on each node by itself and outlive their collection: they are not listed while it is gone, and are there
//! again when one of its name is. So they are removed first; and where the collection is gone already, one of its name
//! is made for as long as it takes to look.

use std::time::Instant;

use tonic::Code;

use super::super::Failure;
use super::node::Node;
use crate::proto::qdrant::CreateCollection;

/// Makes a collection; one that is there stays as it is.
pub(super) async fn make(node: &Node, shape: CreateCollection) -> Result<(), Failure> {
    let name = shape.collection_name.clone();
    match node.create_collection(shape).await {
        // Another call may have been first.
        Err(status) if !node.is_there(&name).await.map_err(|status| node.failed(status))? => {
            Err(node.failed(status))
        }
        _ => Ok(()),
    }
}

/// The names of the snapshots on every node.
pub(super) async fn all_snapshots(nodes: &[Node], collection: &str) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for node in nodes {
        all.extend(snapshots(node, collection).await?);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Sees to it that each node has a snapshot besides the older ones.
pub(super) async fn archive(nodes: &[Node], collection: &str, older: &[String]) -> Result<(), Failure> {
    for node in nodes {
        if !has_younger(node, collection, older).await? {
            node.take_snapshot(collection).await.map_err(|status| node.failed(status))?;
        }
    }
    Ok(())
}

/// Whether each node has a snapshot besides the older ones.
pub(super) async fn is_archived(nodes: &[Node], collection: &str, older: &[String]) -> Result<bool, Failure> {
    for node in nodes {
        if !has_younger(node, collection, older).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the snapshots from every node, then the collection by way of the `first`, and looks that nothing is left.
pub(super) async fn purge(
    nodes: &[Node],
    first: &Node,
    shape: CreateCollection,
    until: Instant,
) -> Result<(), Failure> {
    let name = shape.collection_name.clone();
    make(first, shape).await?;
    let mut removed = 0_usize;
    for node in nodes {
        for snapshot in snapshots(node, &name).await? {
            if Instant::now() > until {
                return Err(Failure::unfinished(format!(
                    "{removed} snapshots were removed, and there are more"
                )));
            }
            node.delete_snapshot(&name, &snapshot).await.map_err(|status| node.failed(status))?;
            removed += 1;
        }
        if !snapshots(node, &name).await?.is_empty() {
            return Err(Failure::retryable("snapshots of the tenant's collection keep appearing"));
        }
    }
    first.delete_collection(&name).await.map_err(|status| first.failed(status))?;
    for node in nodes {
        if node.is_there(&name).await.map_err(|status| node.failed(status))? {
            return Err(Failure::retryable("the tenant's collection is still there"));
        }
    }
    Ok(())
}

async fn has_younger(node: &Node, collection: &str, older: &[String]) -> Result<bool, Failure> {
    Ok(snapshots(node, collection).await?.iter().any(|name| !older.contains(name)))
}

async fn snapshots(node: &Node, collection: &str) -> Result<Vec<String>, Failure> {
    node.snapshots(collection).await.map_err(|status| match status.code() {
        Code::NotFound => {
            node.at(Failure::retryable("the tenant's collection is not there, or not yet on every node"))
        }
        _ => node.failed(status),
    })
}
