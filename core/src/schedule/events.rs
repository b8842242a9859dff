//! Runs at listed moments.

use chrono::{DateTime, Utc};

use super::{Restriction, Timetable};
use crate::model::{DataInterval, NextRun};

/// Runs at listed moments (Airflow 2.11, `timetables/events.py`).
#[derive(Debug)]
pub(super) struct Events {
    /// In ascending order, unless a declaration falsely says so.
    pub(super) dates: Vec<DateTime<Utc>>,
    /// Whether runs that somebody triggers stand for the last event, rather than for their own moment.
    pub(super) restrict_to_events: bool,
    pub(super) description: Option<String>,
}

impl Timetable for Events {
    fn next_run(&self, last: Option<DataInterval>, restriction: &Restriction, now: DateTime<Utc>) -> Option<NextRun> {
        let earliest = if restriction.catchup { restriction.earliest } else { Some(now).max(restriction.earliest) };
        let is_early = |date: &DateTime<Utc>| {
            earliest.is_some_and(|earliest| *date < earliest) || last.is_some_and(|last| *date <= last.end)
        };
        let next = *self.dates.iter().find(|date| !is_early(date))?;
        let is_late = restriction.latest.is_some_and(|latest| next > latest);
        (!is_late).then(|| NextRun::interval(DataInterval::exact(next)))
    }

    fn manual_interval(&self, at: DateTime<Utc>) -> DataInterval {
        let event = match self.dates.first() {
            Some(first) if self.restrict_to_events => {
                *self.dates.iter().rev().find(|date| **date <= at).unwrap_or(first)
            }
            _ => at,
        };
        DataInterval::exact(event)
    }

    fn description(&self) -> String {
        let shown =
            |date: &DateTime<Utc>| date.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, false).replacen('T', " ", 1);
        match (&self.description, self.dates.as_slice()) {
            (Some(text), _) => text.clone(),
            (None, []) => "No events".into(),
            (None, [first, .., last]) => {
                format!("{} events between {} and {}", self.dates.len(), shown(first), shown(last))
            }
            (None, [one]) => format!("1 events between {} and {}", shown(one), shown(one)),
        }
    }

    fn summary(&self) -> String {
        self.description.clone().unwrap_or_else(|| format!("{} events", self.dates.len()))
    }
}
