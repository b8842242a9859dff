//! Timetables whose runs cover the time between two moments of a series, each at its end.

use chrono::{DateTime, Utc};

use super::recurrence::Recurrence;
use super::{Restriction, Timetable};
use crate::model::{DataInterval, NextRun};

/// Runs for the intervals between the moments of a series (Airflow 2.11, `timetables/interval.py`).
#[derive(Debug)]
pub(super) struct DataIntervals<R>(pub(super) R);

impl<R: Recurrence> Timetable for DataIntervals<R> {
    fn next_run(&self, last: Option<DataInterval>, restriction: &Restriction, now: DateTime<Utc>) -> Option<NextRun> {
        let earliest = restriction.earliest.map(|at| self.0.align_to_next(at));
        // Where a date cannot be aligned, there is nothing to run either.
        let earliest = match earliest {
            Some(aligned) => Some(aligned?),
            None => None,
        };
        let earliest = if restriction.catchup { earliest } else { Some(self.0.latest_start(now)?).max(earliest) };
        let start = match last {
            None => earliest?,
            // Of this schedule's own intervals each begins where the one before it ends, also where the clock has just been put
            // back by half an hour; Airflow goes round between two intervals for ever there.
            Some(last) if self.0.next(last.start) == Some(last.end) => Some(last.end).max(earliest)?,
            // The schedule has changed since.
            Some(last) => Some(self.0.align_to_previous(last.end)?).max(earliest)?,
        };
        if restriction.latest.is_some_and(|latest| start > latest) {
            return None;
        }
        let end = self.0.next(start)?;
        // Around a change of the clock, and with settings of a `relativedelta`, time may not go on.
        (end > start).then(|| NextRun::interval(DataInterval { start, end }))
    }

    fn manual_interval(&self, at: DateTime<Utc>) -> DataInterval {
        // A moment alone, where a calendar has nothing before it.
        let interval = || {
            let end = self.0.align_to_previous(at)?;
            Some(DataInterval { start: self.0.previous(end)?, end })
        };
        interval().unwrap_or(DataInterval::exact(at))
    }

    fn description(&self) -> String {
        self.0.description()
    }

    fn summary(&self) -> String {
        self.0.summary()
    }
}
