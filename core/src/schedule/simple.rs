//! Timetables without a series of moments (Airflow 2.11, `timetables/simple.py` and `timetables/datasets.py`).

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Restriction, Timetable};
use crate::model::{DataInterval, NextRun};

/// Makes no runs.
#[derive(Debug)]
pub(super) struct Never;

/// Makes one run, at the start date.
#[derive(Debug)]
pub(super) struct Once;

/// Makes a run whenever there is none.
#[derive(Debug)]
pub(super) struct Continuous;

/// Makes no runs by itself; updates of datasets do.
#[derive(Debug)]
pub(super) struct DatasetTriggered;

/// Makes the runs of another timetable; updates of datasets make more.
#[derive(Debug)]
pub(super) struct DatasetOrTime(pub(super) Arc<dyn Timetable>);

impl Timetable for Never {
    fn next_run(&self, _: Option<DataInterval>, _: &Restriction, _: DateTime<Utc>) -> Option<NextRun> {
        None
    }

    fn manual_interval(&self, at: DateTime<Utc>) -> DataInterval {
        DataInterval::exact(at)
    }

    fn description(&self) -> String {
        "Never, external triggers only".into()
    }

    fn summary(&self) -> String {
        "None".into()
    }

    fn can_be_scheduled(&self) -> bool {
        false
    }
}

impl Timetable for Once {
    fn next_run(&self, last: Option<DataInterval>, restriction: &Restriction, _: DateTime<Utc>) -> Option<NextRun> {
        let at = restriction.earliest.filter(|_| last.is_none())?;
        let is_late = restriction.latest.is_some_and(|latest| at > latest);
        (!is_late).then(|| NextRun::interval(DataInterval::exact(at)))
    }

    fn manual_interval(&self, at: DateTime<Utc>) -> DataInterval {
        DataInterval::exact(at)
    }

    fn description(&self) -> String {
        "Once, as soon as possible".into()
    }

    fn summary(&self) -> String {
        "@once".into()
    }
}

impl Timetable for Continuous {
    fn next_run(&self, last: Option<DataInterval>, restriction: &Restriction, now: DateTime<Utc>) -> Option<NextRun> {
        let earliest = restriction.earliest?;
        let (start, end) = match last {
            Some(last) => (last.end, now),
            None => (earliest, earliest.max(now)),
        };
        let is_late = restriction.latest.is_some_and(|latest| end > latest);
        (!is_late).then(|| NextRun::interval(DataInterval { start, end }))
    }

    fn manual_interval(&self, at: DateTime<Utc>) -> DataInterval {
        DataInterval::exact(at)
    }

    fn description(&self) -> String {
        "As frequently as possible, but only one run at a time.".into()
    }

    fn summary(&self) -> String {
        "@continuous".into()
    }

    fn active_runs_limit(&self) -> Option<u32> {
        Some(1)
    }
}

impl Timetable for DatasetTriggered {
    fn next_run(&self, _: Option<DataInterval>, _: &Restriction, _: DateTime<Utc>) -> Option<NextRun> {
        None
    }

    fn manual_interval(&self, at: DateTime<Utc>) -> DataInterval {
        DataInterval::exact(at)
    }

    fn description(&self) -> String {
        "Triggered by datasets".into()
    }

    fn summary(&self) -> String {
        "Dataset".into()
    }
}

impl Timetable for DatasetOrTime {
    fn next_run(&self, last: Option<DataInterval>, restriction: &Restriction, now: DateTime<Utc>) -> Option<NextRun> {
        self.0.next_run(last, restriction, now)
    }

    fn manual_interval(&self, at: DateTime<Utc>) -> DataInterval {
        self.0.manual_interval(at)
    }

    fn description(&self) -> String {
        format!("Triggered by datasets or {}", self.0.description())
    }

    fn summary(&self) -> String {
        format!("Dataset or {}", self.0.summary())
    }

    fn can_be_scheduled(&self) -> bool {
        self.0.can_be_scheduled()
    }

    fn active_runs_limit(&self) -> Option<u32> {
        self.0.active_runs_limit()
    }
}
