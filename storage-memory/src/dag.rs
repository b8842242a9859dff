//! DAGs, their versions and sources.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_core::id::{DagId, DagVersionId, RunId, TaskId, TaskIx};
use updraft_core::model::{AuditEntry, Dag, DagRecord, DagVersion, DataInterval};
use updraft_core::storage::{
    DagOrder, DagQuery, DagRegistration, DagStorage, Page, Result, StorageError, Subject, UNREPORTED,
};

use crate::MemoryStorage;
use crate::list::{NoneLast, among, contains_like, may_read, page, sort};
use crate::schedule::ScheduleEntry;
use crate::state::State;

/// Where a task's slots are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskPlace {
    /// The place of its pool.
    pub(crate) pool: u32,
    pub(crate) pool_slots: u32,
    /// Its number among all tasks that the DAG ever had.
    pub(crate) number: u32,
}

/// A version of a DAG, with what is looked up for each transition.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) id: DagVersionId,
    pub(crate) content_hash: String,
    pub(crate) dag: Arc<Dag>,
    pub(crate) places: Vec<TaskPlace>,
    // Never iterated.
    by_task: HashMap<TaskId, TaskIx>,
}

impl Version {
    pub(crate) fn find_task(&self, task_id: &str) -> Option<TaskIx> {
        self.by_task.get(task_id).copied()
    }

    pub(crate) fn view(&self) -> DagVersion {
        DagVersion { id: self.id, content_hash: self.content_hash.clone(), dag: Arc::clone(&self.dag) }
    }
}

/// A DAG and its runs.
#[derive(Debug)]
pub(crate) struct DagEntry {
    pub(crate) newest: Arc<Version>,
    pub(crate) versions: Vec<DagVersionId>,
    pub(crate) is_paused: bool,
    pub(crate) is_active: bool,
    /// When it was first made known.
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) last_parsed_time: DateTime<Utc>,
    last_expired: Option<DateTime<Utc>>,
    pub(crate) runs: BTreeSet<RunId>,
    // Neither map is ever iterated.
    pub(crate) by_run_id: HashMap<String, RunId>,
    pub(crate) by_date: BTreeMap<DateTime<Utc>, RunId>,
    /// Those of `by_date` that are not manual.
    pub(crate) automated: BTreeMap<DateTime<Utc>, RunId>,
    task_numbers: HashMap<TaskId, u32>,
    /// How many of its runs run.
    pub(crate) running: u32,
    /// How many of its runs are queued and belong to a scheduler.
    pub(crate) claimed: u32,
    /// How many of its runs have not ended.
    pub(crate) active: u32,
    /// What its scheduled and backfilled runs cover, by logical date.
    pub(crate) covered: BTreeMap<DateTime<Utc>, DataInterval>,
    pub(crate) schedule: ScheduleEntry,
}

impl DagEntry {
    fn view(&self, state: &State) -> DagRecord {
        DagRecord {
            version: self.newest.view(),
            is_paused: self.is_paused,
            is_active: self.is_active,
            has_import_errors: !self.is_active && state.import_errors.contains_key(&self.newest.dag.fileloc),
            last_parsed_time: self.last_parsed_time,
            last_expired: self.last_expired,
            next_run: self.schedule.next,
            is_held: self.schedule.is_held,
        }
    }
}

impl State {
    /// Registers a DAG; a declaration that is new goes to `renewed`.
    fn register(
        &mut self,
        now: DateTime<Utc>,
        registration: DagRegistration,
        renewed: &mut Vec<Arc<Dag>>,
    ) -> DagVersion {
        let DagRegistration { dag, content_hash, paused_upon_creation, source } = registration;
        if let Some(source) = source {
            self.sources.insert(dag.fileloc.clone(), source);
        }
        let place = self.dag_places.get(&dag.dag_id).copied();
        if let Some(entry) = place.and_then(|place| self.dag_at_mut(place)) {
            let was_active = std::mem::replace(&mut entry.is_active, true);
            entry.last_parsed_time = now;
            if entry.newest.content_hash == content_hash {
                let version = entry.newest.view();
                if let Some(place) = place.filter(|_| !was_active) {
                    self.reconsider_schedule(place);
                }
                return version;
            }
        }
        renewed.push(Arc::clone(&dag));
        let mut numbers = place
            .and_then(|place| self.dag_at_mut(place))
            .map(|entry| std::mem::take(&mut entry.task_numbers))
            .unwrap_or_default();
        let version = Arc::new(self.make_version(dag, content_hash, &mut numbers));
        self.versions.insert(version.id, Arc::clone(&version));
        self.people.sync_access(&version.dag);
        if let Some(entry) = place.and_then(|place| self.dag_at_mut(place)) {
            entry.task_numbers = numbers;
            entry.newest = Arc::clone(&version);
            entry.versions.push(version.id);
        } else {
            self.dag_places.insert(version.dag.dag_id.clone(), self.dags.len());
            self.dags.push(Some(DagEntry {
                newest: Arc::clone(&version),
                versions: vec![version.id],
                is_paused: paused_upon_creation,
                is_active: true,
                created_at: now,
                last_parsed_time: now,
                last_expired: None,
                runs: BTreeSet::new(),
                by_run_id: HashMap::new(),
                by_date: BTreeMap::new(),
                automated: BTreeMap::new(),
                task_numbers: numbers,
                running: 0,
                claimed: 0,
                active: 0,
                covered: BTreeMap::new(),
                schedule: ScheduleEntry::default(),
            }));
        }
        self.reconsider_schedule(place.unwrap_or(self.dags.len() - 1));
        if let Some(place) = place {
            self.forget_versions(place);
        }
        version.view()
    }

    fn make_version(&mut self, dag: Arc<Dag>, content_hash: String, numbers: &mut HashMap<TaskId, u32>) -> Version {
        let mut places = Vec::with_capacity(dag.tasks.len());
        let mut by_task = HashMap::with_capacity(dag.tasks.len());
        for (ix, task) in dag.tasks() {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            let number = *numbers.entry(task.task_id.clone()).or_insert(next);
            let pool = self.pools.place(&task.pool);
            places.push(TaskPlace { pool, pool_slots: task.pool_slots.max(1), number });
            by_task.insert(task.task_id.clone(), ix);
        }
        Version { id: DagVersionId(self.version_serial.next()), content_hash, dag, places, by_task }
    }

    /// Drops versions that no run has. The last two stay: somebody may just have read one, in order to make a run of it.
    fn forget_versions(&mut self, place: usize) {
        let Some(entry) = self.dags.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        let old = entry.versions.len().saturating_sub(2);
        let versions = &mut self.versions;
        let mut index = 0;
        entry.versions.retain(|id| {
            index += 1;
            // Runs share their version; the map's own reference is the only one left when none does.
            let is_kept = index > old || versions.get(id).is_some_and(|version| Arc::strong_count(version) > 1);
            if !is_kept {
                versions.remove(id);
            }
            is_kept
        });
    }

    fn delete_dag(&mut self, dag_id: &str) -> Result<()> {
        let subject = || Subject::Dag(dag_id.into());
        let place = *self.dag_places.get(dag_id).ok_or_else(|| StorageError::NotFound(subject()))?;
        if self.attempts.slots().of_dag(place) > 0 {
            return Err(StorageError::Conflict(subject(), "one of its task instances is being run".into()));
        }
        let runs: Vec<RunId> = self.dag_at(place).map(|dag| dag.runs.iter().copied().collect()).unwrap_or_default();
        for run in runs {
            self.delete_run(run)?;
        }
        self.dag_places.remove(dag_id);
        self.forget_schedule(place);
        let Some(entry) = self.dags.get_mut(place).and_then(Option::take) else {
            return Ok(());
        };
        for version in &entry.versions {
            self.versions.remove(version);
        }
        self.datasets.forget(&entry.newest.dag.dag_id);
        let fileloc = &entry.newest.dag.fileloc;
        self.import_errors.remove(fileloc);
        if !self.dags.iter().flatten().any(|dag| dag.newest.dag.fileloc == *fileloc) {
            self.sources.remove(fileloc);
        }
        Ok(())
    }

    fn list_dags(&self, query: &DagQuery) -> Page<DagRecord> {
        let mut dags: Vec<&DagEntry> = self
            .dag_places
            .iter()
            .filter(|(id, _)| among(query.dag_ids.as_ref(), *id) && may_read(query.readable.as_ref(), id))
            .filter(|(id, _)| query.dag_id_pattern.as_ref().is_none_or(|pattern| contains_like(id.as_str(), pattern)))
            .filter_map(|(_, &place)| self.dag_at(place))
            .filter(|dag| among(query.filelocs.as_ref(), &dag.newest.dag.fileloc))
            .filter(|dag| query.is_active.is_none_or(|active| dag.is_active == active))
            .filter(|dag| query.is_paused.is_none_or(|paused| dag.is_paused == paused))
            .filter(|dag| query.tags.is_empty() || dag.newest.dag.tags.iter().any(|tag| query.tags.contains(tag)))
            .collect();
        if let Some(order) = query.order_by {
            let (dags, down) = (dags.as_mut_slice(), order.descending);
            match order.field {
                DagOrder::IsPaused => sort(dags, down, |dag| dag.is_paused),
                DagOrder::IsActive => sort(dags, down, |dag| dag.is_active),
                DagOrder::LastParsedTime => sort(dags, down, |dag| dag.last_parsed_time),
                DagOrder::Fileloc => sort(dags, down, |dag| dag.newest.dag.fileloc.clone()),
                DagOrder::Description => sort(dags, down, |dag| NoneLast(dag.newest.dag.description.clone())),
                DagOrder::MaxActiveRuns => sort(dags, down, |dag| dag.newest.dag.max_active_runs),
                DagOrder::MaxActiveTasks => sort(dags, down, |dag| dag.newest.dag.max_active_tasks),
                DagOrder::Owners => sort(dags, down, |dag| dag.newest.dag.owners().join(", ")),
                _ => sort(dags, down, |dag| dag.newest.dag.dag_id.clone()),
            }
        }
        page(dags.into_iter(), query.page).map(|dag| dag.view(self))
    }
}

#[async_trait]
impl DagStorage for MemoryStorage {
    async fn register_dags(&self, now: DateTime<Utc>, dags: Vec<DagRegistration>) -> Result<Vec<DagVersion>> {
        let versions = {
            let mut state = self.lock();
            let mut renewed = Vec::new();
            let versions = dags.into_iter().map(|dag| state.register(now, dag, &mut renewed)).collect();
            state.datasets.enter(now, &renewed);
            versions
        };
        self.announce();
        Ok(versions)
    }

    async fn report_dags(&self, now: DateTime<Utc>, dag_ids: &[DagId]) -> Result<Vec<DagId>> {
        let mut state = self.lock();
        let mut unknown = BTreeSet::new();
        for id in dag_ids {
            let place = state.dag_places.get(id).copied();
            let Some((place, dag)) = place.and_then(|place| Some((place, state.dag_at_mut(place)?))) else {
                unknown.insert(id.clone());
                continue;
            };
            let was_active = std::mem::replace(&mut dag.is_active, true);
            dag.last_parsed_time = now;
            if !was_active {
                state.reconsider_schedule(place);
            }
        }
        Ok(unknown.into_iter().collect())
    }

    async fn deactivate_dags(&self, now: DateTime<Utc>, dag_ids: &[DagId]) -> Result<Vec<DagId>> {
        let time = self.clock.monotonic();
        let mut state = self.lock();
        let is_shared = state.living_schedulers(time) > 1;
        let mut kept = BTreeSet::new();
        for id in dag_ids {
            let place = state.dag_places.get(id).copied();
            let Some(dag) = place.and_then(|place| state.dag_at_mut(place)) else { continue };
            if is_shared && now - dag.last_parsed_time < UNREPORTED {
                kept.insert(id.clone());
            } else if dag.is_active {
                dag.is_active = false;
                dag.last_expired = Some(now);
            }
        }
        Ok(kept.into_iter().collect())
    }

    async fn dag(&self, dag_id: &str) -> Result<DagRecord> {
        let state = self.lock();
        let dag = state.dag(dag_id).ok_or_else(|| StorageError::NotFound(Subject::Dag(dag_id.into())))?;
        Ok(dag.view(&state))
    }

    async fn dags(&self, query: &DagQuery) -> Result<Page<DagRecord>> {
        Ok(self.lock().list_dags(query))
    }

    async fn dag_version(&self, id: DagVersionId) -> Result<DagVersion> {
        let state = self.lock();
        state.versions.get(&id).map(|version| version.view()).ok_or(StorageError::NotFound(Subject::DagVersion(id.0)))
    }

    async fn set_paused(
        &self,
        now: DateTime<Utc>,
        dag_ids: &[DagId],
        is_paused: bool,
        audit: Option<AuditEntry>,
    ) -> Result<()> {
        {
            let mut state = self.lock();
            for id in dag_ids {
                let place = state.dag_places.get(id).copied();
                let Some(place) = place else { continue };
                if let Some(dag) = state.dag_at_mut(place) {
                    dag.is_paused = is_paused;
                }
                if !is_paused {
                    state.reconsider_schedule(place);
                }
            }
            state.audit(now, audit);
        }
        self.announce();
        Ok(())
    }

    async fn delete_dag(&self, now: DateTime<Utc>, dag_id: &str, audit: Option<AuditEntry>) -> Result<()> {
        {
            let mut state = self.lock();
            state.delete_dag(dag_id)?;
            state.audit(now, audit);
        }
        self.announce();
        Ok(())
    }

    async fn dag_source(&self, fileloc: &str) -> Result<Arc<str>> {
        let state = self.lock();
        state.sources.get(fileloc).cloned().ok_or_else(|| StorageError::NotFound(Subject::DagSource(fileloc.into())))
    }

    async fn dags_of_file(&self, fileloc: &str) -> Result<Vec<DagId>> {
        let state = self.lock();
        let ids = state.dag_places.iter().filter_map(|(id, place)| {
            let dag = &state.dags.get(*place)?.as_ref()?.newest.dag;
            (dag.fileloc == fileloc).then(|| id.clone())
        });
        Ok(ids.collect())
    }
}
