//! Runs that are made by time.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::engine::Plan;
use crate::id::{DagVersionId, IdSource};
use crate::model::{DataInterval, RunType};
use crate::schedule::{Restriction, Timetable, Timetables};
use crate::storage::{DueSchedule, NewRun, ScheduleStep, ScheduleVerdict, ScheduledRun};

/// Most runs that are created of a DAG in one step.
const RUNS_A_STEP: u32 = 100;

/// A version of a DAG that has runs by time.
#[derive(Debug)]
struct Timed {
    timetable: Arc<dyn Timetable>,
    restriction: Restriction,
    max_active_runs: u32,
    /// What is done with: runs with these dates exist, though nobody's schedule made them.
    passed: Option<DataInterval>,
}

/// What this scheduler knows of schedules.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    timed: BTreeMap<DagVersionId, Timed>,
    /// When the next one is due.
    pub(super) next_due: Option<DateTime<Utc>>,
}

impl Schedules {
    /// Takes note of a version that can run here.
    pub(super) fn add_plan(&mut self, plan: &Plan, timetables: &Timetables) {
        let dag = plan.dag();
        if !dag.schedule.is_timed() {
            return;
        }
        match timetables.timetable(&dag.schedule, &dag.timezone) {
            Ok(timetable) => {
                let timed = Timed {
                    max_active_runs: timetable.active_runs_limit().unwrap_or(u32::MAX).min(dag.max_active_runs),
                    timetable,
                    restriction: Restriction::of(dag),
                    passed: None,
                };
                self.timed.insert(plan.version(), timed);
            }
            Err(error) => tracing::error!(dag_id = %dag.dag_id, %error, "no runs are scheduled"),
        }
    }

    /// Versions that have runs by time, sorted.
    pub(super) fn versions(&self) -> Vec<DagVersionId> {
        self.timed.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.timed.is_empty()
    }

    pub(super) fn are_due(&self, now: DateTime<Utc>) -> bool {
        self.next_due.is_some_and(|due| due <= now)
    }

    /// A run of a version has ended: the schedule may have waited for that.
    pub(super) fn run_ended(&mut self, version: DagVersionId, now: DateTime<Utc>) {
        if self.timed.contains_key(&version) {
            self.next_due = Some(now);
        }
    }

    /// What a due schedule asks for.
    pub(super) fn step(&self, due: &DueSchedule, now: DateTime<Utc>, ids: &IdSource) -> Option<ScheduleStep> {
        let timed = self.timed.get(&due.dag_version)?;
        let room = if due.is_paused { 0 } else { timed.max_active_runs.saturating_sub(due.active_runs) };
        let room = room.min(RUNS_A_STEP) as usize;
        // Intervals are compared by their start: where they grow apart, so do the dates of their runs.
        let mut last = [due.last, timed.passed].into_iter().flatten().max_by_key(|interval| interval.start);
        let earliest = timed.restriction.earliest.or(Some(due.known_since));
        let restriction = Restriction { earliest, ..timed.restriction };
        let mut runs = Vec::new();
        let next = loop {
            let mut next = timed.timetable.next_run(last, &restriction, now);
            // Where nothing is caught up on, what has just come may look as if it had passed.
            if runs.is_empty() && next.is_none_or(|next| next.create_after > now) {
                next = due.planned.or(next);
            }
            match next {
                Some(next) if Some(next.data_interval) == last => {
                    tracing::error!(dag_version = due.dag_version.0, ?next, "a timetable gives the same run again");
                    break None;
                }
                Some(next) if next.create_after <= now && runs.len() < room => {
                    let date = next.logical_date;
                    let uid = ids.uuid(now);
                    runs.push(NewRun::automated(uid, due.dag_version, RunType::Scheduled, date, next.data_interval));
                    last = Some(next.data_interval);
                }
                _ => break next,
            }
        };
        Some(ScheduleStep { dag_version: due.dag_version, sequence: due.sequence, runs, next })
    }

    /// Takes in what became of a step.
    pub(super) fn act(&mut self, step: &ScheduleStep, verdict: &ScheduleVerdict) {
        let ScheduleVerdict::Done(runs) = verdict else { return };
        if let Some(timed) = self.timed.get_mut(&step.dag_version) {
            let exists = |(_, run): &(_, &ScheduledRun)| matches!(run, ScheduledRun::Exists);
            if let Some((run, _)) = step.runs.iter().zip(runs).rfind(exists) {
                timed.passed = Some(DataInterval { start: run.data_interval_start, end: run.data_interval_end });
            }
        }
    }
}
