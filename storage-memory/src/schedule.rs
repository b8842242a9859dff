//! Where the schedules of DAGs stand.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_core::id::DagVersionId;
use updraft_core::model::NextRun;
use updraft_core::storage::{
    DueSchedule, DueSchedules, Result, ScheduleStep, ScheduleStorage, ScheduleVerdict, ScheduledRun, SchedulerSession,
    StorageError,
};

use crate::MemoryStorage;
use crate::state::State;

/// Where a DAG's schedule stands.
#[derive(Debug, Default)]
pub(crate) struct ScheduleEntry {
    pub(crate) sequence: u64,
    pub(crate) next: Option<NextRun>,
    pub(crate) is_held: bool,
    /// When it is to be looked at; see [`State::set_due`].
    due: Option<DateTime<Utc>>,
}

impl State {
    /// Sets when the schedule of a DAG is to be looked at.
    fn set_due(&mut self, place: usize, due: Option<DateTime<Utc>>) {
        let Some(dag) = self.dag_at_mut(place) else { return };
        let before = std::mem::replace(&mut dag.schedule.due, due);
        if let Some(before) = before {
            self.due_schedules.remove(&(before, place));
        }
        if let Some(due) = due {
            self.due_schedules.insert((due, place));
        }
    }

    /// The schedule of a DAG is to be looked at now, if it makes runs by time.
    pub(crate) fn reconsider_schedule(&mut self, place: usize) {
        let Some(dag) = self.dag_at_mut(place) else { return };
        let is_timed = dag.newest.dag.schedule.is_timed();
        dag.schedule.is_held = false;
        if !is_timed {
            dag.schedule.next = None;
        }
        self.set_due(place, is_timed.then_some(DateTime::UNIX_EPOCH));
    }

    /// A DAG is gone.
    pub(crate) fn forget_schedule(&mut self, place: usize) {
        self.set_due(place, None);
    }

    /// A run of a DAG is not active any more: a schedule that waited for room is to be looked at.
    pub(crate) fn release_schedule(&mut self, place: usize) {
        let Some(dag) = self.dag_at(place) else { return };
        if dag.schedule.is_held && dag.active < dag.newest.dag.max_active_runs {
            self.reconsider_schedule(place);
        }
    }

    fn due_schedules(&self, now: DateTime<Utc>, versions: &[DagVersionId], limit: usize) -> DueSchedules {
        let mut found = DueSchedules::default();
        for &(due, place) in &self.due_schedules {
            let Some(dag) = self.dag_at(place).filter(|dag| dag.is_active) else { continue };
            if versions.binary_search(&dag.newest.id).is_err() {
                continue;
            }
            if due > now {
                found.next_due = Some(due);
                break;
            }
            if found.due.len() == limit {
                continue;
            }
            found.due.push(DueSchedule {
                dag_version: dag.newest.id,
                sequence: dag.schedule.sequence,
                is_paused: dag.is_paused,
                last: dag.covered.last_key_value().map(|(_, interval)| *interval),
                planned: dag.schedule.next.filter(|_| due > DateTime::UNIX_EPOCH),
                active_runs: dag.active,
                known_since: dag.created_at,
            });
        }
        found
    }

    fn advance_schedule(&mut self, now: DateTime<Utc>, step: ScheduleStep) -> Result<ScheduleVerdict> {
        let ScheduleStep { dag_version, sequence, runs, next } = step;
        let version = self.versions.get(&dag_version).map(|version| version.dag.dag_id.clone());
        let place = version.and_then(|dag_id| self.dag_places.get(&dag_id).copied());
        let Some((place, dag)) = place.and_then(|place| Some((place, self.dag_at(place)?))) else {
            return Ok(ScheduleVerdict::Changed);
        };
        let is_as_read = dag.newest.id == dag_version && dag.schedule.sequence == sequence && dag.is_active;
        if !is_as_read || (dag.is_paused && !runs.is_empty()) {
            return Ok(ScheduleVerdict::Changed);
        }
        let limit = dag.newest.dag.max_active_runs;
        let mut last = None;
        let mut verdicts = Vec::with_capacity(runs.len());
        for run in runs {
            let has_room = self.dag_at(place).is_some_and(|dag| dag.active < limit);
            verdicts.push(if !has_room {
                ScheduledRun::NoRoom
            } else {
                let as_next = run.as_next();
                match self.create_run(now, run) {
                    Ok(run) => {
                        last = Some(as_next);
                        ScheduledRun::Created(Box::new(run))
                    }
                    Err(StorageError::AlreadyExists(_)) => ScheduledRun::Exists,
                    Err(error) => return Err(error),
                }
            });
        }
        let Some(dag) = self.dag_at_mut(place) else { return Ok(ScheduleVerdict::Changed) };
        dag.schedule.sequence += 1;
        dag.schedule.is_held = next.is_some() && dag.active >= limit;
        dag.schedule.next = if dag.schedule.is_held { last.or(next) } else { next };
        let waits = dag.is_paused || dag.schedule.is_held;
        self.set_due(place, next.filter(|_| !waits).map(|next| next.create_after));
        Ok(ScheduleVerdict::Done(verdicts))
    }
}

#[async_trait]
impl ScheduleStorage for MemoryStorage {
    async fn due_schedules(&self, now: DateTime<Utc>, versions: &[DagVersionId], limit: usize) -> Result<DueSchedules> {
        Ok(self.lock().due_schedules(now, versions, limit))
    }

    async fn advance_schedules(
        &self,
        session: &SchedulerSession,
        now: DateTime<Utc>,
        steps: Vec<ScheduleStep>,
    ) -> Result<Vec<ScheduleVerdict>> {
        let has_runs = steps.iter().any(|step| !step.runs.is_empty());
        let verdicts = {
            let mut state = self.lock();
            state.session(session)?;
            steps.into_iter().map(|step| state.advance_schedule(now, step)).collect()
        };
        if has_runs {
            self.announce();
        }
        verdicts
    }
}
