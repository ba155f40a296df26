//! The services.

use std::collections::BTreeMap;

use tenantry::proto::qdrant as wire;
use tenantry::proto::qdrant::alias_operations::Action;
use tenantry::proto::qdrant::collections_server::Collections;
use tenantry::proto::qdrant::points_selector::PointsSelectorOneOf;
use tenantry::proto::qdrant::points_server::Points;
use tenantry::proto::qdrant::snapshots_server::Snapshots;
use tonic::{Request, Response, Status, async_trait};

use super::access::{Access, Need};
use super::fault::{Fate, failing, lost};
use super::state::{Collection, State, check_name, key, matches, missing, wrong};
use super::{Node, state};

/// What a node that lags answers from what it has; the rest it passes on.
const READS: [&str; 5] = ["Get", "Count", "Query", "ListCollectionAliases", "ListSnapshots"];

type Answer<T> = Result<Response<T>, Status>;

impl Node {
    /// What this node has, where it lags.
    fn stale(&self) -> Option<State> {
        let lag = self.shared.lag.lock().unwrap();
        lag.as_ref().filter(|(node, _)| *node == self.number).map(|(_, state)| state.clone())
    }

    /// Looks who calls, then does the work, unless the test wants otherwise.
    async fn serve<T, R>(
        &self,
        rpc: &str,
        request: Request<T>,
        work: impl FnOnce(&mut State, &Access, T) -> Result<R, Status>,
    ) -> Answer<R> {
        let mut stale = self.stale();
        let access = match &stale {
            Some(stale) => self.shared.keys.access(request.metadata(), stale)?,
            None => self.shared.keys.access(request.metadata(), &self.shared.state())?,
        };
        let fate = if access.is_manager() {
            self.shared.faults.lock().unwrap().fate(rpc)
        } else {
            Fate::Serve(std::time::Duration::ZERO)
        };
        let message = request.into_inner();
        match fate {
            Fate::Fail => Err(failing()),
            Fate::Hang => std::future::pending().await,
            Fate::Pretend => work(&mut self.shared.state().clone(), &access, message).map(Response::new),
            Fate::Lose => {
                let _ = work(&mut self.shared.state(), &access, message);
                Err(lost())
            }
            Fate::Serve(time) => {
                tokio::time::sleep(time).await;
                match stale.as_mut().filter(|_| READS.contains(&rpc)) {
                    Some(stale) => work(stale, &access, message).map(Response::new),
                    None => work(&mut self.shared.state(), &access, message).map(Response::new),
                }
            }
        }
    }
}

#[async_trait]
impl wire::qdrant_server::Qdrant for Node {
    async fn health_check(&self, _: Request<wire::HealthCheckRequest>) -> Answer<wire::HealthCheckReply> {
        let (title, version) = ("qdrant - vector search engine".to_owned(), self.shared.version.to_owned());
        Ok(Response::new(wire::HealthCheckReply { title, version }))
    }
}

fn changed(result: bool) -> wire::CollectionOperationResponse {
    wire::CollectionOperationResponse { result, time: 0.001 }
}

#[async_trait]
impl Collections for Node {
    async fn create(
        &self,
        request: Request<wire::CreateCollection>,
    ) -> Answer<wire::CollectionOperationResponse> {
        self.serve("Create", request, |state, access, create| {
            let name = create.collection_name;
            access.check(&name, Need::Manage)?;
            check_name(&name)?;
            if state.collections.contains_key(&name) {
                return Err(Status::already_exists(format!("Collection `{name}` already exists!")));
            }
            if state.aliases.contains_key(&name) {
                return Err(wrong(&format!(
                    "Can't create collection with name {name}. Alias with the same name exists"
                )));
            }
            let config = create.vectors_config.and_then(|vectors| vectors.config);
            let Some(wire::vectors_config::Config::Params(params)) = config else {
                return Err(wrong("this server knows one kind of vectors"));
            };
            if params.size == 0
                || params.size > 65_536
                || params.distance() == wire::Distance::UnknownDistance
            {
                return Err(Status::invalid_argument("Validation error in body: vectors"));
            }
            if create.replication_factor == Some(0) {
                return Err(wrong("`replication_factor` cannot be 0"));
            }
            let collection =
                Collection { size: params.size, distance: params.distance(), points: BTreeMap::new() };
            state.collections.insert(name, collection);
            Ok(changed(true))
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteCollection>,
    ) -> Answer<wire::CollectionOperationResponse> {
        self.serve("Delete", request, |state, access, delete| {
            access.check(&delete.collection_name, Need::Manage)?;
            state.aliases.retain(|_, collection| *collection != delete.collection_name);
            Ok(changed(state.collections.remove(&delete.collection_name).is_some()))
        })
        .await
    }

    async fn update_aliases(
        &self,
        request: Request<wire::ChangeAliases>,
    ) -> Answer<wire::CollectionOperationResponse> {
        self.serve("UpdateAliases", request, |state, access, change| {
            access.check("", Need::Manage)?;
            for action in change.actions {
                match action.action {
                    Some(Action::CreateAlias(create)) => {
                        state.set_alias(&create.alias_name, &create.collection_name)?;
                    }
                    Some(Action::DeleteAlias(delete)) => drop(state.aliases.remove(&delete.alias_name)),
                    None => return Err(Status::invalid_argument("Malformed AliasOperation type")),
                }
            }
            Ok(changed(true))
        })
        .await
    }

    async fn list_collection_aliases(
        &self,
        request: Request<wire::ListCollectionAliasesRequest>,
    ) -> Answer<wire::ListAliasesResponse> {
        self.serve("ListCollectionAliases", request, |state, access, list| {
            access.check(&list.collection_name, Need::Read)?;
            let leading = state.aliases.iter().filter(|(_, name)| **name == list.collection_name);
            let aliases = leading.map(|(alias, collection)| wire::AliasDescription {
                alias_name: alias.clone(),
                collection_name: collection.clone(),
            });
            Ok(wire::ListAliasesResponse { aliases: aliases.collect(), time: 0.001 })
        })
        .await
    }
}

fn written(wait: Option<bool>) -> wire::PointsOperationResponse {
    let status =
        if wait == Some(true) { wire::UpdateStatus::Completed } else { wire::UpdateStatus::Acknowledged };
    let result = wire::UpdateResult { operation_id: Some(1), status: status.into() };
    wire::PointsOperationResponse { result: Some(result), time: 0.001 }
}

#[async_trait]
impl Points for Node {
    async fn upsert(&self, request: Request<wire::UpsertPoints>) -> Answer<wire::PointsOperationResponse> {
        self.serve("Upsert", request, |state, access, upsert| {
            access.check(&upsert.collection_name, Need::Write)?;
            let collection = state.must_find(&upsert.collection_name)?;
            for point in upsert.points {
                collection.upsert(point, upsert.update_filter.as_ref())?;
            }
            Ok(written(upsert.wait))
        })
        .await
    }

    async fn delete(&self, request: Request<wire::DeletePoints>) -> Answer<wire::PointsOperationResponse> {
        self.serve("DeletePoints", request, |state, access, delete| {
            access.check(&delete.collection_name, Need::Write)?;
            let collection = state.must_find(&delete.collection_name)?;
            match delete.points.and_then(|selector| selector.points_selector_one_of) {
                Some(PointsSelectorOneOf::Points(list)) => {
                    for id in &list.ids {
                        collection.points.remove(&key(id)?);
                    }
                }
                Some(PointsSelectorOneOf::Filter(filter)) => {
                    let mut gone = Vec::new();
                    for (key, point) in &collection.points {
                        if matches(&filter, &point.payload)? {
                            gone.push(key.clone());
                        }
                    }
                    collection.points.retain(|key, _| !gone.contains(key));
                }
                None => return Err(Status::invalid_argument("PointsSelector is missing")),
            }
            Ok(written(delete.wait))
        })
        .await
    }

    async fn get(&self, request: Request<wire::GetPoints>) -> Answer<wire::GetResponse> {
        self.serve("Get", request, |state, access, get| {
            access.check(&get.collection_name, Need::Read)?;
            let collection = state.must_find(&get.collection_name)?;
            let payload = get.with_payload.and_then(|with| with.selector_options);
            let payload =
                !matches!(payload, Some(wire::with_payload_selector::SelectorOptions::Enable(false)));
            let vectors = get.with_vectors.and_then(|with| with.selector_options);
            let vectors = matches!(vectors, Some(wire::with_vectors_selector::SelectorOptions::Enable(true)));
            let mut result = Vec::new();
            for id in &get.ids {
                if let Some(point) = collection.points.get(&key(id)?) {
                    result.push(wire::RetrievedPoint {
                        id: Some(point.id.clone()),
                        payload: if payload { point.payload.clone() } else { BTreeMap::new() },
                        vectors: vectors.then(|| shown(&point.vector)),
                    });
                }
            }
            Ok(wire::GetResponse { result, time: 0.001 })
        })
        .await
    }

    async fn create_field_index(
        &self,
        request: Request<wire::CreateFieldIndexCollection>,
    ) -> Answer<wire::PointsOperationResponse> {
        self.serve("CreateFieldIndex", request, |state, access, index| {
            access.check(&index.collection_name, Need::WriteMore)?;
            state.must_find(&index.collection_name)?;
            if index.field_name.is_empty() || index.field_type.is_none() {
                return Err(Status::invalid_argument("field_type is missing"));
            }
            Ok(written(index.wait))
        })
        .await
    }

    async fn count(&self, request: Request<wire::CountPoints>) -> Answer<wire::CountResponse> {
        self.serve("Count", request, |state, access, count| {
            access.check(&count.collection_name, Need::Read)?;
            let collection = state.must_find(&count.collection_name)?;
            let mut number = 0;
            for point in collection.points.values() {
                let fits = count.filter.as_ref().map(|filter| matches(filter, &point.payload));
                number += u64::from(fits.transpose()?.unwrap_or(true));
            }
            Ok(wire::CountResponse { result: Some(wire::CountResult { count: number }), time: 0.001 })
        })
        .await
    }

    async fn query(&self, request: Request<wire::QueryPoints>) -> Answer<wire::QueryResponse> {
        self.serve("Query", request, |state, access, query| {
            access.check(&query.collection_name, Need::Read)?;
            let collection = state.must_find(&query.collection_name)?;
            let Some(wire::query::Variant::Nearest(nearest)) = query.query.and_then(|query| query.variant)
            else {
                return Err(wrong("this server knows queries for the nearest alone"));
            };
            let Some(wire::vector_input::Variant::Dense(wanted)) = nearest.variant else {
                return Err(wrong("this server knows dense vectors alone"));
            };
            if wanted.data.len() as u64 != collection.size {
                return Err(wrong("Vector dimension error"));
            }
            let mut scored: Vec<_> = collection
                .points
                .values()
                .map(|point| (collection.score(point, &wanted.data), point))
                .collect();
            scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
            let limit = query.limit.unwrap_or(10).try_into().unwrap_or(usize::MAX);
            let result = scored.into_iter().take(limit).map(|(score, point)| hit(score, point)).collect();
            Ok(wire::QueryResponse { result, time: 0.001 })
        })
        .await
    }
}

fn hit(score: f32, point: &state::Point) -> wire::ScoredPoint {
    wire::ScoredPoint {
        id: Some(point.id.clone()),
        payload: point.payload.clone(),
        score,
        version: 1,
        vectors: None,
    }
}

fn shown(data: &[f32]) -> wire::VectorsOutput {
    let dense = wire::vector_output::Vector::Dense(wire::DenseVector { data: data.to_vec() });
    let output = wire::VectorOutput { data: Vec::new(), vector: Some(dense) };
    wire::VectorsOutput { vectors_options: Some(wire::vectors_output::VectorsOptions::Vector(output)) }
}

#[async_trait]
impl Snapshots for Node {
    async fn create(
        &self,
        request: Request<wire::CreateSnapshotRequest>,
    ) -> Answer<wire::CreateSnapshotResponse> {
        self.serve("CreateSnapshot", request, |state, access, create| {
            access.check(&create.collection_name, Need::WriteMore)?;
            let taken = state.take_snapshot(self.number, &create.collection_name)?;
            Ok(wire::CreateSnapshotResponse { snapshot_description: Some(taken), time: 0.001 })
        })
        .await
    }

    async fn list(
        &self,
        request: Request<wire::ListSnapshotsRequest>,
    ) -> Answer<wire::ListSnapshotsResponse> {
        self.serve("ListSnapshots", request, |state, access, list| {
            access.check(&list.collection_name, Need::ReadMore)?;
            let name = state.name(&list.collection_name).ok_or_else(|| missing(&list.collection_name))?;
            let found = state.snapshots.get(&(self.number, name)).cloned().unwrap_or_default();
            Ok(wire::ListSnapshotsResponse { snapshot_descriptions: found, time: 0.001 })
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteSnapshotRequest>,
    ) -> Answer<wire::DeleteSnapshotResponse> {
        self.serve("DeleteSnapshot", request, |state, access, delete| {
            access.check(&delete.collection_name, Need::WriteMore)?;
            let name = state.name(&delete.collection_name).ok_or_else(|| missing(&delete.collection_name))?;
            let files = state.snapshots.entry((self.number, name)).or_default();
            let before = files.len();
            files.retain(|file| file.name != delete.snapshot_name);
            if files.len() == before {
                let words = format!("Not found: Snapshot {} not found", delete.snapshot_name);
                return Err(Status::not_found(words));
            }
            Ok(wire::DeleteSnapshotResponse { time: 0.001 })
        })
        .await
    }
}
