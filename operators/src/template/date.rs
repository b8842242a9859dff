//! Python's dates and times of day.

use std::fmt;
use std::sync::Arc;

use chrono::{Datelike, Months, NaiveDate, NaiveTime, TimeDelta, Timelike};
use minijinja::value::{Object, ObjectRepr};
use minijinja::{Error, State, Value};

use super::args::{Args, integer, needed, text};
use super::error::invalid;
use super::interval::Span;
use super::{pendulum_format, python, strftime};

/// pendulum's Date (`is_pendulum`) or datetime's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Date(pub(super) NaiveDate, pub(super) bool);

impl Date {
    pub(super) fn repr(self) -> String {
        let name = if self.1 { "Date" } else { "datetime.date" };
        format!("{name}({}, {}, {})", self.0.year(), self.0.month(), self.0.day())
    }

    pub(super) fn plus_days(self, days: i64) -> Result<Value, Error> {
        let moved = TimeDelta::try_days(days).and_then(|delta| self.0.checked_add_signed(delta));
        match moved {
            Some(date) => Ok(Value::from_object(Date(date, self.1))),
            None => Err(invalid("date value out of range")),
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m-%d"))
    }
}

/// What a date is asked for without a call; shared by dates and date-times.
pub(super) fn date_field(date: NaiveDate, name: &str, is_pendulum: bool) -> Option<Value> {
    Some(match name {
        "year" => Value::from(date.year()),
        "month" => Value::from(date.month()),
        "day" => Value::from(date.day()),
        _ if !is_pendulum => return None,
        "day_of_week" => Value::from(date.weekday().num_days_from_monday()),
        "day_of_year" => Value::from(date.ordinal()),
        "week_of_year" => Value::from(date.iso_week().week()),
        "quarter" => Value::from(date.month0() / 3 + 1),
        "days_in_month" => Value::from(days_in_month(date.year(), date.month())),
        "week_of_month" => {
            let first = date.with_day(1).unwrap_or(date).weekday().number_from_monday();
            Value::from((date.day() + first - 1).div_ceil(7))
        }
        _ => return None,
    })
}

/// How many days a month has.
pub(super) fn days_in_month(year: i32, month: u32) -> u32 {
    let first = NaiveDate::from_ymd_opt(year, month, 1);
    let next = first.and_then(|first| first.checked_add_months(Months::new(1)));
    match (first, next) {
        (Some(first), Some(next)) => u32::try_from((next - first).num_days()).unwrap_or(31),
        _ => 31,
    }
}

/// What a date is asked for by a call; shared by dates and date-times. None: no such method.
pub(super) fn date_method(date: NaiveDate, name: &str, is_pendulum: bool) -> Option<Value> {
    Some(match name {
        "weekday" => Value::from(date.weekday().num_days_from_monday()),
        "isoweekday" => Value::from(date.weekday().number_from_monday()),
        "isocalendar" => {
            let week = date.iso_week();
            super::object::tuple(vec![
                Value::from(week.year()),
                Value::from(week.week()),
                Value::from(date.weekday().number_from_monday()),
            ])
        }
        "toordinal" => Value::from(date.num_days_from_ce()),
        _ if !is_pendulum => return None,
        "to_date_string" => Value::from(date.format("%Y-%m-%d").to_string()),
        "to_formatted_date_string" => Value::from(date.format("%b %d, %Y").to_string()),
        "is_leap_year" => Value::from(date.leap_year()),
        _ => return None,
    })
}

/// A date moved by calendar units, as pendulum's `add` does: the day is cut to what the month has.
pub(super) fn add_calendar(date: NaiveDate, years: i64, months: i64, days: i64) -> Result<NaiveDate, Error> {
    let out_of_range = || invalid("date value out of range");
    let months = years.checked_mul(12).and_then(|years| years.checked_add(months)).ok_or_else(out_of_range)?;
    let count = Months::new(u32::try_from(months.unsigned_abs()).map_err(|_| out_of_range())?);
    let moved = if months < 0 { date.checked_sub_months(count) } else { date.checked_add_months(count) };
    let days = TimeDelta::try_days(days).ok_or_else(out_of_range)?;
    moved.and_then(|date| date.checked_add_signed(days)).ok_or_else(out_of_range)
}

impl Object for Date {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        date_field(self.0, key.as_str()?, self.1)
    }

    fn call_method(self: &Arc<Self>, state: &mut State, method: &str, args: &[Value]) -> Result<Value, Error> {
        if let Some(value) = date_method(self.0, method, self.1) {
            return Ok(value);
        }
        let args = Args::new(args);
        match method {
            "isoformat" | "__str__" => Ok(Value::from(self.to_string())),
            "ctime" => Ok(Value::from(self.0.format("%a %b %e 00:00:00 %Y").to_string())),
            "strftime" => {
                let format = text(&args.one("strftime")?, "strftime")?;
                let midnight = self.0.and_time(NaiveTime::MIN);
                strftime::strftime(state, midnight, None, "", &format).map(Value::from)
            }
            "format" if self.1 => {
                let format = text(&args.one("format")?, "format")?;
                let moment = super::moment::Moment::naive(self.0.and_time(NaiveTime::MIN), true);
                pendulum_format::format(&moment, &format).map(Value::from)
            }
            "replace" | "set" => {
                let [year, month, day] = args.bind("replace", ["year", "month", "day"])?;
                let year = integer(year, i64::from(self.0.year()))?;
                let month = integer(month, i64::from(self.0.month()))?;
                let day = integer(day, i64::from(self.0.day()))?;
                make_date(year, month, day).map(|date| Value::from_object(Date(date, self.1)))
            }
            "add" | "subtract" if self.1 => {
                let sign = if method == "add" { 1 } else { -1 };
                let [years, months, weeks, days] = args.bind(method, ["years", "months", "weeks", "days"])?;
                let days = integer(days, 0)?.saturating_add(integer(weeks, 0)?.saturating_mul(7)).saturating_mul(sign);
                let (years, months) = (integer(years, 0)? * sign, integer(months, 0)? * sign);
                Ok(Value::from_object(Date(add_calendar(self.0, years, months, days)?, self.1)))
            }
            "diff" if self.1 => {
                let other = needed(args.positional.first().cloned(), "diff", "dt")?;
                match other.downcast_object_ref::<Date>() {
                    Some(other) => Ok(Span::of_days((other.0 - self.0).num_days().abs())),
                    None => Err(invalid("diff() argument must be a date")),
                }
            }
            _ => Err(python::no_attribute(&Value::from_object(**self), method)),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A date from numbers, with Python's errors.
pub(super) fn make_date(year: i64, month: i64, day: i64) -> Result<NaiveDate, Error> {
    let year = i32::try_from(year).ok().filter(|year| (1..=9999).contains(year));
    let Some(year) = year else {
        return Err(invalid("year is out of range"));
    };
    let Some(month) = u32::try_from(month).ok().filter(|month| (1..=12).contains(month)) else {
        return Err(invalid("month must be in 1..12"));
    };
    let date = u32::try_from(day).ok().and_then(|day| NaiveDate::from_ymd_opt(year, month, day));
    date.ok_or_else(|| invalid("day is out of range for month"))
}

/// A time of day from numbers, with Python's errors.
pub(super) fn make_time(hour: i64, minute: i64, second: i64, microsecond: i64) -> Result<NaiveTime, Error> {
    for (name, value, end) in
        [("hour", hour, 23), ("minute", minute, 59), ("second", second, 59), ("microsecond", microsecond, 999_999)]
    {
        if !(0..=end).contains(&value) {
            return Err(invalid(format!("{name} must be in 0..{end}")));
        }
    }
    let small = |value: i64| u32::try_from(value).unwrap_or_default();
    NaiveTime::from_hms_micro_opt(small(hour), small(minute), small(second), small(microsecond))
        .ok_or_else(|| invalid("time is out of range"))
}

/// A time of day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(pub(super) NaiveTime, pub(super) bool);

impl Time {
    pub(super) fn repr(self) -> String {
        let name = if self.1 { "Time" } else { "datetime.time" };
        let mut parts = vec![self.0.hour(), self.0.minute()];
        let micros = self.0.nanosecond() / 1000;
        if self.0.second() > 0 || micros > 0 || self.1 {
            parts.push(self.0.second());
        }
        if micros > 0 {
            parts.push(micros);
        }
        let parts: Vec<String> = parts.iter().map(u32::to_string).collect();
        format!("{name}({})", parts.join(", "))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%H:%M:%S"))?;
        match self.0.nanosecond() / 1000 {
            0 => Ok(()),
            micros => write!(f, ".{micros:06}"),
        }
    }
}

/// What a time of day is asked for; shared with date-times.
pub(super) fn time_field(time: NaiveTime, name: &str) -> Option<Value> {
    Some(match name {
        "hour" => Value::from(time.hour()),
        "minute" => Value::from(time.minute()),
        "second" => Value::from(time.second()),
        "microsecond" => Value::from(time.nanosecond() / 1000),
        _ => return None,
    })
}

impl Object for Time {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        time_field(self.0, key.as_str()?)
    }

    fn call_method(self: &Arc<Self>, state: &mut State, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "isoformat" => Ok(Value::from(self.to_string())),
            "strftime" => {
                let format = text(&Args::new(args).one("strftime")?, "strftime")?;
                let day = NaiveDate::from_ymd_opt(1900, 1, 1).unwrap_or_default().and_time(self.0);
                strftime::strftime(state, day, None, "", &format).map(Value::from)
            }
            _ => Err(python::no_attribute(&Value::from_object(**self), method)),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
