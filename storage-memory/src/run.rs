//! Runs, and what clients do to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use updraft_core::id::{DagId, InstanceKey, RunId, SchedulerId, UNMAPPED};
use updraft_core::model::{AuditEntry, DagRun, DataInterval, Note, RunState, RunType, TaskState};
use updraft_core::storage::{
    Amendment, InstanceAmendment, NewRun, Page, Result, RunOrder, RunQuery, RunStorage, StorageError, Subject,
};
use uuid::Uuid;

use crate::MemoryStorage;
use crate::dag::{DagEntry, Version};
use crate::event_log::RunNames;
use crate::instance::Instance;
use crate::list::{NoneLast, among, may_read, page, sort};
use crate::state::{State, run_place};

/// A run and its task instances.
#[derive(Debug)]
pub(crate) struct Run {
    /// Shared with whoever reads it.
    pub(crate) record: Arc<DagRun>,
    pub(crate) names: Arc<RunNames>,
    pub(crate) version: Arc<Version>,
    /// The place of its DAG.
    pub(crate) dag: usize,
    /// One a task, in the order of the tasks.
    pub(crate) instances: Vec<Instance>,
    /// How many of its instances have a live attempt.
    pub(crate) live: u32,
    /// Whether it ever belonged to a scheduler.
    pub(crate) was_owned: bool,
}

impl Run {
    pub(crate) fn record_mut(&mut self) -> &mut DagRun {
        Arc::make_mut(&mut self.record)
    }

    pub(crate) fn instance(&self, key: InstanceKey) -> Option<&Instance> {
        if key.map_index == UNMAPPED { self.instances.get(key.task.index()) } else { None }
    }

    pub(crate) fn instance_mut(&mut self, key: InstanceKey) -> Option<&mut Instance> {
        if key.map_index == UNMAPPED { self.instances.get_mut(key.task.index()) } else { None }
    }

    /// Places of its live attempts.
    pub(crate) fn live_attempts(&self) -> Vec<u32> {
        if self.live == 0 {
            return Vec::new();
        }
        self.instances.iter().filter(|instance| instance.is_live()).map(|instance| instance.attempt).collect()
    }
}

impl State {
    pub(crate) fn create_run(&mut self, now: DateTime<Utc>, new: NewRun) -> Result<DagRun> {
        let not_found = || StorageError::NotFound(Subject::DagVersion(new.dag_version.0));
        let version = Arc::clone(self.versions.get(&new.dag_version).ok_or_else(not_found)?);
        let dag_id = version.dag.dag_id.clone();
        let place = *self.dag_places.get(&dag_id).ok_or_else(not_found)?;
        let id = RunId(i64::try_from(self.runs.len()).unwrap_or(i64::MAX) + 1);
        let entry = self.dag_at_mut(place).ok_or_else(not_found)?;
        if entry.by_date.contains_key(&new.logical_date) {
            return Err(StorageError::AlreadyExists(Subject::LogicalDate(dag_id.to_string(), new.logical_date)));
        }
        if entry.by_run_id.contains_key(&new.run_id) {
            return Err(StorageError::AlreadyExists(Subject::DagRun(dag_id.to_string(), new.run_id)));
        }
        entry.by_date.insert(new.logical_date, id);
        if new.run_type != RunType::Manual {
            entry.automated.insert(new.logical_date, id);
        }
        entry.by_run_id.insert(new.run_id.clone(), id);
        entry.runs.insert(id);
        if matches!(new.run_type, RunType::Scheduled | RunType::Backfill) {
            let interval = DataInterval { start: new.data_interval_start, end: new.data_interval_end };
            entry.covered.insert(new.logical_date, interval);
        }
        let instances = version.dag.tasks.iter().map(|task| Instance::new(task.retries, now)).collect();
        let names =
            RunNames { run_id: new.run_id.clone(), logical_date: new.logical_date, version: Arc::clone(&version) };
        let record = DagRun {
            id,
            uid: new.uid,
            dag_id,
            run_id: new.run_id,
            run_type: new.run_type,
            state: new.state,
            logical_date: new.logical_date,
            data_interval_start: new.data_interval_start,
            data_interval_end: new.data_interval_end,
            queued_at: now,
            start_date: (new.state == RunState::Running).then_some(now),
            end_date: None,
            external_trigger: new.external_trigger,
            conf: new.conf,
            note: new.note,
            last_scheduling_decision: None,
            dag_version: version.id,
            clear_number: 0,
            version: 0,
            owner: None,
            updated_at: now,
        };
        let run = Run {
            record: Arc::new(record.clone()),
            names: Arc::new(names),
            version,
            dag: place,
            instances,
            live: 0,
            was_owned: false,
        };
        self.runs.push(Some(Box::new(run)));
        self.runs_by_uid.insert(new.uid, id);
        self.enter(id);
        self.audit(now, new.audit);
        Ok(record)
    }

    fn amend(&mut self, now: DateTime<Utc>, amendment: &Amendment) -> Result<Vec<InstanceKey>> {
        let id = amendment.run;
        let told = self.followers(id);
        let mut changed = Vec::new();
        for (key, change) in &amendment.instances {
            if self.amend_instance(now, id, *key, change) {
                changed.push(*key);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        let has_ended = self.existing_run(id)?.record.state.is_finished();
        if let Some(state) = amendment.state.or((amendment.restarts && has_ended).then_some(RunState::Queued)) {
            self.leave(id);
            let run = self.existing_run(id)?.record_mut();
            let was_finished = run.state.is_finished();
            match state {
                RunState::Queued => {
                    run.queued_at = now;
                    run.start_date = None;
                    run.end_date = None;
                    run.last_scheduling_decision = None;
                    run.clear_number += 1;
                }
                RunState::Running => {
                    run.start_date = if was_finished { Some(now) } else { run.start_date.or(Some(now)) };
                    run.end_date = None;
                }
                _ => {
                    run.end_date = if was_finished { run.end_date.or(Some(now)) } else { Some(now) };
                    run.owner = None;
                }
            }
            run.state = state;
            self.enter(id);
            if state.is_finished() {
                self.finish_attempts(id);
            } else {
                self.set_strays(id, false);
            }
        }
        let run = self.existing_run(id)?.record_mut();
        run.version += 1;
        run.updated_at = now;
        self.tell(id, &told);
        Ok(changed)
    }

    fn amend_instance(&mut self, now: DateTime<Utc>, id: RunId, key: InstanceKey, change: &InstanceAmendment) -> bool {
        let Self { runs, pools, attempts, .. } = self;
        let Some(run) = runs.get_mut(run_place(id)).and_then(Option::as_deref_mut) else {
            return false;
        };
        let place = run.version.places.get(key.task.index()).copied();
        let (Some(instance), Some(place)) = (run.instance_mut(key), place) else {
            return false;
        };
        let was = instance.state;
        let state = match change {
            InstanceAmendment::Clear { retries, only } if only.contains(was) => {
                if was.is_finished() || was == TaskState::UpForRetry || instance.is_live() {
                    instance.archive(now);
                }
                if let Some(cold) = &mut instance.cold {
                    cold.due_at = None;
                    cold.forget_values();
                }
                instance.max_tries = instance.try_number.saturating_add(*retries);
                if instance.is_live() { TaskState::Restarting } else { TaskState::None }
            }
            InstanceAmendment::Mark { state, only } if only.contains(was) && was != *state => {
                if was == TaskState::UpForRetry {
                    instance.archive(now);
                }
                if instance.start.get().is_none() || matches!(was, TaskState::None | TaskState::Scheduled) {
                    instance.start = now.into();
                }
                if instance.end.get().is_none() || !was.is_finished() {
                    instance.end = now.into();
                }
                if let Some(cold) = &mut instance.cold {
                    cold.due_at = None;
                }
                *state
            }
            _ => return false,
        };
        if instance.is_live() {
            attempts.make_obsolete(instance.attempt);
        }
        pools.set_state(instance, place, state);
        instance.updated = now.into();
        true
    }

    /// Forgets a run; its live attempts stay where slots are counted.
    pub(crate) fn delete_run(&mut self, id: RunId) -> Result<()> {
        self.existing_run(id)?;
        let told = self.followers(id);
        self.tell(id, &told);
        self.leave(id);
        self.finish_attempts(id);
        let Some(mut run) = self.runs.get_mut(run_place(id)).and_then(Option::take) else {
            return Ok(());
        };
        self.runs_by_uid.remove(&run.record.uid);
        self.datasets.forget_run(id);
        let Run { instances, version, .. } = run.as_mut();
        for (instance, place) in instances.iter_mut().zip(&version.places) {
            self.pools.set_state(instance, *place, TaskState::Removed);
        }
        if let Some(dag) = self.dag_at_mut(run.dag) {
            dag.runs.remove(&id);
            dag.by_run_id.remove(&run.record.run_id);
            dag.by_date.remove(&run.record.logical_date);
            dag.automated.remove(&run.record.logical_date);
            if dag.covered.remove(&run.record.logical_date).is_some() {
                self.reconsider_schedule(run.dag);
            } else {
                self.release_schedule(run.dag);
            }
        }
        Ok(())
    }

    /// Schedulers that a change of a run concerns: its owner, and those that have attempts of it.
    fn followers(&self, id: RunId) -> Vec<SchedulerId> {
        let Some(run) = self.run(id) else {
            return Vec::new();
        };
        let live = run.live_attempts().into_iter().filter_map(|place| self.attempts.get(place));
        let mut followers: Vec<_> = live.map(|live| live.attempt.scheduler).chain(run.record.owner).collect();
        followers.sort_unstable();
        followers.dedup();
        followers
    }

    fn tell(&mut self, run: RunId, schedulers: &[SchedulerId]) {
        for id in schedulers {
            if let Some(scheduler) = self.schedulers.get_mut(id) {
                scheduler.changed.insert(run);
            }
        }
    }

    /// The run is deleted or has ended: its attempts do not count any more.
    pub(crate) fn finish_attempts(&mut self, id: RunId) {
        for place in self.run(id).map(Run::live_attempts).unwrap_or_default() {
            self.attempts.make_obsolete(place);
        }
        self.set_strays(id, true);
    }

    /// Says whether nobody will take over the run's attempts when their scheduler dies.
    pub(crate) fn set_strays(&mut self, id: RunId, is_stray: bool) {
        let places = self.run(id).map(Run::live_attempts).unwrap_or_default();
        for place in places {
            self.attempts.set_stray(place, is_stray);
        }
    }

    /// Runs in the order of their creation, of some DAGs or of all.
    pub(crate) fn runs_of(&self, dags: Option<&BTreeSet<DagId>>) -> Vec<&Run> {
        match dags {
            None => self.runs.iter().flatten().map(Box::as_ref).collect(),
            Some(ids) => {
                let dags = ids.iter().filter_map(|id| self.dag(id.as_str()));
                let mut runs: Vec<RunId> = dags.flat_map(|dag| dag.runs.iter().copied()).collect();
                runs.sort_unstable();
                runs.into_iter().filter_map(|id| self.run(id)).collect()
            }
        }
    }

    fn list_runs(&self, query: &RunQuery) -> Page<DagRun> {
        let matches = |run: &&Arc<DagRun>| {
            may_read(query.readable.as_ref(), &run.dag_id)
                && among(query.run_ids.as_ref(), run.run_id.as_str())
                && query.states.as_ref().is_none_or(|states| states.contains(&run.state))
                && query.run_types.as_ref().is_none_or(|types| types.contains(&run.run_type))
                && query.logical_date.contains(Some(run.logical_date))
                && query.start_date.contains(run.start_date)
                && query.end_date.contains(run.end_date)
                && query.updated_at.contains(Some(run.updated_at))
        };
        let all = self.runs_of(query.dag_ids.as_ref());
        let mut runs: Vec<&Arc<DagRun>> = all.into_iter().map(|run| &run.record).filter(matches).collect();
        if let Some(order) = query.order_by {
            let (list, down) = (runs.as_mut_slice(), order.descending);
            match order.field {
                RunOrder::DagId => sort(list, down, |run| run.dag_id.clone()),
                RunOrder::RunId => sort(list, down, |run| run.run_id.clone()),
                RunOrder::LogicalDate => sort(list, down, |run| run.logical_date),
                RunOrder::StartDate => sort(list, down, |run| NoneLast(run.start_date)),
                RunOrder::EndDate => sort(list, down, |run| NoneLast(run.end_date)),
                RunOrder::State => sort(list, down, |run| run.state.as_str()),
                RunOrder::UpdatedAt => sort(list, down, |run| run.updated_at),
                RunOrder::ExternalTrigger => sort(list, down, |run| run.external_trigger),
                RunOrder::Conf => list.sort_by_cached_key(|run| conf_order(&run.conf)),
                RunOrder::RunType => sort(list, down, |run| run.run_type.as_str()),
                RunOrder::QueuedAt => sort(list, down, |run| run.queued_at),
                RunOrder::DataIntervalStart => sort(list, down, |run| run.data_interval_start),
                RunOrder::DataIntervalEnd => sort(list, down, |run| run.data_interval_end),
                RunOrder::LastSchedulingDecision => sort(list, down, |run| NoneLast(run.last_scheduling_decision)),
                _ => sort(list, down, |run| run.id),
            }
            if order.field == RunOrder::Conf && down {
                runs.sort_by_cached_key(|run| std::cmp::Reverse(conf_order(&run.conf)));
            }
        }
        let mut page = page(runs.into_iter(), query.page).map(|run| DagRun::clone(run));
        if query.without_total {
            page.total = 0;
        }
        page
    }
}

/// Runs without a conf come first.
fn conf_order(conf: &Value) -> (bool, String) {
    (conf.as_object().is_some_and(|members| !members.is_empty()), conf.to_string())
}

#[async_trait]
impl RunStorage for MemoryStorage {
    async fn create_runs(&self, now: DateTime<Utc>, runs: Vec<NewRun>) -> Result<Vec<Result<DagRun>>> {
        let created = {
            let mut state = self.lock();
            runs.into_iter().map(|run| state.create_run(now, run)).collect()
        };
        self.announce();
        Ok(created)
    }

    async fn dag_run(&self, dag_id: &str, run_id: &str) -> Result<DagRun> {
        let record = Arc::clone(&self.lock().find_run(dag_id, run_id)?.record);
        Ok(Arc::unwrap_or_clone(record))
    }

    async fn dag_run_by_uid(&self, uid: Uuid) -> Result<DagRun> {
        let state = self.lock();
        let found = state.runs_by_uid.get(&uid).and_then(|id| state.run(*id));
        let record = found.map(|run| Arc::clone(&run.record));
        drop(state);
        record.map(Arc::unwrap_or_clone).ok_or(StorageError::NotFound(Subject::DagRunUid(uid)))
    }

    async fn dag_runs(&self, query: &RunQuery) -> Result<Page<DagRun>> {
        Ok(self.lock().list_runs(query))
    }

    async fn count_runs(&self, dag_ids: &BTreeSet<DagId>) -> Result<BTreeMap<DagId, BTreeMap<RunState, u64>>> {
        let state = self.lock();
        let known = dag_ids.iter().filter_map(|id| Some((id.clone(), state.dag(id.as_str())?)));
        let count = |dag: &DagEntry| {
            let mut counts = BTreeMap::new();
            for run in dag.runs.iter().filter_map(|&id| state.run(id)) {
                *counts.entry(run.record.state).or_default() += 1;
            }
            counts
        };
        Ok(known.map(|(id, dag)| (id, count(dag))).collect())
    }

    async fn latest_runs(&self, readable: Option<Arc<BTreeSet<DagId>>>) -> Result<Vec<DagRun>> {
        let state = self.lock();
        let dags = state.dag_places.iter().filter(|(id, _)| may_read(readable.as_ref(), id));
        let latest = dags.filter_map(|(_, &place)| state.dag_at(place)?.by_date.last_key_value());
        Ok(latest.filter_map(|(_, run)| state.run(*run)).map(|run| DagRun::clone(&run.record)).collect())
    }

    async fn amend_runs(
        &self,
        now: DateTime<Utc>,
        amendments: Vec<Amendment>,
        audit: Option<AuditEntry>,
    ) -> Result<Vec<(DagRun, Vec<InstanceKey>)>> {
        let changed = {
            let mut state = self.lock();
            for amendment in &amendments {
                state.existing_run(amendment.run)?;
            }
            let mut changed = Vec::with_capacity(amendments.len());
            for amendment in &amendments {
                changed.push(state.amend(now, amendment)?);
            }
            state.audit(now, audit);
            let mut runs = Vec::with_capacity(amendments.len());
            for (amendment, keys) in amendments.iter().zip(changed) {
                runs.push((DagRun::clone(&state.existing_run(amendment.run)?.record), keys));
            }
            runs
        };
        self.announce();
        Ok(changed)
    }

    async fn set_run_note(
        &self,
        now: DateTime<Utc>,
        run: RunId,
        note: Option<Note>,
        audit: Option<AuditEntry>,
    ) -> Result<DagRun> {
        let mut state = self.lock();
        let run = state.existing_run(run)?;
        run.record_mut().note = note;
        let record = DagRun::clone(&run.record);
        state.audit(now, audit);
        Ok(record)
    }

    async fn delete_run(&self, run: RunId, audit: Option<AuditEntry>) -> Result<()> {
        {
            let mut state = self.lock();
            state.delete_run(run)?;
            state.audit(self.clock.now(), audit);
        }
        self.announce();
        Ok(())
    }
}
