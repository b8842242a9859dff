use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{NewRun, Result, SchedulerSession};
use crate::id::DagVersionId;
use crate::model::{DagRun, DataInterval, NextRun};

/// A DAG whose schedule is to be looked at, as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct DueSchedule {
    /// The DAG's newest version.
    pub dag_version: DagVersionId,
    /// Grows with each change of where the schedule stands.
    pub sequence: u64,
    /// Whether the DAG is paused: then the schedule is only planned.
    pub is_paused: bool,
    /// The data that the DAG's automated run (scheduled or backfilled) with the latest logical date covers.
    pub last: Option<DataInterval>,
    /// The run that was planned, if it is due because its time has come.
    pub planned: Option<NextRun>,
    /// How many of the DAG's runs have not ended.
    pub active_runs: u32,
    /// When the DAG was first made known: from then on a schedule without a start date makes runs.
    pub known_since: DateTime<Utc>,
}

/// Schedules that are to be looked at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DueSchedules {
    /// Those that are due, the longest due first.
    pub due: Vec<DueSchedule>,
    /// When the next one is due, of those that are not yet.
    pub next_due: Option<DateTime<Utc>>,
}

/// What becomes of a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleStep {
    /// The DAG's newest version.
    pub dag_version: DagVersionId,
    /// The schedule's sequence number when it was read.
    pub sequence: u64,
    /// Runs that are due, in the order of their creation.
    pub runs: Vec<NewRun>,
    /// The run that follows on these.
    pub next: Option<NextRun>,
}

/// What became of a run that is due.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ScheduledRun {
    /// It exists from now on.
    Created(Box<DagRun>),
    /// A run with its logical date or text id exists already.
    Exists,
    /// The DAG has as many runs that have not ended as `max_active_runs` allows.
    NoRoom,
}

/// What became of a [`ScheduleStep`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ScheduleVerdict {
    /// It was taken; with what became of its runs, in their order.
    Done(Vec<ScheduledRun>),
    /// The DAG, its version, its pause or its schedule has changed since it was read: nothing happened.
    Changed,
}

/// Where the schedules of DAGs stand.
///
/// A schedule is due as soon as its DAG has a new version, is unpaused or active again, or lost an automated run; when its next
/// run is (unless the DAG is paused); and once there is room again, if it is held because [`Dag::max_active_runs`] runs have not
/// ended. Schedules that make no runs by time ([`Schedule::is_timed`]) are never due.
///
/// [`Dag::max_active_runs`]: crate::model::Dag::max_active_runs
/// [`Schedule::is_timed`]: crate::model::Schedule::is_timed
#[async_trait]
pub trait ScheduleStorage {
    /// Schedules of active DAGs with these newest versions (sorted) that are due at `now`, at most `limit`.
    async fn due_schedules(&self, now: DateTime<Utc>, versions: &[DagVersionId], limit: usize) -> Result<DueSchedules>;

    /// Moves schedules on, each in a step of its own: creates the runs for which there is room, announces them, and notes what
    /// follows. The schedule is held if there is no room for more; then it shows the last of the runs as its next
    /// one, as Airflow does, if there are any.
    ///
    /// # Errors
    /// `Fenced`.
    async fn advance_schedules(
        &self,
        session: &SchedulerSession,
        now: DateTime<Utc>,
        steps: Vec<ScheduleStep>,
    ) -> Result<Vec<ScheduleVerdict>>;
}
