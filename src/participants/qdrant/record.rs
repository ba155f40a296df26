//! What is known of each tenant: a point each in a collection of ours. The server itself holds tenants' tokens against
//! it, and by its generation older calls are refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest;
use tonic::Code;
use uuid::Uuid;

use super::super::{Failure, TenantRef};
use super::node::Node;
use super::token::Grant;
use crate::domain::lifecycle::Desired;
use crate::proto::qdrant::condition::ConditionOneOf;
use crate::proto::qdrant::r#match::MatchValue;
use crate::proto::qdrant::point_id::PointIdOptions;
use crate::proto::qdrant::points_selector::PointsSelectorOneOf;
use crate::proto::qdrant::value::Kind;
use crate::proto::qdrant::{
    Condition, CreateCollection, CreateFieldIndexCollection, DeletePoints, DenseVector, Distance,
    FieldCondition, FieldType, Filter, GetPoints, ListValue, Match, PointId, PointStruct, PointsSelector,
    Range, UpsertPoints, Value, Vector, VectorParams, Vectors, VectorsConfig, WithPayloadSelector,
    WriteOrdering, WriteOrderingType, vector, vectors, vectors_config, with_payload_selector,
};

/// The tenant of nobody, who is never locked out.
pub(super) const CONTROL: Uuid = Uuid::nil();
/// How long the record of a purged tenant stays, in seconds: 31 days, so that a call that slept is refused.
const PURGED_SECONDS: i64 = 31 * 24 * 60 * 60;

/// What is known of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) tenant_id: String,
    pub(super) state: Desired,
    pub(super) generation: u64,
    /// Whether there was a collection with its data.
    pub(super) had_collection: bool,
    /// Snapshots that were there before it was archived.
    pub(super) older_snapshots: Vec<String>,
    /// When nothing was left of it, in seconds since 1970.
    pub(super) purged_at: Option<i64>,
}

impl Record {
    fn grants(&self) -> &'static [Grant] {
        match self.state {
            Desired::Active => &[Grant::Read, Grant::Write],
            Desired::ReadOnly => &[Grant::Read],
            Desired::Suspended | Desired::Archived | Desired::Deleted => &[],
        }
    }

    fn payload(&self, uid: Uuid) -> BTreeMap<String, Value> {
        let grants = self.grants().iter().map(|grant| grant.as_str());
        let mut payload = BTreeMap::from([
            ("tenant_id".to_owned(), text(&self.tenant_id)),
            ("uid".to_owned(), text(&uid.to_string())),
            ("state".to_owned(), text(self.state.as_str())),
            ("generation".to_owned(), number(i64::try_from(self.generation).unwrap_or(i64::MAX))),
            ("grants".to_owned(), texts(grants)),
            ("had_collection".to_owned(), Value { kind: Some(Kind::BoolValue(self.had_collection)) }),
            ("older_snapshots".to_owned(), texts(self.older_snapshots.iter().map(String::as_str))),
        ]);
        if let Some(seconds) = self.purged_at {
            payload.insert("purged_at".to_owned(), number(seconds));
        }
        payload
    }

    fn decode(payload: &BTreeMap<String, Value>) -> Option<Self> {
        let kind = |name: &str| payload.get(name).and_then(|value| value.kind.as_ref());
        let text = |name: &str| match kind(name) {
            Some(Kind::StringValue(text)) => Some(text.as_str()),
            _ => None,
        };
        let number = |name: &str| match kind(name) {
            Some(Kind::IntegerValue(number)) => Some(*number),
            _ => None,
        };
        let state = text("state")?;
        let older_snapshots = match kind("older_snapshots") {
            Some(Kind::ListValue(list)) => list.values.iter().filter_map(|value| match &value.kind {
                Some(Kind::StringValue(text)) => Some(text.clone()),
                _ => None,
            }),
            _ => return None,
        };
        Some(Self {
            tenant_id: text("tenant_id")?.to_owned(),
            state: Desired::named(state)?,
            generation: u64::try_from(number("generation")?).ok()?,
            had_collection: matches!(kind("had_collection"), Some(Kind::BoolValue(true))),
            older_snapshots: older_snapshots.collect(),
            purged_at: number("purged_at"),
        })
    }
}

/// Where the records are.
pub(super) struct Records {
    collection: String,
    replication_factor: u32,
    /// Whether this process has seen to it that the collection is there.
    is_ready: AtomicBool,
}

impl Records {
    pub(super) const fn new(collection: String, replication_factor: u32) -> Self {
        Self { collection, replication_factor, is_ready: AtomicBool::new(false) }
    }

    /// The tenant's record; `None` where there is none.
    pub(super) async fn find(&self, node: &Node, tenant: &TenantRef) -> Result<Option<Record>, Failure> {
        self.find_of(node, tenant.uid).await
    }

    /// The same by its uid.
    pub(super) async fn find_of(&self, node: &Node, uid: Uuid) -> Result<Option<Record>, Failure> {
        let Some(payload) = self.payload(node, uid).await? else { return Ok(None) };
        let record = Record::decode(&payload);
        record.map(Some).ok_or_else(|| Failure::retryable("the tenant's record is of another version"))
    }

    async fn payload(&self, node: &Node, point: Uuid) -> Result<Option<BTreeMap<String, Value>>, Failure> {
        let get = GetPoints {
            collection_name: self.collection.clone(),
            ids: vec![id(point)],
            with_payload: Some(WithPayloadSelector {
                selector_options: Some(with_payload_selector::SelectorOptions::Enable(true)),
            }),
            with_vectors: None,
        };
        let found = match node.get(get).await {
            Err(status) if status.code() == Code::NotFound => {
                self.doubt();
                return Ok(None);
            }
            found => found.map_err(|status| node.failed(status))?,
        };
        Ok(found.into_iter().next().map(|point| point.payload))
    }

    /// Who has a namespace, of those that took it: the latest. `None` where nobody did.
    pub(super) async fn holder(&self, node: &Node, namespace: &str) -> Result<Option<Uuid>, Failure> {
        let payload = self.payload(node, claim_id(namespace)).await?;
        let held =
            payload.as_ref().and_then(|payload| payload.get("holder")).and_then(|held| held.kind.as_ref());
        match held {
            Some(Kind::StringValue(uid)) => Ok(uid.parse().ok()),
            _ => Ok(None),
        }
    }

    /// Takes a namespace for a tenant, unless a later one has it.
    pub(super) async fn take(&self, node: &Node, tenant: &TenantRef, namespace: &str) -> Result<(), Failure> {
        self.prepare(node).await?;
        let since = since(tenant.uid);
        #[allow(clippy::cast_precision_loss)] // 48 bits.
        let range = Range { lte: Some(since as f64), ..Range::default() };
        let not_later = Filter { must: vec![field("since", None, Some(range))], ..Filter::default() };
        let payload = BTreeMap::from([
            ("namespace".to_owned(), text(namespace)),
            ("holder".to_owned(), text(&tenant.uid.to_string())),
            ("since".to_owned(), number(since)),
        ]);
        let point = point(claim_id(namespace), payload);
        node.upsert(self.upsert(point, Some(not_later))).await.map_err(|status| node.failed(status))
    }

    /// Gives a namespace back that a tenant has: whoever is purged has nothing.
    pub(super) async fn give_back(
        &self,
        node: &Node,
        tenant: &TenantRef,
        namespace: &str,
    ) -> Result<(), Failure> {
        let is_its = |key: &str, value: &str| field(key, Some(MatchValue::Keyword(value.to_owned())), None);
        let own = Filter {
            must: vec![is_its("holder", &tenant.uid.to_string()), is_its("namespace", namespace)],
            ..Filter::default()
        };
        self.delete(node, own).await
    }

    /// Has the collection looked at again before the next write: something of it seems to be lost.
    pub(super) fn doubt(&self) {
        self.is_ready.store(false, Ordering::Relaxed);
    }

    /// Writes the record unless a newer one is there; answers what is there then.
    pub(super) async fn raise(
        &self,
        node: &Node,
        tenant: &TenantRef,
        wanted: &Record,
    ) -> Result<Record, Failure> {
        self.prepare(node).await?;
        #[allow(clippy::cast_precision_loss)] // Exact up to 2^53 changes.
        let newest = wanted.generation as f64;
        let range = Range { lte: Some(newest), ..Range::default() };
        let not_newer = Filter { must: vec![field("generation", None, Some(range))], ..Filter::default() };
        let point = point(tenant.uid, wanted.payload(tenant.uid));
        node.upsert(self.upsert(point, Some(not_newer))).await.map_err(|status| node.failed(status))?;
        let kept = self.find(node, tenant).await?.filter(|kept| kept.generation >= wanted.generation);
        kept.ok_or_else(|| Failure::retryable("the tenant's record was not kept"))
    }

    /// Removes the records of those who were purged long before `now`, in seconds since 1970.
    pub(super) async fn forget(&self, node: &Node, now: i64) -> Result<(), Failure> {
        #[allow(clippy::cast_precision_loss)] // Seconds of our times.
        let range = Range { lt: Some((now - PURGED_SECONDS) as f64), ..Range::default() };
        let is_deleted = MatchValue::Keyword(Desired::Deleted.as_str().to_owned());
        let gone = Filter {
            must: vec![field("state", Some(is_deleted), None), field("purged_at", None, Some(range))],
            ..Filter::default()
        };
        self.delete(node, gone).await
    }

    async fn delete(&self, node: &Node, those: Filter) -> Result<(), Failure> {
        let delete = DeletePoints {
            collection_name: self.collection.clone(),
            wait: Some(true),
            points: Some(PointsSelector { points_selector_one_of: Some(PointsSelectorOneOf::Filter(those)) }),
            ordering: None,
        };
        node.delete_points(delete).await.map_err(|status| node.failed(status))
    }

    /// Sees to it that the collection is there, with what the server looks for indexed, and with the control record.
    async fn prepare(&self, node: &Node) -> Result<(), Failure> {
        if self.is_ready.load(Ordering::Relaxed) {
            return Ok(());
        }
        super::version::check(node).await?;
        if !node.is_there(&self.collection).await.map_err(|status| node.failed(status))? {
            let made = node.create_collection(self.shape()).await;
            // Another replica may have been first.
            if let Err(status) = made
                && !node.is_there(&self.collection).await.map_err(|status| node.failed(status))?
            {
                return Err(node.failed(status));
            }
        }
        for name in ["uid", "grants", "state"] {
            let index = CreateFieldIndexCollection {
                collection_name: self.collection.clone(),
                wait: Some(true),
                field_name: name.to_owned(),
                field_type: Some(FieldType::Keyword.into()),
            };
            node.index(index).await.map_err(|status| node.failed(status))?;
        }
        let payload = BTreeMap::from([
            ("uid".to_owned(), text(&CONTROL.to_string())),
            ("grants".to_owned(), texts([Grant::Read.as_str()].into_iter())),
        ]);
        node.upsert(self.upsert(point(CONTROL, payload), None))
            .await
            .map_err(|status| node.failed(status))?;
        self.is_ready.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Records need no vector; a collection without any is not taken by every version.
    fn shape(&self) -> CreateCollection {
        shape(&self.collection, 1, Distance::Dot, self.replication_factor)
    }

    fn upsert(&self, point: PointStruct, update_filter: Option<Filter>) -> UpsertPoints {
        UpsertPoints {
            collection_name: self.collection.clone(),
            wait: Some(true),
            points: vec![point],
            ordering: Some(WriteOrdering { r#type: WriteOrderingType::Strong.into() }),
            update_filter,
        }
    }
}

/// A collection that is to be made.
pub(super) fn shape(name: &str, size: u32, distance: Distance, replication_factor: u32) -> CreateCollection {
    let params = VectorParams { size: size.into(), distance: distance.into() };
    CreateCollection {
        collection_name: name.to_owned(),
        vectors_config: Some(VectorsConfig { config: Some(vectors_config::Config::Params(params)) }),
        replication_factor: Some(replication_factor),
    }
}

/// The point of a namespace: always the same, and no tenant's.
fn claim_id(namespace: &str) -> Uuid {
    let digest = digest::digest(&digest::SHA256, format!("namespace {namespace}").as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// When a tenant was made, by its uid, in milliseconds since 1970.
fn since(uid: Uuid) -> i64 {
    i64::try_from(uid.as_u128() >> 80).unwrap_or_default()
}

fn id(uid: Uuid) -> PointId {
    PointId { point_id_options: Some(PointIdOptions::Uuid(uid.to_string())) }
}

fn point(uid: Uuid, payload: BTreeMap<String, Value>) -> PointStruct {
    let dense = vector::Vector::Dense(DenseVector { data: vec![1.0] });
    let vector = Vector { data: Vec::new(), vector: Some(dense) };
    let vectors = Vectors { vectors_options: Some(vectors::VectorsOptions::Vector(vector)) };
    PointStruct { id: Some(id(uid)), payload, vectors: Some(vectors) }
}

fn field(key: &str, value: Option<MatchValue>, range: Option<Range>) -> Condition {
    let r#match = value.map(|value| Match { match_value: Some(value) });
    let field = FieldCondition { key: key.to_owned(), r#match, range };
    Condition { condition_one_of: Some(ConditionOneOf::Field(field)) }
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

fn texts<'a>(list: impl Iterator<Item = &'a str>) -> Value {
    Value { kind: Some(Kind::ListValue(ListValue { values: list.map(text).collect() })) }
}

fn number(number: i64) -> Value {
    Value { kind: Some(Kind::IntegerValue(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        for state in Desired::ALL {
            let record = Record {
                tenant_id: "finance".to_owned(),
                state,
                generation: 7,
                had_collection: true,
                older_snapshots: vec!["a".to_owned(), "b".to_owned()],
                purged_at: (state == Desired::Deleted).then_some(5),
            };
            assert_eq!(Record::decode(&record.payload(Uuid::now_v7())), Some(record));
        }
    }

    #[test]
    fn what_was_not_written_by_us_is_no_record() {
        let written = Record {
            tenant_id: "finance".to_owned(),
            state: Desired::Active,
            generation: 7,
            had_collection: false,
            older_snapshots: Vec::new(),
            purged_at: None,
        };
        for missing in ["tenant_id", "state", "generation", "older_snapshots"] {
            let mut payload = written.payload(Uuid::now_v7());
            payload.remove(missing);
            assert_eq!(Record::decode(&payload), None, "{missing}");
        }
    }
}
