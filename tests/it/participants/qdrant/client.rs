//! An ordinary client of a vector database, with a token as a platform makes it for its tenant: the claims that
//! docs/targets/qdrant.md tells, signed here by other code than the adapter's.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tenantry::participants::TenantRef;
use tenantry::proto::qdrant as wire;
use tenantry::proto::qdrant::collections_client::CollectionsClient;
use tenantry::proto::qdrant::point_id::PointIdOptions;
use tenantry::proto::qdrant::points_client::PointsClient;
use tenantry::proto::qdrant::snapshots_client::SnapshotsClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::server::KEY;

/// What is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    Read,
    Write,
}

/// One client.
#[derive(Clone)]
pub(super) struct Client {
    channel: Channel,
    credential: String,
    /// The name by which it calls its collection.
    pub name: String,
}

/// A token with these claims.
pub(super) fn sign(claims: &Value, key: &str) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

/// The claims of a tenant's token.
pub(super) fn claims(tenant: &TenantRef, may: May) -> Value {
    let (access, grant) = match may {
        May::Read => ("r", "read"),
        May::Write => ("rw", "write"),
    };
    json!({
        "access": [{ "collection": tenant.names.vector_namespace, "access": access }],
        "value_exists": {
            "collection": "tenantry.records",
            "matches": [{ "key": "uid", "value": tenant.uid }, { "key": "grants", "value": grant }],
        },
    })
}

impl Client {
    /// The tenant's own, which calls its collection by the alias.
    pub(super) async fn of(url: &str, tenant: &TenantRef, may: May) -> Self {
        Self::with(url, &sign(&claims(tenant, may), KEY), &tenant.names.vector_namespace).await
    }

    /// Somebody with a credential, who calls a collection by some name.
    pub(super) async fn with(url: &str, credential: &str, name: &str) -> Self {
        let channel = Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
        Self { channel, credential: credential.to_owned(), name: name.to_owned() }
    }

    /// The same client with another name for its collection.
    pub(super) fn calling(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("api-key", self.credential.parse().unwrap());
        request
    }

    /// The ids of the vectors that are nearest to one.
    pub(super) async fn nearest(&self, wanted: [f32; 4]) -> Result<Vec<u64>, Code> {
        let dense = wire::vector_input::Variant::Dense(wire::DenseVector { data: wanted.to_vec() });
        let nearest = wire::query::Variant::Nearest(wire::VectorInput { variant: Some(dense) });
        let query = wire::QueryPoints {
            collection_name: self.name.clone(),
            query: Some(wire::Query { variant: Some(nearest) }),
            limit: Some(2),
            ..Default::default()
        };
        let found = PointsClient::new(self.channel.clone()).query(self.request(query)).await;
        let found = found.map_err(|status| status.code())?.into_inner().result;
        Ok(found.into_iter().map(|hit| number(hit.id)).collect())
    }

    /// Writes a vector.
    pub(super) async fn put(&self, id: u64, vector: [f32; 4]) -> Result<(), Code> {
        let dense = wire::vector::Vector::Dense(wire::DenseVector { data: vector.to_vec() });
        let vector = wire::Vector { data: Vec::new(), vector: Some(dense) };
        let vectors = wire::Vectors { vectors_options: Some(wire::vectors::VectorsOptions::Vector(vector)) };
        let id = wire::PointId { point_id_options: Some(PointIdOptions::Num(id)) };
        let upsert = wire::UpsertPoints {
            collection_name: self.name.clone(),
            wait: Some(true),
            points: vec![wire::PointStruct { id: Some(id), payload: [].into(), vectors: Some(vectors) }],
            ..Default::default()
        };
        code(PointsClient::new(self.channel.clone()).upsert(self.request(upsert)).await)
    }

    /// What it gets: whether it reads, and whether it writes.
    pub(super) async fn meets(&self) -> (Result<Vec<u64>, Code>, Result<(), Code>) {
        let read = self.nearest([1.0, 0.0, 0.0, 0.0]).await;
        (read, self.put(2, [0.0, 1.0, 0.0, 0.0]).await)
    }

    pub(super) async fn take_snapshot(&self) -> Result<(), Code> {
        let create = wire::CreateSnapshotRequest { collection_name: self.name.clone() };
        code(SnapshotsClient::new(self.channel.clone()).create(self.request(create)).await)
    }

    pub(super) async fn drop_collection(&self) -> Result<(), Code> {
        let delete = wire::DeleteCollection { collection_name: self.name.clone() };
        code(CollectionsClient::new(self.channel.clone()).delete(self.request(delete)).await)
    }

    pub(super) async fn set_alias(&self, alias: &str) -> Result<(), Code> {
        let (collection_name, alias_name) = (self.name.clone(), alias.to_owned());
        let create =
            wire::alias_operations::Action::CreateAlias(wire::CreateAlias { collection_name, alias_name });
        let change = wire::ChangeAliases { actions: vec![wire::AliasOperations { action: Some(create) }] };
        code(CollectionsClient::new(self.channel.clone()).update_aliases(self.request(change)).await)
    }

    /// Makes a collection of four dimensions.
    pub(super) async fn make_collection(&self) -> Result<(), Code> {
        let params = wire::VectorParams { size: 4, distance: wire::Distance::Dot.into() };
        let create = wire::CreateCollection {
            collection_name: self.name.clone(),
            vectors_config: Some(wire::VectorsConfig {
                config: Some(wire::vectors_config::Config::Params(params)),
            }),
            ..Default::default()
        };
        code(CollectionsClient::new(self.channel.clone()).create(self.request(create)).await)
    }

    /// Removes every point that there is.
    pub(super) async fn clear(&self) -> Result<(), Code> {
        let all = wire::points_selector::PointsSelectorOneOf::Filter(wire::Filter::default());
        let delete = wire::DeletePoints {
            collection_name: self.name.clone(),
            wait: Some(true),
            points: Some(wire::PointsSelector { points_selector_one_of: Some(all) }),
            ..Default::default()
        };
        code(PointsClient::new(self.channel.clone()).delete(self.request(delete)).await)
    }
}

fn code<T>(outcome: Result<T, Status>) -> Result<(), Code> {
    outcome.map(drop).map_err(|status| status.code())
}

fn number(id: Option<wire::PointId>) -> u64 {
    match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Num(number)) => number,
        other => panic!("not a number: {other:?}"),
    }
}
