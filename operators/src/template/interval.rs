//! Spans of time: Python's timedelta, and pendulum's Interval between two moments and Duration.

use std::fmt;
use std::sync::Arc;

use chrono::{Datelike, NaiveDateTime, Timelike};
use minijinja::value::{Object, ObjectRepr};
use minijinja::{Error, State, Value};

use super::date::days_in_month;
use super::error::invalid;
use super::moment::Moment;
use super::python;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

#[derive(Clone, Debug)]
enum Kind {
    Timedelta,
    Duration,
    Interval(Box<(Moment, Moment)>),
}

/// A span of time in microseconds, and which of Python's types it is.
#[derive(Clone, Debug)]
pub(super) struct Span {
    microseconds: i64,
    kind: Kind,
}

/// The parts of a span, as pendulum counts them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    pub(super) years: i64,
    pub(super) months: i64,
    pub(super) weeks: i64,
    pub(super) days: i64,
    pub(super) hours: i64,
    pub(super) minutes: i64,
    pub(super) seconds: i64,
    pub(super) microseconds: i64,
}

impl Span {
    /// Python's timedelta; one beyond its range is an error.
    pub(super) fn timedelta(microseconds: i128) -> Result<Value, Error> {
        Ok(Value::from_object(Span { microseconds: checked(microseconds)?, kind: Kind::Timedelta }))
    }

    /// pendulum's Interval.
    pub(super) fn between(start: &Moment, end: &Moment) -> Result<Value, Error> {
        let microseconds = checked(end.microseconds_since(start))?;
        Ok(Value::from_object(Span { microseconds, kind: Kind::Interval(Box::new((start.clone(), end.clone()))) }))
    }

    /// A difference of dates.
    pub(super) fn of_days(days: i64) -> Value {
        Value::from_object(Span { microseconds: days.saturating_mul(DAY), kind: Kind::Timedelta })
    }

    pub(super) fn microseconds(&self) -> i64 {
        self.microseconds
    }

    /// Whole days, rounded down as timedelta's are.
    pub(super) fn days(&self) -> i64 {
        self.microseconds.div_euclid(DAY)
    }

    /// The result of arithmetic with this span: an Interval turns into a Duration.
    pub(super) fn with(&self, microseconds: i128) -> Result<Value, Error> {
        let kind = match self.kind {
            Kind::Timedelta => Kind::Timedelta,
            _ => Kind::Duration,
        };
        Ok(Value::from_object(Span { microseconds: checked(microseconds)?, kind }))
    }

    /// Calendar parts: of an Interval between its ends, else from weeks downwards.
    pub(super) fn parts(&self) -> Parts {
        if let Kind::Interval(ends) = &self.kind {
            let (start, end) = (ends.0.local(), ends.1.in_zone_of(&ends.0));
            return if start <= end { precise(start, end) } else { precise(end, start).negated() };
        }
        let total = self.microseconds.abs();
        let days = total / DAY;
        let parts = Parts {
            weeks: days / 7,
            days: days % 7,
            hours: total / (3600 * SECOND) % 24,
            minutes: total / (60 * SECOND) % 60,
            seconds: total / SECOND % 60,
            microseconds: total % SECOND,
            ..Parts::default()
        };
        if self.microseconds < 0 { parts.negated() } else { parts }
    }

    /// Whether the span runs backwards.
    pub(super) fn is_inverted(&self) -> bool {
        self.microseconds < 0
    }

    fn in_words(&self) -> String {
        let parts = self.parts();
        let words: Vec<String> = parts
            .named()
            .into_iter()
            .filter(|(_, count)| *count != 0)
            .map(|(unit, count)| format!("{count} {unit}{}", if count.abs() == 1 { "" } else { "s" }))
            .collect();
        if words.is_empty() {
            return match parts.microseconds {
                0 => "0 microseconds".to_owned(),
                micros => format!("{:.2} seconds", micros.unsigned_abs() as f64 / 1e6),
            };
        }
        words.join(" ")
    }

    pub(super) fn repr(&self) -> String {
        match &self.kind {
            Kind::Interval(_) => self.to_string(),
            Kind::Timedelta => {
                let within = self.microseconds.rem_euclid(DAY);
                let fields: Vec<String> =
                    [("days", self.days()), ("seconds", within / SECOND), ("microseconds", within % SECOND)]
                        .into_iter()
                        .filter(|(_, count)| *count != 0)
                        .map(|(name, count)| format!("{name}={count}"))
                        .collect();
                match fields.is_empty() {
                    true => "datetime.timedelta(0)".to_owned(),
                    false => format!("datetime.timedelta({})", fields.join(", ")),
                }
            }
            Kind::Duration => {
                let parts = self.parts();
                let mut fields: Vec<String> = parts
                    .named()
                    .into_iter()
                    .filter(|(_, count)| *count != 0)
                    .map(|(unit, count)| format!("{unit}s={count}"))
                    .collect();
                if parts.microseconds != 0 {
                    fields.push(format!("microseconds={}", parts.microseconds));
                }
                format!("Duration({})", fields.join(", "))
            }
        }
    }
}

fn checked(microseconds: i128) -> Result<i64, Error> {
    match i64::try_from(microseconds) {
        // Python's bound: 999,999,999 days would not fit, but no date is that far away.
        Ok(microseconds) if microseconds.unsigned_abs() < 9_000_000_000_000_000_000 => Ok(microseconds),
        _ => Err(invalid("the timedelta is out of range")),
    }
}

impl Parts {
    fn named(self) -> [(&'static str, i64); 7] {
        [
            ("year", self.years),
            ("month", self.months),
            ("week", self.weeks),
            ("day", self.days),
            ("hour", self.hours),
            ("minute", self.minutes),
            ("second", self.seconds),
        ]
    }

    fn negated(self) -> Parts {
        Parts {
            years: -self.years,
            months: -self.months,
            weeks: -self.weeks,
            days: -self.days,
            hours: -self.hours,
            minutes: -self.minutes,
            seconds: -self.seconds,
            microseconds: -self.microseconds,
        }
    }
}

/// The calendar difference of two wall clock times, the earlier first, by pendulum's rules for borrowing days.
fn precise(start: NaiveDateTime, end: NaiveDateTime) -> Parts {
    let micros = |time: NaiveDateTime| i64::from(time.nanosecond() / 1000);
    let mut years = i64::from(end.year()) - i64::from(start.year());
    let mut months = i64::from(end.month()) - i64::from(start.month());
    let mut days = i64::from(end.day()) - i64::from(start.day());
    let seconds_of = |time: NaiveDateTime| i64::from(time.num_seconds_from_midnight()) * SECOND + micros(time);
    let mut within = seconds_of(end) - seconds_of(start);
    if within < 0 {
        within += DAY;
        days -= 1;
    }
    if days < 0 {
        let (year, month) = if end.month() == 1 { (end.year() - 1, 12) } else { (end.year(), end.month() - 1) };
        let last_month = i64::from(days_in_month(year, month));
        let this_month = i64::from(days_in_month(end.year(), end.month()));
        if days < this_month - last_month {
            days += last_month.max(i64::from(start.day()));
            months -= 1;
        } else if days == this_month - last_month {
            days = 0;
        } else {
            days += last_month;
            months -= 1;
        }
    }
    if months < 0 {
        months += 12;
        years -= 1;
    }
    Parts {
        years,
        months,
        weeks: days / 7,
        days: days % 7,
        hours: within / (3600 * SECOND),
        minutes: within / (60 * SECOND) % 60,
        seconds: within / SECOND % 60,
        microseconds: within % SECOND,
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Interval(ends) => write!(f, "<Interval [{} -> {}]>", ends.0, ends.1),
            Kind::Duration => f.write_str(&self.in_words()),
            Kind::Timedelta => {
                let (days, within) = (self.days(), self.microseconds.rem_euclid(DAY));
                if days != 0 {
                    write!(f, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" })?;
                }
                let seconds = within / SECOND;
                write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
                match within % SECOND {
                    0 => Ok(()),
                    micros => write!(f, ".{micros:06}"),
                }
            }
        }
    }
}

impl Object for Span {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.microseconds != 0
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let within = self.microseconds.rem_euclid(DAY);
        let name = key.as_str()?;
        if let Kind::Timedelta = self.kind {
            return Some(Value::from(match name {
                "days" => self.days(),
                "seconds" => within / SECOND,
                "microseconds" => within % SECOND,
                _ => return None,
            }));
        }
        let parts = self.parts();
        Some(Value::from(match name {
            "days" => self.microseconds / DAY,
            "seconds" => within / SECOND,
            "microseconds" => parts.microseconds,
            "years" => parts.years,
            "months" => parts.months,
            "weeks" => parts.weeks,
            "remaining_days" => parts.days,
            "hours" => parts.hours,
            "minutes" => parts.minutes,
            "remaining_seconds" => parts.seconds,
            "invert" => return Some(Value::from(self.is_inverted())),
            "start" | "end" => match &self.kind {
                Kind::Interval(ends) => {
                    let end = if name == "start" { &ends.0 } else { &ends.1 };
                    return Some(Value::from_object(end.clone()));
                }
                _ => return None,
            },
            _ => return None,
        }))
    }

    fn call_method(self: &Arc<Self>, _state: &mut State, method: &str, _args: &[Value]) -> Result<Value, Error> {
        let seconds = self.microseconds as f64 / 1e6;
        if method == "total_seconds" {
            return Ok(Value::from(seconds));
        }
        let is_pendulum = !matches!(self.kind, Kind::Timedelta);
        let whole = |unit: i64| Value::from(self.microseconds / (unit * SECOND));
        Ok(match method {
            _ if !is_pendulum => return Err(python::no_attribute(&Value::from_object((**self).clone()), method)),
            "total_minutes" => Value::from(seconds / 60.0),
            "total_hours" => Value::from(seconds / 3600.0),
            "total_days" => Value::from(seconds / 86_400.0),
            "total_weeks" => Value::from(seconds / 604_800.0),
            "in_weeks" => whole(604_800),
            "in_days" => whole(86_400),
            "in_hours" => whole(3600),
            "in_minutes" => whole(60),
            "in_seconds" => whole(1),
            "in_years" => Value::from(self.parts().years),
            "in_months" => Value::from(self.parts().years * 12 + self.parts().months),
            "in_words" => Value::from(self.in_words()),
            "as_timedelta" => Span::timedelta(self.microseconds.into())?,
            "as_duration" => self.with(self.microseconds.into())?,
            _ => return Err(python::no_attribute(&Value::from_object((**self).clone()), method)),
        })
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
