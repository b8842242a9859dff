//! Batches of a scheduler's changes: the hot path.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use updraft_core::id::{AttemptToken, InstanceKey, RunId};
use updraft_core::model::{
    AttemptPhase, AuditEntry, LiveAttempt, Pool, RETURN_VALUE, RunState, SKIPMIXIN_KEY, TaskEventLog, TaskState,
};
use updraft_core::operator::SkipDownstream;
use updraft_core::storage::{
    Admission, Batch, Change, Ended, Limit, Result, SchedulerSession, Stop, StorageError, Transition, Verdict,
};

use crate::attempt::Live;
use crate::instance::{Moment, NO_ATTEMPT};
use crate::state::{State, run_place};

/// The last batch of a lane.
#[derive(Debug)]
pub(crate) struct Lane {
    sequence: u64,
    length: usize,
    /// Verdicts other than `Done`, by position.
    others: Vec<(usize, Verdict)>,
}

impl Lane {
    fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Done; self.length];
        for (index, verdict) in &self.others {
            verdicts[*index] = verdict.clone();
        }
        verdicts
    }
}

/// What all changes of a batch have in common.
struct Step<'a> {
    session: &'a SchedulerSession,
    now: DateTime<Utc>,
    event_log: TaskEventLog,
}

impl State {
    pub(crate) fn commit(&mut self, batch: &Batch) -> Result<Vec<Verdict>> {
        let scheduler = self.session(&batch.session)?;
        if let Some(lane) = scheduler.lanes.get(&batch.lane) {
            if lane.sequence == batch.sequence {
                return Ok(lane.verdicts());
            }
            if batch.sequence != lane.sequence + 1 {
                return Err(StorageError::Invalid(format!(
                    "batch {} of lane {} does not follow batch {}",
                    batch.sequence, batch.lane, lane.sequence
                )));
            }
        }
        // Runs whose further transitions all get the same verdict.
        let mut blocked = self.stale_runs(batch);
        let step = Step { session: &batch.session, now: batch.now, event_log: batch.event_log };
        let mut lane = Lane { sequence: batch.sequence, length: batch.transitions.len(), others: Vec::new() };
        for (index, transition) in batch.transitions.iter().enumerate() {
            let block = blocked.get(&transition.run);
            let verdict = match (&transition.change, block) {
                (Change::Release(token), _) => self.release(&step, transition.run, *token),
                (_, Some(verdict)) => verdict.clone(),
                (change, None) => {
                    let verdict = self.apply(&step, transition.run, change);
                    if verdict == Verdict::StaleRun || *change == Change::StartRun && verdict != Verdict::Done {
                        blocked.insert(transition.run, verdict.clone());
                    }
                    verdict
                }
            };
            if verdict != Verdict::Done {
                lane.others.push((index, verdict));
            }
        }
        let verdicts = lane.verdicts();
        self.session(&batch.session)?.lanes.insert(batch.lane, lane);
        self.pause_after_failures(batch, &verdicts);
        Ok(verdicts)
    }

    /// Pauses DAGs whose last runs have all failed.
    fn pause_after_failures(&mut self, batch: &Batch, verdicts: &[Verdict]) {
        let mut asked = BTreeSet::new();
        for (transition, verdict) in batch.transitions.iter().zip(verdicts) {
            if let (Change::PauseAfterFailures(most), Verdict::Done) = (&transition.change, verdict) {
                asked.extend(self.run(transition.run).map(|run| (run.dag, *most)));
            }
        }
        for (place, most) in asked {
            let Some(dag) = self.dag_at(place) else { continue };
            let last = dag.by_date.values().rev().take(most as usize).filter_map(|id| self.run(*id));
            let failed = last.take_while(|run| run.record.state == RunState::Failed).count();
            if failed < most as usize {
                continue;
            }
            let entry = AuditEntry::paused_by_scheduler(&dag.newest.dag.dag_id);
            if let Some(dag) = self.dag_at_mut(place) {
                dag.is_paused = true;
            }
            self.audit(batch.now, Some(entry));
        }
    }

    /// Runs of the batch that are gone, another's, or in another version than the scheduler knows.
    fn stale_runs(&self, batch: &Batch) -> BTreeMap<RunId, Verdict> {
        let mut stale = BTreeMap::new();
        let mut last = None;
        let transitions = batch.transitions.iter();
        for Transition { run: id, version, .. } in transitions.filter(|t| !matches!(t.change, Change::Release(_))) {
            if last == Some((*id, *version)) {
                continue;
            }
            last = Some((*id, *version));
            let is_current = self
                .run(*id)
                .is_some_and(|run| run.record.version == *version && run.record.owner == Some(batch.session.id));
            if !is_current {
                stale.insert(*id, Verdict::StaleRun);
            }
        }
        stale
    }

    fn apply(&mut self, step: &Step<'_>, id: RunId, change: &Change) -> Verdict {
        match change {
            Change::StartRun => self.start_run(step, id),
            Change::EndRun(state) => self.end_run(step, id, *state),
            Change::Admit(admission) => self.admit(step, id, admission),
            Change::Started(token) => self.started(step, id, *token),
            Change::Ended(ended) => self.ended(step, id, ended),
            Change::Release(token) => self.release(step, id, *token),
            Change::Settle(key, state) => self.settle(step, id, *key, *state, false),
            Change::Skip(key) => self.settle(step, id, *key, TaskState::Skipped, true),
            Change::Schedule(keys) => self.schedule(step, id, keys),
            Change::Stop(stop) => self.stop(step, id, stop),
            // Looked at once the whole batch is written.
            Change::PauseAfterFailures(_) => Verdict::Done,
            _ => Verdict::StaleRun,
        }
    }

    /// Holds whatever the run's version and owner are.
    fn release(&mut self, step: &Step<'_>, id: RunId, token: AttemptToken) -> Verdict {
        let found = self.attempts.find(token).filter(|(_, live)| live.attempt.run == id && live.attempt.is_obsolete);
        let Some((place, key)) = found.map(|(place, live)| (place, live.attempt.key)) else { return Verdict::Done };
        self.attempts.remove(place);
        self.forget_attempt(step.now, id, key);
        // An owner that did not do this itself must see it.
        let owner = self.run(id).and_then(|run| run.record.owner).filter(|owner| *owner != step.session.id);
        if let Some(owner) = owner.and_then(|owner| self.schedulers.get_mut(&owner)) {
            owner.changed.insert(id);
            if let Some(run) = self.run_mut(id) {
                run.record_mut().version += 1;
            }
        }
        Verdict::Done
    }

    fn start_run(&mut self, step: &Step<'_>, id: RunId) -> Verdict {
        let Some(run) = self.run(id).filter(|run| run.record.state == RunState::Queued) else {
            return Verdict::StaleRun;
        };
        let Some(dag) = self.dag_at(run.dag) else {
            return Verdict::StaleRun;
        };
        let dag_id = &run.record.dag_id;
        if dag.is_paused {
            return Verdict::NoRoom(Limit::Paused(dag_id.clone()));
        }
        if dag.running >= dag.newest.dag.max_active_runs {
            return Verdict::NoRoom(Limit::ActiveRuns(dag_id.clone()));
        }
        self.leave(id);
        if let Some(run) = self.run_mut(id) {
            let run = run.record_mut();
            run.state = RunState::Running;
            run.start_date = run.start_date.or(Some(step.now));
            run.last_scheduling_decision = Some(step.now);
            run.updated_at = step.now;
        }
        self.enter(id);
        Verdict::Done
    }

    fn end_run(&mut self, step: &Step<'_>, id: RunId, state: RunState) -> Verdict {
        if !self.run(id).is_some_and(|run| run.record.state.may_become(state) && state.is_finished()) {
            return Verdict::StaleRun;
        }
        self.leave(id);
        if let Some(run) = self.run_mut(id) {
            let run = run.record_mut();
            run.state = state;
            run.end_date = Some(step.now);
            run.last_scheduling_decision = Some(step.now);
            run.updated_at = step.now;
            run.owner = None;
        }
        self.enter(id);
        self.finish_attempts(id);
        self.note_room(id);
        Verdict::Done
    }

    fn admit(&mut self, step: &Step<'_>, id: RunId, admission: &Admission) -> Verdict {
        let Admission { key, try_number, token, phase } = *admission;
        let Some(run) = self.run(id) else {
            return Verdict::StaleRun;
        };
        let (Some(instance), Some(task)) = (run.instance(key), run.version.dag.task(key.task)) else {
            return Verdict::StaleRun;
        };
        let state = if phase == AttemptPhase::Running { TaskState::Running } else { TaskState::Queued };
        let is_legal = run.record.state == RunState::Running
            && !instance.is_live()
            && instance.state.may_become(state)
            && try_number == instance.try_number.saturating_add(1)
            && self.attempts.find(token).is_none();
        let (Some(dag), true) = (self.dag_at(run.dag), is_legal) else {
            return Verdict::StaleRun;
        };
        let place = run.version.places[key.task.index()];
        let slots = self.attempts.slots();
        let dag_id = &run.record.dag_id;
        let no_room = if dag.is_paused {
            Some(Limit::Paused(dag_id.clone()))
        } else if task.max_active_tis_per_dagrun == Some(0) {
            // The one instance of a task that is not mapped is the first of its run.
            Some(Limit::TaskInRun(id, task.task_id.to_string()))
        } else if task.max_active_tis_per_dag.is_some_and(|most| slots.of_task(run.dag, place.number) >= most) {
            Some(Limit::TaskInDag(dag_id.clone(), task.task_id.to_string()))
        } else if slots.of_dag(run.dag) >= dag.newest.dag.max_active_tasks {
            Some(Limit::ActiveTasks(dag_id.clone()))
        } else {
            let of_pool = slots.of_pool(place.pool as usize);
            let taken = of_pool.running + of_pool.queued + u64::from(place.pool_slots);
            let slots = self.pools.slots(place.pool);
            let fits = slots == Pool::UNBOUNDED || u64::try_from(slots).is_ok_and(|slots| taken <= slots);
            (!fits).then(|| Limit::Pool(self.pools.name(place.pool).into()))
        };
        if let Some(limit) = no_room {
            return Verdict::NoRoom(limit);
        }
        let is_running = phase == AttemptPhase::Running;
        let live = Live {
            attempt: LiveAttempt {
                token,
                run: id,
                key,
                try_number,
                phase,
                scheduler: step.session.id,
                is_obsolete: false,
                queued_when: step.now,
                start_date: is_running.then_some(step.now),
            },
            epoch: step.session.epoch,
            dag: run.dag,
            place,
        };
        let attempt = self.attempts.insert(live);
        let Self { runs, pools, log, .. } = self;
        let Some(run) = runs.get_mut(run_place(id)).and_then(Option::as_deref_mut) else {
            return Verdict::Done;
        };
        run.live += 1;
        let names = Arc::clone(&run.names);
        let Some(instance) = run.instance_mut(key) else {
            return Verdict::Done;
        };
        if instance.try_number > 0 {
            instance.archive(step.now);
        }
        instance.forget_try();
        instance.attempt = attempt;
        instance.try_number = try_number;
        instance.queued = step.now.into();
        instance.is_branched_off = false;
        instance.start = if is_running { step.now.into() } else { Moment::NEVER };
        instance.end = Moment::NEVER;
        instance.updated = step.now.into();
        pools.set_state(instance, place, state);
        if is_running && step.event_log == TaskEventLog::On {
            log.append_task(step.now, &names, key, try_number, TaskState::Running);
        }
        Verdict::Done
    }

    fn started(&mut self, step: &Step<'_>, id: RunId, token: AttemptToken) -> Verdict {
        let Some((place, live)) = self.attempts.find(token) else {
            return Verdict::StaleRun;
        };
        let LiveAttempt { run, key, try_number, phase, is_obsolete, .. } = live.attempt;
        let slots = live.place;
        if run != id || phase != AttemptPhase::Queued {
            return Verdict::StaleRun;
        }
        self.attempts.start(place, step.now);
        if is_obsolete {
            return Verdict::Done;
        }
        let Self { runs, pools, log, .. } = self;
        let Some(run) = runs.get_mut(run_place(id)).and_then(Option::as_deref_mut) else {
            return Verdict::Done;
        };
        let names = Arc::clone(&run.names);
        if let Some(instance) = run.instance_mut(key) {
            instance.start = step.now.into();
            instance.updated = step.now.into();
            pools.set_state(instance, slots, TaskState::Running);
        }
        if step.event_log == TaskEventLog::On {
            log.append_task(step.now, &names, key, try_number, TaskState::Running);
        }
        Verdict::Done
    }

    fn ended(&mut self, step: &Step<'_>, id: RunId, ended: &Ended) -> Verdict {
        // What has ended already ends once only.
        let Some((attempt, live)) = self.attempts.find(ended.token) else {
            return Verdict::Done;
        };
        let LiveAttempt { run, key, try_number, is_obsolete, .. } = live.attempt;
        let place = live.place;
        if run != id || key != ended.key {
            return Verdict::StaleRun;
        }
        if is_obsolete {
            return self.release(step, id, ended.token);
        }
        let Self { runs, pools, log, attempts, .. } = self;
        let Some(run) = runs.get_mut(run_place(id)).and_then(Option::as_deref_mut) else {
            return Verdict::StaleRun;
        };
        let names = Arc::clone(&run.names);
        let version = Arc::clone(&run.version);
        let Some(instance) = run.instance_mut(key) else {
            return Verdict::StaleRun;
        };
        if !instance.state.may_become(ended.state) {
            return Verdict::StaleRun;
        }
        attempts.remove(attempt);
        instance.attempt = NO_ATTEMPT;
        instance.updated = step.now.into();
        pools.set_state(instance, place, ended.state);
        if ended.state == TaskState::Scheduled {
            instance.give_back();
        } else {
            instance.end = ended.end_date.into();
            if ended.due_at.is_some() {
                instance.cold_mut().due_at = ended.due_at;
            }
            if let Some(value) = &ended.value {
                instance.cold_mut().xcoms.insert(RETURN_VALUE.into(), (value.clone(), step.now));
            }
            if ended.skip != SkipDownstream::None {
                let value = ended.skip.to_xcom(&version.dag, key.task);
                let cold = instance.cold_mut();
                cold.xcoms.insert(SKIPMIXIN_KEY.into(), (value, step.now));
                cold.skip = ended.skip.clone();
            }
            // Airflow says `failed` of a try that will be retried, too.
            let event = if ended.state == TaskState::UpForRetry { TaskState::Failed } else { ended.state };
            let is_logged = match step.event_log {
                TaskEventLog::On => true,
                TaskEventLog::Failures => event == TaskState::Failed,
                _ => false,
            };
            if is_logged {
                log.append_task(ended.end_date, &names, key, try_number, event);
            }
        }
        run.live -= 1;
        if ended.state == TaskState::Success {
            self.update_outlets(step.now, id, key, &ended.outlet_events);
        }
        Verdict::Done
    }

    /// What becomes of an instance whose attempt has gone without an outcome.
    pub(crate) fn forget_attempt(&mut self, now: DateTime<Utc>, id: RunId, key: InstanceKey) {
        let Self { runs, pools, .. } = self;
        let Some(run) = runs.get_mut(run_place(id)).and_then(Option::as_deref_mut) else {
            return;
        };
        run.live -= 1;
        let place = run.version.places[key.task.index()];
        let Some(instance) = run.instance_mut(key) else {
            return;
        };
        instance.attempt = NO_ATTEMPT;
        let state = match instance.state {
            TaskState::Restarting => TaskState::None,
            TaskState::Queued | TaskState::Running => TaskState::Failed,
            _ => return,
        };
        if state == TaskState::Failed {
            instance.end = now.into();
        }
        instance.updated = now.into();
        pools.set_state(instance, place, state);
    }

    fn settle(
        &mut self,
        step: &Step<'_>,
        id: RunId,
        key: InstanceKey,
        state: TaskState,
        is_branched_off: bool,
    ) -> Verdict {
        let Self { runs, pools, .. } = self;
        let Some(run) = runs.get_mut(run_place(id)).and_then(Option::as_deref_mut) else {
            return Verdict::StaleRun;
        };
        let place = run.version.places.get(key.task.index()).copied();
        let (Some(instance), Some(place)) = (run.instance_mut(key), place) else {
            return Verdict::StaleRun;
        };
        if instance.is_live() || !state.is_finished() || !instance.state.may_become(state) {
            return Verdict::StaleRun;
        }
        if state == TaskState::Success {
            if instance.try_number > 0 {
                instance.archive(step.now);
            }
            instance.try_number += 1;
        }
        instance.is_branched_off = is_branched_off;
        instance.start = step.now.into();
        instance.end = step.now.into();
        instance.updated = step.now.into();
        pools.set_state(instance, place, state);
        if state == TaskState::Success {
            self.update_outlets(step.now, id, key, &[]);
        }
        Verdict::Done
    }

    fn schedule(&mut self, step: &Step<'_>, id: RunId, keys: &[InstanceKey]) -> Verdict {
        let Self { runs, pools, .. } = self;
        let Some(run) = runs.get_mut(run_place(id)).and_then(Option::as_deref_mut) else {
            return Verdict::StaleRun;
        };
        if keys.iter().any(|&key| run.instance(key).is_none()) {
            return Verdict::StaleRun;
        }
        for &key in keys {
            let place = run.version.places.get(key.task.index()).copied();
            let (Some(instance), Some(place)) = (run.instance_mut(key), place) else {
                return Verdict::StaleRun;
            };
            if !instance.is_live() && instance.state.may_become(TaskState::Scheduled) {
                instance.updated = step.now.into();
                pools.set_state(instance, place, TaskState::Scheduled);
            }
        }
        Verdict::Done
    }

    fn stop(&mut self, step: &Step<'_>, id: RunId, stop: &Stop) -> Verdict {
        let Self { runs, pools, attempts, .. } = self;
        let Some(run) = runs.get_mut(run_place(id)).and_then(Option::as_deref_mut) else {
            return Verdict::StaleRun;
        };
        let place = run.version.places.get(stop.key.task.index()).copied();
        let (Some(instance), Some(place)) = (run.instance_mut(stop.key), place) else {
            return Verdict::StaleRun;
        };
        if instance.state.is_finished() || !stop.state.is_finished() {
            return Verdict::StaleRun;
        }
        if instance.is_live() {
            attempts.make_obsolete(instance.attempt);
        }
        if let Some(cold) = &mut instance.cold {
            cold.due_at = None;
        }
        if stop.sets_dates {
            instance.start = instance.start.get().unwrap_or(step.now).into();
            instance.end = instance.end.get().unwrap_or(step.now).into();
        }
        instance.updated = step.now.into();
        pools.set_state(instance, place, stop.state);
        Verdict::Done
    }
}
