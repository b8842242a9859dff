//! Timetables: what makes runs of a schedule. Pure functions of (timetable, last interval, now).

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::model::{Dag, DataInterval, NextRun, Schedule};

/// What bounds the runs of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restriction {
    /// Earliest logical date.
    pub earliest: Option<DateTime<Utc>>,
    /// Latest logical date.
    pub latest: Option<DateTime<Utc>>,
    /// Whether missed intervals are made up for.
    pub catchup: bool,
}

impl Restriction {
    /// What bounds the runs of a DAG: the earliest start of it and its tasks, and the latest end if all of them have one
    /// (Airflow 2.11, `models/dag.py`, `_time_restriction`).
    pub fn of(dag: &Dag) -> Self {
        let starts = dag.tasks.iter().map(|task| task.start_date).chain([dag.start_date]).flatten();
        let ends: Option<Vec<_>> = dag.tasks.iter().map(|task| task.end_date).chain([dag.end_date]).collect();
        Self { earliest: starts.min(), latest: ends.and_then(|ends| ends.into_iter().max()), catchup: dag.catchup }
    }
}

/// Decides when a DAG has runs (Airflow 2.11, `timetables/base.py`). Own ones are added to [`Timetables`] by name.
pub trait Timetable: Debug + Send + Sync {
    /// The run after the one that covers `last`, the latest automated one (scheduled or backfilled), if any; `None` if there is
    /// none, now or ever. `now` decides what is the latest complete interval where nothing is caught up on.
    fn next_run(&self, last: Option<DataInterval>, restriction: &Restriction, now: DateTime<Utc>) -> Option<NextRun>;

    /// The data that a run covers which somebody triggers for a moment.
    fn manual_interval(&self, at: DateTime<Utc>) -> DataInterval;

    /// What people read in place of an expression, such as `At 00:00`; empty if there is nothing to say.
    fn description(&self) -> String {
        String::new()
    }

    /// A short text, such as the cron expression; Airflow's `timetable_summary`.
    fn summary(&self) -> String;

    /// Whether it ever makes a run by time.
    fn can_be_scheduled(&self) -> bool {
        true
    }

    /// Most runs at a time that it allows; `None` for any number.
    fn active_runs_limit(&self) -> Option<u32> {
        None
    }
}

/// Makes a timetable of the arguments of its declaration, `{"args": […], "kwargs": {…}}`, and the DAG's zone.
pub type MakeTimetable = dyn Fn(&Value, &str) -> Result<Arc<dyn Timetable>, String> + Send + Sync;

/// Timetables by name: those of Airflow, and what a host adds.
#[derive(Clone, Default)]
pub struct Timetables {
    own: BTreeMap<String, Arc<MakeTimetable>>,
}

impl Debug for Timetables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.own.keys()).finish()
    }
}

impl Timetables {
    /// Adds a timetable under the import path by which DAGs declare it.
    pub fn add(
        &mut self,
        class: impl Into<String>,
        make: impl Fn(&Value, &str) -> Result<Arc<dyn Timetable>, String> + Send + Sync + 'static,
    ) {
        self.own.insert(class.into(), Arc::new(make));
    }

    /// The timetable of a schedule.
    ///
    /// # Errors
    /// What is wrong with the schedule, or that nobody knows its class.
    pub fn timetable(&self, schedule: &Schedule, timezone: &str) -> Result<Arc<dyn Timetable>, String> {
        let _ = (schedule, timezone);
        Err("not built yet".into())
    }
}
