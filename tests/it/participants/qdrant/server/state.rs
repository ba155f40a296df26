//! What the server keeps, and its rules for it.

use std::collections::BTreeMap;

use tenantry::proto::qdrant::condition::ConditionOneOf;
use tenantry::proto::qdrant::r#match::MatchValue;
use tenantry::proto::qdrant::point_id::PointIdOptions;
use tenantry::proto::qdrant::value::Kind;
use tenantry::proto::qdrant::{
    Condition, Distance, FieldCondition, Filter, PointId, Range, SnapshotDescription, Value, vector,
};
use tenantry::proto::qdrant::{PointStruct, vectors};
use tonic::Status;
use uuid::Uuid;

/// Everything.
#[derive(Debug, Default, Clone)]
pub(super) struct State {
    pub collections: BTreeMap<String, Collection>,
    pub aliases: BTreeMap<String, String>,
    /// By node and by the collection's own name. They outlive the collection.
    pub snapshots: BTreeMap<(usize, String), Vec<SnapshotDescription>>,
    /// The number of the last snapshot.
    pub last: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Collection {
    pub size: u64,
    pub distance: Distance,
    pub points: BTreeMap<String, Point>,
}

#[derive(Debug, Clone)]
pub(super) struct Point {
    pub id: PointId,
    pub payload: BTreeMap<String, Value>,
    pub vector: Vec<f32>,
}

pub(super) fn wrong(words: &str) -> Status {
    Status::invalid_argument(format!("Wrong input: {words}"))
}

pub(super) fn missing(name: &str) -> Status {
    Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"))
}

/// What Qdrant takes as a collection's name.
pub(super) fn check_name(name: &str) -> Result<(), Status> {
    let forbidden = ['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u{1f}'];
    if name.is_empty() || name.len() > 255 || name.contains(forbidden) {
        return Err(Status::invalid_argument("Validation error in body: collection_name"));
    }
    Ok(())
}

impl State {
    /// The own name of a collection that is called by it or by an alias.
    pub(super) fn name(&self, called: &str) -> Option<String> {
        let name = self.aliases.get(called).map_or(called, String::as_str);
        self.collections.contains_key(name).then(|| name.to_owned())
    }

    pub(super) fn find(&self, called: &str) -> Option<&Collection> {
        self.collections.get(&self.name(called)?)
    }

    pub(super) fn must_find(&mut self, called: &str) -> Result<&mut Collection, Status> {
        let name = self.name(called).ok_or_else(|| missing(called))?;
        self.collections.get_mut(&name).ok_or_else(|| missing(called))
    }

    pub(super) fn set_alias(&mut self, alias: &str, collection: &str) -> Result<(), Status> {
        if !self.collections.contains_key(collection) {
            return Err(missing(collection));
        }
        if self.collections.contains_key(alias) {
            return Err(wrong(&format!("Collection `{alias}` already exists!")));
        }
        check_name(alias)?;
        self.aliases.insert(alias.to_owned(), collection.to_owned());
        Ok(())
    }

    pub(super) fn take_snapshot(&mut self, node: usize, called: &str) -> Result<SnapshotDescription, Status> {
        let name = self.name(called).ok_or_else(|| missing(called))?;
        self.last += 1;
        let size = self.collections[&name].points.len().try_into().unwrap_or(i64::MAX);
        let snapshot = SnapshotDescription {
            name: format!("{name}-{}-{node}.snapshot", self.last),
            creation_time: Some(prost_types::Timestamp {
                seconds: jiff::Timestamp::now().as_second(),
                nanos: 0,
            }),
            size,
            checksum: None,
        };
        self.snapshots.entry((node, name)).or_default().push(snapshot.clone());
        Ok(snapshot)
    }
}

impl Collection {
    /// Writes a point, unless one is there that does not fit.
    pub(super) fn upsert(&mut self, point: PointStruct, fits: Option<&Filter>) -> Result<(), Status> {
        let id = point.id.clone().ok_or_else(|| wrong("No point id provided"))?;
        let key = key(&id)?;
        let vector = dense(&point)?;
        if vector.len() as u64 != self.size {
            let words = format!("Vector dimension error: expected dim: {}, got {}", self.size, vector.len());
            return Err(wrong(&words));
        }
        if let (Some(filter), Some(there)) = (fits, self.points.get(&key))
            && !matches(filter, &there.payload)?
        {
            return Ok(());
        }
        self.points.insert(key, Point { id, payload: point.payload, vector });
        Ok(())
    }

    /// How near a point is to a vector; more is nearer.
    pub(super) fn score(&self, point: &Point, vector: &[f32]) -> f32 {
        let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let dot = product(&point.vector, vector);
        match self.distance {
            Distance::Cosine => {
                dot / (product(&point.vector, &point.vector) * product(vector, vector)).sqrt()
            }
            _ => dot,
        }
    }
}

/// A point's place in the map.
pub(super) fn key(id: &PointId) -> Result<String, Status> {
    match &id.point_id_options {
        Some(PointIdOptions::Num(number)) => Ok(format!("{number:020}")),
        Some(PointIdOptions::Uuid(text)) => Uuid::parse_str(text)
            .map(|uuid| uuid.to_string())
            .map_err(|_| wrong(&format!("Unable to parse UUID: {text}"))),
        None => Err(wrong("No ID options provided")),
    }
}

#[allow(deprecated)] // What older clients send.
fn dense(point: &PointStruct) -> Result<Vec<f32>, Status> {
    let given = point.vectors.as_ref().and_then(|vectors| vectors.vectors_options.as_ref());
    let Some(vectors::VectorsOptions::Vector(given)) = given else {
        return Err(Status::invalid_argument("Expected some vectors"));
    };
    Ok(match &given.vector {
        Some(vector::Vector::Dense(dense)) => dense.data.clone(),
        None => given.data.clone(),
    })
}

/// Whether a payload fits a filter.
pub(super) fn matches(filter: &Filter, payload: &BTreeMap<String, Value>) -> Result<bool, Status> {
    let test = |condition: &Condition| match &condition.condition_one_of {
        Some(ConditionOneOf::Field(field)) => field_matches(field, payload),
        None => Err(Status::invalid_argument("Malformed Condition type")),
    };
    for condition in &filter.must {
        if !test(condition)? {
            return Ok(false);
        }
    }
    for condition in &filter.must_not {
        if test(condition)? {
            return Ok(false);
        }
    }
    let mut any = filter.should.is_empty();
    for condition in &filter.should {
        any |= test(condition)?;
    }
    Ok(any)
}

fn field_matches(field: &FieldCondition, payload: &BTreeMap<String, Value>) -> Result<bool, Status> {
    if field.r#match.is_none() && field.range.is_none() {
        return Err(Status::invalid_argument("At least one field condition must be specified"));
    }
    if let Some(wanted) = &field.r#match {
        let wanted = match &wanted.match_value {
            Some(MatchValue::Keyword(text)) => serde_json::Value::from(text.as_str()),
            Some(MatchValue::Integer(number)) => serde_json::Value::from(*number),
            Some(MatchValue::Boolean(is_true)) => serde_json::Value::from(*is_true),
            None => return Err(Status::invalid_argument("Malformed Match condition")),
        };
        if !holds(payload, &field.key, &wanted) {
            return Ok(false);
        }
    }
    Ok(field.range.as_ref().is_none_or(|range| in_range(payload, &field.key, range)))
}

#[allow(clippy::cast_precision_loss)] // As Qdrant compares.
fn in_range(payload: &BTreeMap<String, Value>, key: &str, range: &Range) -> bool {
    let number = match payload.get(key).and_then(|value| value.kind.as_ref()) {
        Some(Kind::IntegerValue(number)) => *number as f64,
        Some(Kind::DoubleValue(number)) => *number,
        _ => return false,
    };
    range.lt.is_none_or(|bound| number < bound)
        && range.lte.is_none_or(|bound| number <= bound)
        && range.gt.is_none_or(|bound| number > bound)
        && range.gte.is_none_or(|bound| number >= bound)
}

/// Whether a field has a value, or has it in its list.
pub(super) fn holds(payload: &BTreeMap<String, Value>, key: &str, wanted: &serde_json::Value) -> bool {
    let is = |value: &Value| match &value.kind {
        Some(Kind::StringValue(text)) => wanted.as_str() == Some(text),
        Some(Kind::IntegerValue(number)) => wanted.as_i64() == Some(*number),
        Some(Kind::BoolValue(is_true)) => wanted.as_bool() == Some(*is_true),
        _ => false,
    };
    match payload.get(key) {
        Some(Value { kind: Some(Kind::ListValue(list)) }) => list.values.iter().any(is),
        Some(value) => is(value),
        None => false,
    }
}
