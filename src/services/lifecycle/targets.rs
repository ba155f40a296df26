//! Target systems as operators see them: `pause_target`, `resume_target`, `list_targets`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cascade::{CircuitState, TargetHealth};
use crate::domain::error::{Error, Reason};
use crate::domain::ids::{Revision, TargetName};
use crate::domain::operation::Operation;
use crate::domain::target::TargetControl;
use crate::services::change::{Decision, Reply};
use crate::services::paging::{Keyed, Page, PageRequest, page_by_key};
use crate::services::{Command, Registry};
use crate::store::targets::target_set;
use crate::view::Snapshot;

impl Reply for TargetControl {
    fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }
}

/// A target with all that is shown of it.
#[derive(Debug, Clone)]
pub struct ShownTarget {
    /// Its name.
    pub target: TargetName,
    /// What operators said of it.
    pub control: Option<Arc<TargetControl>>,
    /// How this replica stands with it; `None` where it does not drive it.
    pub health: Option<TargetHealth>,
    /// Open operations that are not done with it.
    pub waiting: usize,
    /// Those of them in which it failed last.
    pub failing: usize,
}

/// A target is to be paused, or used again.
#[derive(Debug, Clone)]
pub struct SetTarget {
    /// Which.
    pub target: TargetName,
    /// Paused.
    pub paused: bool,
    /// Why.
    pub reason: String,
}

/// Why nothing is tried at a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// An operator paused it.
    Paused,
    /// Its circuit is open on this replica; with what failed there last, for whichever tenant.
    CircuitOpen(String),
}

impl Registry {
    /// Pauses a target or lets it be used again; nothing changes where it is so already.
    pub async fn set_target(&self, asked: &SetTarget, command: &Command) -> Result<ShownTarget, Error> {
        let control = self
            .change(command, |snapshot, context| {
                let known =
                    self.shown_targets(snapshot).into_iter().find(|shown| shown.target == asked.target);
                let known = known.ok_or_else(|| {
                    Error::missing(Reason::TargetNotFound, "target", "target", &asked.target)
                })?;
                let control = TargetControl {
                    target: asked.target.clone(),
                    paused: asked.paused,
                    reason: asked.reason.clone(),
                    actor: context.actor.clone(),
                    update_time: context.now,
                    revision: Revision::ZERO,
                };
                match known.control {
                    Some(now)
                        if now.paused == asked.paused && (!asked.paused || now.reason == asked.reason) =>
                    {
                        Ok(Decision::Nothing((*now).clone()))
                    }
                    None if !asked.paused => Ok(Decision::Nothing(control)),
                    _ => Ok(Decision::Make(Box::new(target_set(&control, context)), control)),
                }
            })
            .await?;
        let snapshot = self.view.snapshot()?;
        let shown = self.shown_targets(&snapshot).into_iter().find(|shown| shown.target == control.target);
        let shown = shown.ok_or_else(|| Error::bug("a target is gone"))?;
        // The view may not have seen it yet.
        Ok(ShownTarget { control: Some(Arc::new(control)), ..shown })
    }

    /// Lists targets by name.
    pub fn list_targets(
        &self,
        snapshot: &Snapshot,
        request: &PageRequest,
    ) -> Result<Page<ShownTarget>, Error> {
        let items = self
            .shown_targets(snapshot)
            .into_iter()
            .map(|shown| Keyed { key: shown.target.to_string(), item: shown })
            .collect();
        page_by_key(snapshot, request, &["targets"], false, items)
    }

    /// Every target that is driven here, was ever paused, or is part of an open operation.
    fn shown_targets(&self, snapshot: &Snapshot) -> Vec<ShownTarget> {
        let mut health: BTreeMap<TargetName, TargetHealth> =
            self.engine.health().into_iter().map(|health| (health.target.clone(), health)).collect();
        let mut counts: BTreeMap<&TargetName, (usize, usize)> = BTreeMap::new();
        let open = snapshot.operations.values().filter(|operation| operation.state.is_open());
        for step in open.flat_map(|operation| &operation.steps).filter(|step| !step.state.is_done()) {
            let (waiting, failing) = counts.entry(&step.target).or_default();
            *waiting += 1;
            *failing += usize::from(step.fails());
        }
        let names: BTreeSet<TargetName> =
            health.keys().chain(snapshot.targets.keys()).chain(counts.keys().copied()).cloned().collect();
        names
            .into_iter()
            .map(|target| {
                let (waiting, failing) = counts.get(&target).copied().unwrap_or_default();
                let control = snapshot.targets.get(&target).cloned();
                ShownTarget { control, health: health.remove(&target), waiting, failing, target }
            })
            .collect()
    }

    /// At which targets of an operation nothing is tried right now, and why.
    pub fn holds(&self, snapshot: &Snapshot, operation: &Operation) -> Vec<(TargetName, Hold)> {
        if !operation.state.is_driven() {
            return Vec::new();
        }
        let waits = |target: &TargetName| {
            operation.steps.iter().any(|step| step.target == *target && step.state.is_tried())
        };
        self.held_targets(snapshot).into_iter().filter(|(target, _)| waits(target)).collect()
    }

    /// The targets at which nothing is tried right now, and why.
    pub(super) fn held_targets(&self, snapshot: &Snapshot) -> Vec<(TargetName, Hold)> {
        let paused = snapshot.targets.values().filter(|control| control.paused);
        let mut held: Vec<_> = paused.map(|control| (control.target.clone(), Hold::Paused)).collect();
        for health in self.engine.health() {
            if health.circuit != CircuitState::Closed && snapshot.paused(&health.target).is_none() {
                let failed = health.last_error.map(|last| last.message).unwrap_or_default();
                held.push((health.target, Hold::CircuitOpen(failed)));
            }
        }
        held
    }
}
