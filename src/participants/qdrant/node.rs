//! The calls that are made to one node.

use std::time::Duration;

use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::super::Failure;
use super::super::unreached::{Unreached, unreached};
use crate::domain::text::quote;
use crate::proto::qdrant::alias_operations::Action;
use crate::proto::qdrant::collections_client::CollectionsClient;
use crate::proto::qdrant::points_client::PointsClient;
use crate::proto::qdrant::qdrant_client::QdrantClient;
use crate::proto::qdrant::snapshots_client::SnapshotsClient;
use crate::proto::qdrant::{
    AliasOperations, ChangeAliases, CountPoints, CreateAlias, CreateCollection, CreateFieldIndexCollection,
    CreateSnapshotRequest, DeleteAlias, DeleteCollection, DeletePoints, DeleteSnapshotRequest, GetPoints,
    HealthCheckRequest, ListCollectionAliasesRequest, ListSnapshotsRequest, PointsOperationResponse,
    RetrievedPoint, UpdateStatus, UpsertPoints,
};

/// What the header is called that holds a key or a token.
const HEADER: &str = "api-key";
/// Largest answer, in bytes: a record, or the names of a collection's snapshots.
const ANSWER_MAX: usize = 4 << 20;

/// By which a caller shows who it is; `None` shows nothing.
pub(super) type Credential = Option<AsciiMetadataValue>;

/// One node of a Qdrant, as somebody sees it.
#[derive(Clone)]
pub(super) struct Node {
    /// Host and port, where it is one of several.
    address: Option<String>,
    channel: Channel,
    credential: Credential,
    deadline: Duration,
}

impl Node {
    pub(super) const fn new(
        address: Option<String>,
        channel: Channel,
        credential: Credential,
        deadline: Duration,
    ) -> Self {
        Self { address, channel, credential, deadline }
    }

    /// What a failed call of ours means; of several nodes it says at which.
    pub(super) fn failed(&self, status: Status) -> Failure {
        self.at(failure(status))
    }

    /// A failure that says at which of several nodes.
    pub(super) fn at(&self, failure: Failure) -> Failure {
        match &self.address {
            Some(address) => Failure { message: format!("node {address}: {}", failure.message), ..failure },
            None => failure,
        }
    }

    /// Fails unless it says something within that time.
    pub(super) async fn answers(&self, patience: Duration) -> Result<(), Failure> {
        let version = tokio::time::timeout(patience, self.version()).await;
        version
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
            .map(drop)
            .map_err(|status| self.failed(status))
    }

    /// The same node with another credential.
    pub(super) fn acting_as(&self, credential: AsciiMetadataValue) -> Self {
        Self { credential: Some(credential), ..self.clone() }
    }

    /// The server's version, such as `1.20.0`. Asks for no credential.
    pub(super) async fn version(&self) -> Result<String, Status> {
        let mut client = QdrantClient::new(self.channel.clone());
        Ok(client.health_check(self.request(HealthCheckRequest {})).await?.into_inner().version)
    }

    /// Reads from a collection, by its own name or an alias.
    pub(super) async fn read(&self, name: &str) -> Result<(), Status> {
        let count = CountPoints { collection_name: name.to_owned(), filter: None, exact: Some(false) };
        self.points().count(self.request(count)).await.map(drop)
    }

    /// Whether there is a collection, or an alias, of the name.
    pub(super) async fn is_there(&self, name: &str) -> Result<bool, Status> {
        match self.read(name).await {
            Err(status) if status.code() == Code::NotFound => Ok(false),
            read => read.map(|()| true),
        }
    }

    pub(super) async fn create_collection(&self, shape: CreateCollection) -> Result<(), Status> {
        self.collections().create(self.request(shape)).await.map(drop)
    }

    /// One that is not there is deleted too.
    pub(super) async fn delete_collection(&self, name: &str) -> Result<(), Status> {
        let delete = DeleteCollection { collection_name: name.to_owned() };
        self.collections().delete(self.request(delete)).await.map(drop)
    }

    /// Makes an alias, or lets it lead to another collection.
    pub(super) async fn set_alias(&self, alias: &str, collection: &str) -> Result<(), Status> {
        let (collection_name, alias_name) = (collection.to_owned(), alias.to_owned());
        self.change_alias(Action::CreateAlias(CreateAlias { collection_name, alias_name })).await
    }

    /// One that is not there is deleted too.
    pub(super) async fn delete_alias(&self, alias: &str) -> Result<(), Status> {
        self.change_alias(Action::DeleteAlias(DeleteAlias { alias_name: alias.to_owned() })).await
    }

    async fn change_alias(&self, action: Action) -> Result<(), Status> {
        let change = ChangeAliases { actions: vec![AliasOperations { action: Some(action) }] };
        self.collections().update_aliases(self.request(change)).await.map(drop)
    }

    /// Whether an alias leads to a collection. None leads to one that is not there.
    pub(super) async fn leads(&self, alias: &str, collection: &str) -> Result<bool, Status> {
        let list = ListCollectionAliasesRequest { collection_name: collection.to_owned() };
        match self.collections().list_collection_aliases(self.request(list)).await {
            Ok(answer) => Ok(answer.into_inner().aliases.iter().any(|found| found.alias_name == alias)),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status),
        }
    }

    pub(super) async fn get(&self, points: GetPoints) -> Result<Vec<RetrievedPoint>, Status> {
        Ok(self.points().get(self.request(points)).await?.into_inner().result)
    }

    pub(super) async fn upsert(&self, points: UpsertPoints) -> Result<(), Status> {
        is_done(&self.points().upsert(self.request(points)).await?.into_inner())
    }

    pub(super) async fn delete_points(&self, points: DeletePoints) -> Result<(), Status> {
        is_done(&self.points().delete(self.request(points)).await?.into_inner())
    }

    pub(super) async fn index(&self, field: CreateFieldIndexCollection) -> Result<(), Status> {
        is_done(&self.points().create_field_index(self.request(field)).await?.into_inner())
    }

    /// The names of the collection's snapshots on this node.
    pub(super) async fn snapshots(&self, collection: &str) -> Result<Vec<String>, Status> {
        let list = ListSnapshotsRequest { collection_name: collection.to_owned() };
        let answer = self.snapshots_client().list(self.request(list)).await?.into_inner();
        Ok(answer.snapshot_descriptions.into_iter().map(|snapshot| snapshot.name).collect())
    }

    pub(super) async fn take_snapshot(&self, collection: &str) -> Result<(), Status> {
        let create = CreateSnapshotRequest { collection_name: collection.to_owned() };
        self.snapshots_client().create(self.request(create)).await.map(drop)
    }

    /// One that is not there is deleted too.
    pub(super) async fn delete_snapshot(&self, collection: &str, name: &str) -> Result<(), Status> {
        let (collection_name, snapshot_name) = (collection.to_owned(), name.to_owned());
        let delete = DeleteSnapshotRequest { collection_name, snapshot_name };
        match self.snapshots_client().delete(self.request(delete)).await {
            Err(status) if status.code() != Code::NotFound => Err(status),
            _ => Ok(()),
        }
    }

    fn collections(&self) -> CollectionsClient<Channel> {
        CollectionsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    fn points(&self) -> PointsClient<Channel> {
        PointsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    fn snapshots_client(&self) -> SnapshotsClient<Channel> {
        SnapshotsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        if let Some(credential) = &self.credential {
            request.metadata_mut().insert(HEADER, credential.clone());
        }
        request
    }
}

/// A change that was only taken in is not made yet.
fn is_done(answer: &PointsOperationResponse) -> Result<(), Status> {
    match answer.result.map(|result| result.status()) {
        Some(UpdateStatus::Completed) => Ok(()),
        _ => Err(Status::deadline_exceeded("the change was taken in and is not made yet")),
    }
}

/// Whether a credential was refused, before anything else was looked at.
pub(super) fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
}

/// What a failed call of ours means. The server's own words are quoted, so that they cannot pass for ours.
#[allow(clippy::needless_pass_by_value)] // The shape that map_err wants.
fn failure(status: Status) -> Failure {
    tracing::warn!(error = %status, "the vector database failed");
    let words = quote(status.message());
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => {
            Failure::unknown("the vector database did not answer in time")
        }
        // The transport's text is about sockets; the log has it.
        Code::Unavailable | Code::Unknown => {
            let Unreached { words, cause } = unreached(&status);
            Failure::unknown(format!("the vector database {words}")).with_cause(cause)
        }
        Code::Unauthenticated | Code::PermissionDenied => {
            Failure::retryable("the vector database does not accept our key")
        }
        Code::InvalidArgument | Code::AlreadyExists | Code::Unimplemented => {
            Failure::permanent(format!("the vector database refused: {words}"))
        }
        code => Failure::retryable(format!("the vector database failed with {code:?}: {words}")),
    }
}
