//! What recurs: ticks of a cron expression on a zone's wall clock, and lengths of time.

use std::fmt::Debug;

use chrono::offset::LocalResult;
use chrono::{DateTime, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

use super::cron::{Cron, preset};
use super::cron_text::describe;
use super::delta::Delta;

/// A series of moments, as Airflow's `CronMixin` and `DeltaMixin` are. Nothing is found where a calendar ends, or where a
/// cron expression matches nothing for 50 years.
pub(super) trait Recurrence: Debug + Send + Sync {
    /// The first moment of the series after `at`.
    fn next(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>>;
    /// The last moment of the series before `at`.
    fn previous(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>>;
    /// `at` if it is of the series, else the next.
    fn align_to_next(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>>;
    /// `at` if it is of the series, else the previous.
    fn align_to_previous(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>>;
    /// The start of the last complete interval at `now`, from which on runs are made where nothing is caught up on.
    fn latest_start(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>>;
    fn summary(&self) -> String;
    fn description(&self) -> String;
}

/// The ticks of a cron expression on a zone's wall clock (Airflow 2.11, `timetables/_cron.py`).
#[derive(Debug)]
pub(super) struct Ticks {
    cron: Cron,
    expression: String,
    zone: Tz,
}

impl Ticks {
    pub(super) fn new(expression: &str, zone: Tz) -> Result<Self, String> {
        Ok(Self { cron: Cron::parse(expression)?, expression: preset(expression).into(), zone })
    }

    fn local(&self, at: DateTime<Utc>) -> NaiveDateTime {
        at.with_timezone(&self.zone).naive_local()
    }

    /// Schedules whose hour is free count on through a change of the clock. Others follow the wall clock: what it shows
    /// twice is the second, and what it skips is counted by the offset before.
    fn absolute(&self, at: DateTime<Utc>, tick: NaiveDateTime) -> Option<DateTime<Utc>> {
        if self.cron.covers_every_hour() {
            return at.checked_add_signed(tick - self.local(at));
        }
        match self.zone.from_local_datetime(&tick) {
            LocalResult::Single(at) | LocalResult::Ambiguous(_, at) => Some(at.to_utc()),
            LocalResult::None => {
                let (_, before) = GapInfo::new(&tick, &self.zone)?.begin?;
                tick.checked_sub_offset(before.fix()).map(|at| at.and_utc())
            }
        }
    }
}

impl Recurrence for Ticks {
    fn next(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.absolute(at, self.cron.next(self.local(at))?)
    }

    fn previous(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.absolute(at, self.cron.previous(self.local(at))?)
    }

    fn align_to_next(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.next(at)?;
        Some(if self.previous(next)? == at { at } else { next })
    }

    fn align_to_previous(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let previous = self.previous(at)?;
        Some(if self.next(previous)? == at { at } else { previous })
    }

    fn latest_start(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let last = self.previous(now)?;
        match self.next(last)? {
            next if next == now => Some(last),
            next if next > now => self.previous(last),
            // Airflow fails here, too: around a change of the clock, what comes after the last tick may lie before now.
            _ => None,
        }
    }

    fn summary(&self) -> String {
        self.expression.clone()
    }

    fn description(&self) -> String {
        if self.cron.is_extended() { String::new() } else { describe(&self.expression) }
    }
}

impl Recurrence for Delta {
    fn next(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.after(at)
    }

    fn previous(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.before(at)
    }

    fn align_to_next(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(at)
    }

    fn align_to_previous(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(at)
    }

    fn latest_start(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.before(self.round(now)?)
    }

    fn summary(&self) -> String {
        self.to_string()
    }

    fn description(&self) -> String {
        String::new()
    }
}
