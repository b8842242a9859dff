//! Timetables whose runs are made at the moments of a series, with data intervals of their own length.

use chrono::{DateTime, Utc};

use super::delta::Delta;
use super::recurrence::{Recurrence, Ticks};
use super::{Restriction, Timetable};
use crate::model::{DataInterval, NextRun};

/// Runs at the moments of a series (Airflow 2.11, `timetables/trigger.py`).
#[derive(Debug)]
pub(super) struct Triggers<R> {
    pub(super) recurrence: R,
    /// The length of the data that each covers.
    pub(super) interval: Delta,
}

impl<R: Recurrence> Timetable for Triggers<R> {
    fn next_run(&self, last: Option<DataInterval>, restriction: &Restriction, now: DateTime<Utc>) -> Option<NextRun> {
        let recurrence = &self.recurrence;
        let following = match last {
            Some(last) => Some(recurrence.next(last.end)?),
            None => None,
        };
        let at = if restriction.catchup {
            match (following, restriction.earliest) {
                (Some(following), _) => following,
                (None, earliest) => recurrence.align_to_next(earliest?)?,
            }
        } else {
            let first = match restriction.earliest {
                Some(earliest) => Some(recurrence.align_to_next(earliest)?),
                None => None,
            };
            Some(recurrence.align_to_previous(now)?).max(following).max(first)?
        };
        if restriction.latest.is_some_and(|latest| latest < at) || last.is_some_and(|last| at <= last.end) {
            return None;
        }
        Some(NextRun::interval(DataInterval { start: self.interval.before(at)?, end: at }))
    }

    fn manual_interval(&self, at: DateTime<Utc>) -> DataInterval {
        DataInterval { start: self.interval.before(at).unwrap_or(at), end: at }
    }

    fn description(&self) -> String {
        self.recurrence.description()
    }

    fn summary(&self) -> String {
        self.recurrence.summary()
    }
}

/// Runs at the ticks of any of some cron expressions (Airflow 3.0, `timetables/trigger.py`; Airflow 2.11 does not have it).
#[derive(Debug)]
pub(super) struct MultipleTriggers(pub(super) Vec<Triggers<Ticks>>);

impl Timetable for MultipleTriggers {
    fn next_run(&self, last: Option<DataInterval>, restriction: &Restriction, now: DateTime<Utc>) -> Option<NextRun> {
        let runs = self.0.iter().filter_map(|one| one.next_run(last, restriction, now));
        if restriction.catchup {
            return runs.min_by_key(|run| run.create_after);
        }
        // The latest that is due, else the first that is not.
        runs.min_by_key(|run| {
            let is_due = run.create_after <= now;
            let distance = (run.create_after - now).num_microseconds().map_or(u64::MAX, i64::unsigned_abs);
            (!is_due, distance)
        })
    }

    fn manual_interval(&self, at: DateTime<Utc>) -> DataInterval {
        self.0.first().map_or(DataInterval::exact(at), |one| one.manual_interval(at))
    }

    fn description(&self) -> String {
        self.0.iter().map(|one| one.description()).collect::<Vec<_>>().join(", ")
    }

    fn summary(&self) -> String {
        self.0.iter().map(|one| one.summary()).collect::<Vec<_>>().join(", ")
    }
}
