//! Lengths of time: fixed ones, and those that a calendar decides.

use std::fmt;

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use super::relative::RelativeDelta;

/// A `timedelta` or a `relativedelta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Delta {
    Fixed(TimeDelta),
    Relative(RelativeDelta),
}

impl Delta {
    /// The moment that lies this length after `at`; `None` outside of the years 1 to 9999.
    pub(super) fn after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let moved = match self {
            Self::Fixed(length) => at.checked_add_signed(*length),
            Self::Relative(length) => length.add_to(at.naive_utc(), 1).map(|at| at.and_utc()),
        };
        moved.filter(|at| (1..=9999).contains(&at.year()))
    }

    /// The moment from which it is this length to `at`.
    pub(super) fn before(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let moved = match self {
            Self::Fixed(length) => at.checked_sub_signed(*length),
            Self::Relative(length) => length.add_to(at.naive_utc(), -1).map(|at| at.and_utc()),
        };
        moved.filter(|at| (1..=9999).contains(&at.year()))
    }

    /// Refuses what leads nowhere.
    ///
    /// # Errors
    /// Says so.
    pub(super) fn check_positive(&self) -> Result<(), String> {
        let is_positive = match self {
            Self::Fixed(length) => *length > TimeDelta::zero(),
            // What a calendar decides may depend on the day, of which Airflow takes today.
            Self::Relative(length) => length.ever_leads_forward(),
        };
        if is_positive { Ok(()) } else { Err(format!("a schedule's interval must be positive, not {self}")) }
    }

    /// The last multiple of the length since 1970 (Airflow 2.11, `DeltaDataIntervalTimetable._round`). Computed in floating
    /// point, as there; a calendar's months have 30 days here and its years 365. `None` for a length of zero.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "as Python does, within its years")]
    pub(super) fn round(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let length = match self {
            Self::Fixed(length) => length.num_microseconds()? as f64 / 1e6,
            Self::Relative(length) => length.rough_seconds() as f64,
        };
        if length == 0.0 {
            return None;
        }
        let seconds = at.timestamp_micros() as f64 / 1e6;
        let mut rest = seconds % length;
        if rest != 0.0 && (rest < 0.0) != (length < 0.0) {
            rest += length;
        }
        let rounded = seconds - rest;
        let whole = rounded.floor();
        let micros = ((rounded - whole) * 1e6).round_ties_even();
        DateTime::from_timestamp(whole as i64, 0)?.checked_add_signed(TimeDelta::microseconds(micros as i64))
    }
}

impl fmt::Display for Delta {
    /// As Python's `str`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = match self {
            Self::Relative(length) => return length.fmt(f),
            Self::Fixed(length) => length,
        };
        let micros = i128::from(length.num_seconds()) * 1_000_000 + i128::from(length.subsec_nanos() / 1000);
        let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
        if days != 0 {
            write!(f, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" })?;
        }
        let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
        write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if micros != 0 { write!(f, ".{micros:06}") } else { Ok(()) }
    }
}
