//! Schedulers: who they are, and what is theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_core::id::{DagVersionId, RunId, SchedulerId};
use updraft_core::model::{DagRun, DagVersion, Host, RunState, TaskState};
use updraft_core::operator::SkipDownstream;
use updraft_core::storage::{
    Batch, InstanceSnapshot, NewDatasetRun, PastQuery, PreviousRun, Result, RunSnapshot, SchedulerSession,
    SchedulerStorage, StorageError, Verdict, WaitingConsumer,
};

use crate::MemoryStorage;
use crate::commit::Lane;
use crate::instance::key_at;
use crate::run::Run;
use crate::state::State;

/// A name under which schedulers register, one after another.
#[derive(Debug)]
pub(crate) struct Scheduler {
    name: String,
    pub(crate) epoch: u64,
    /// `None` once it has left.
    alive_until: Option<Duration>,
    lease: Duration,
    /// Its unfinished runs.
    pub(crate) owned: BTreeSet<RunId>,
    /// Runs that it does not know the present state of.
    pub(crate) changed: BTreeSet<RunId>,
    pub(crate) lanes: BTreeMap<u32, Lane>,
}

impl State {
    fn register_scheduler(&mut self, time: Duration, name: &str, lease: Duration) -> SchedulerSession {
        let known = self.schedulers.iter().find(|(_, scheduler)| scheduler.name == name).map(|(&id, _)| id);
        let id =
            known.unwrap_or_else(|| SchedulerId(self.schedulers.last_key_value().map_or(1, |(last, _)| last.0 + 1)));
        self.disown(id);
        let epoch = self.schedulers.get(&id).map_or(0, |scheduler| scheduler.epoch) + 1;
        self.schedulers.insert(
            id,
            Scheduler {
                name: name.into(),
                epoch,
                alive_until: Some(time.saturating_add(lease)),
                lease,
                owned: BTreeSet::new(),
                changed: BTreeSet::new(),
                lanes: BTreeMap::new(),
            },
        );
        SchedulerSession { id, epoch, lease }
    }

    /// Makes a scheduler's runs belong to nobody.
    fn disown(&mut self, id: SchedulerId) {
        let owned = self.schedulers.get(&id).map(|scheduler| scheduler.owned.clone()).unwrap_or_default();
        for run in owned {
            self.set_owner(run, None);
        }
    }

    /// Gives an unfinished run to a scheduler, or to nobody.
    pub(crate) fn set_owner(&mut self, id: RunId, owner: Option<SchedulerId>) {
        self.leave(id);
        if let Some(run) = self.run_mut(id) {
            run.record_mut().owner = owner;
            if owner.is_some() {
                if run.was_owned {
                    run.record_mut().version += 1;
                }
                run.was_owned = true;
            }
        }
        self.enter(id);
    }

    pub(crate) fn session(&mut self, session: &SchedulerSession) -> Result<&mut Scheduler> {
        self.schedulers
            .get_mut(&session.id)
            .filter(|scheduler| scheduler.epoch == session.epoch && scheduler.alive_until.is_some())
            .ok_or(StorageError::Fenced)
    }

    fn claim(
        &mut self,
        time: Duration,
        now: DateTime<Utc>,
        session: &SchedulerSession,
        versions: &[DagVersionId],
        limit: usize,
    ) -> Result<Vec<RunSnapshot>> {
        self.session(session)?;
        self.end_strays(time, now);
        let mut candidates: Vec<RunId> = Vec::new();
        let waiting = self.waiting.iter().filter(|(version, _)| versions.binary_search(version).is_ok());
        for (_, waiting) in waiting {
            let is_free = |id: &&RunId| self.is_free(**id, session.id, time);
            candidates.extend(waiting.running.iter().filter(is_free).take(limit));
            // Runs of a version are of one DAG: all its queued runs can be claimed up to its room, or none can.
            let room =
                waiting.queued.first().and_then(|&(_, id)| self.run(id)).map_or(0, |run| self.room_for_runs(run));
            let come = waiting.queued.iter().take_while(|(date, _)| *date <= now).map(|(_, id)| id);
            candidates.extend(come.filter(is_free).take(limit.min(room)));
        }
        let expired = self.schedulers.iter().filter(|(id, _)| **id != session.id);
        for (_, scheduler) in expired.filter(|(_, scheduler)| scheduler.alive_until.is_none_or(|until| until <= time)) {
            let owned = scheduler.owned.iter().filter_map(|&id| self.run(id));
            let of_versions = owned.filter(|run| versions.binary_search(&run.record.dag_version).is_ok());
            candidates.extend(of_versions.map(|run| run.record.id));
        }
        candidates.sort_unstable();
        let mut claimed = Vec::new();
        for id in candidates {
            if claimed.len() == limit {
                break;
            }
            let Some(run) = self.run(id) else { continue };
            // Asked again one by one: versions of a DAG share its room. One that is claimed already has its place.
            let has_room = match (run.record.state, run.record.owner) {
                (RunState::Queued, None) => self.room_for_runs(run) > 0,
                (RunState::Queued, Some(_)) => self
                    .dag_at(run.dag)
                    .is_some_and(|dag| !dag.is_paused && dag.running < dag.newest.dag.max_active_runs),
                _ => true,
            };
            if has_room {
                self.set_owner(id, Some(session.id));
                self.session(session)?.changed.remove(&id);
                claimed.extend(self.snapshot(id));
            }
        }
        Ok(claimed)
    }

    /// Whether no other living scheduler still has an attempt of the run: only that one knows when it has ended.
    fn is_free(&self, id: RunId, session: SchedulerId, time: Duration) -> bool {
        let live = self.run(id).map(Run::live_attempts).unwrap_or_default();
        live.into_iter()
            .filter_map(|place| self.attempts.get(place))
            .all(|live| live.attempt.scheduler == session || self.is_dead(live.attempt.scheduler, live.epoch, time))
    }

    pub(crate) fn living_schedulers(&self, time: Duration) -> usize {
        self.schedulers.values().filter(|scheduler| scheduler.alive_until.is_some_and(|until| until > time)).count()
    }

    fn is_dead(&self, id: SchedulerId, epoch: u64, time: Duration) -> bool {
        let scheduler = self.schedulers.get(&id).filter(|scheduler| scheduler.epoch == epoch);
        scheduler.and_then(|scheduler| scheduler.alive_until).is_none_or(|until| until <= time)
    }

    /// How many more runs of the run's DAG may be claimed in order to start.
    fn room_for_runs(&self, run: &Run) -> usize {
        self.dag_at(run.dag).filter(|dag| !dag.is_paused).map_or(0, |dag| {
            dag.newest.dag.max_active_runs.saturating_sub(dag.running.saturating_add(dag.claimed)) as usize
        })
    }

    /// Ends attempts that nobody else can end: their run is deleted or finished, their scheduler is dead.
    fn end_strays(&mut self, time: Duration, now: DateTime<Utc>) {
        let schedulers = &self.schedulers;
        let is_dead = |id: SchedulerId, epoch: u64| {
            let scheduler = schedulers.get(&id).filter(|scheduler| scheduler.epoch == epoch);
            scheduler.and_then(|scheduler| scheduler.alive_until).is_none_or(|until| until <= time)
        };
        for (place, run, key) in self.attempts.strays_of_the_dead(is_dead) {
            self.attempts.remove(place);
            self.forget_attempt(now, run, key);
        }
    }

    pub(crate) fn snapshot(&self, id: RunId) -> Option<RunSnapshot> {
        let run = self.run(id)?;
        let instances = run.instances.iter().enumerate().map(|(index, instance)| InstanceSnapshot {
            key: key_at(index),
            state: instance.state,
            try_number: instance.try_number,
            max_tries: instance.max_tries,
            due_at: instance.due_at(),
        });
        let attempts = run.live_attempts().into_iter().filter_map(|place| self.attempts.get(place));
        let skips = run.instances.iter().enumerate().filter_map(|(index, instance)| {
            let skip = &instance.cold.as_ref()?.skip;
            (instance.state == TaskState::Success && *skip != SkipDownstream::None)
                .then(|| (key_at(index), skip.clone()))
        });
        Some(RunSnapshot {
            run: run.record.as_ref().clone(),
            instances: instances.collect(),
            attempts: attempts.map(|live| live.attempt.clone()).collect(),
            skips: skips.collect(),
        })
    }
}

#[async_trait]
impl SchedulerStorage for MemoryStorage {
    async fn now(&self) -> Result<DateTime<Utc>> {
        Ok(self.clock.now())
    }

    async fn register_scheduler(&self, name: &str, lease: Duration, host: &Host) -> Result<SchedulerSession> {
        let session = {
            let mut state = self.lock();
            state.host = host.clone();
            state.register_scheduler(self.clock.monotonic(), name, lease)
        };
        self.announce();
        Ok(session)
    }

    async fn heartbeat(&self, session: &SchedulerSession) -> Result<()> {
        let mut state = self.lock();
        let scheduler = state.session(session)?;
        scheduler.alive_until = Some(self.clock.monotonic().saturating_add(scheduler.lease));
        Ok(())
    }

    async fn unregister_scheduler(&self, session: &SchedulerSession) -> Result<()> {
        {
            let mut state = self.lock();
            // Whoever was replaced has left already.
            if state.session(session).is_ok() {
                state.disown(session.id);
                state.session(session)?.alive_until = None;
            }
        }
        self.announce();
        Ok(())
    }

    async fn pool_slots(&self) -> Result<Vec<(String, i32)>> {
        Ok(self.lock().pools.all().map(|pool| (pool.name.clone(), pool.slots)).collect())
    }

    async fn versions_after(&self, after: Option<DagVersionId>, limit: usize) -> Result<Vec<DagVersion>> {
        let state = self.lock();
        let versions = state.versions.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
        Ok(versions.take(limit).map(|(_, version)| version.view()).collect())
    }

    async fn claim_runs(
        &self,
        session: &SchedulerSession,
        versions: &[DagVersionId],
        limit: usize,
    ) -> Result<Vec<RunSnapshot>> {
        self.lock().claim(self.clock.monotonic(), self.clock.now(), session, versions, limit)
    }

    async fn owned_runs(&self, session: &SchedulerSession) -> Result<Vec<RunId>> {
        Ok(self.lock().session(session)?.owned.iter().copied().collect())
    }

    async fn reload_runs(&self, session: &SchedulerSession, runs: &[RunId]) -> Result<Vec<RunSnapshot>> {
        let mut state = self.lock();
        let scheduler = state.session(session)?;
        for run in runs {
            scheduler.changed.remove(run);
        }
        let own = runs.iter().filter(|&&id| state.run(id).is_some_and(|run| run.record.owner == Some(session.id)));
        Ok(own.filter_map(|&id| state.snapshot(id)).collect())
    }

    async fn changed_runs(&self, session: &SchedulerSession) -> Result<Vec<RunId>> {
        Ok(self.lock().session(session)?.changed.iter().copied().collect())
    }

    async fn previous_runs(&self, queries: &[PastQuery]) -> Result<Vec<Option<PreviousRun>>> {
        let state = self.lock();
        Ok(queries.iter().map(|query| state.previous_run(query)).collect())
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Verdict>> {
        let (verdicts, is_news) = {
            let mut state = self.lock();
            (state.commit(batch), state.datasets.take_news())
        };
        if is_news {
            self.announce();
        }
        verdicts
    }

    async fn waiting_consumers(&self, versions: &[DagVersionId]) -> Result<Vec<WaitingConsumer>> {
        Ok(self.lock().waiting_consumers(versions))
    }

    async fn create_dataset_run(&self, now: DateTime<Utc>, run: &NewDatasetRun) -> Result<Option<DagRun>> {
        let created = self.lock().create_dataset_run(now, run)?;
        if created.is_some() {
            self.announce();
        }
        Ok(created)
    }

    async fn announcement(&self, seen: u64) -> u64 {
        let mut announcements = self.announcements.subscribe();
        // The sender lives as long as `self`.
        announcements.wait_for(|&count| count > seen).await.map_or(seen, |count| *count)
    }
}
