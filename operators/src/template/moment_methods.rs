//! The methods that templates call on dates with a time.

use std::sync::Arc;

use chrono::{Datelike, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};
use minijinja::{Error, State, Value};

use super::args::{Args, flag, integer, needed, text};
use super::date::{Date, Time, add_calendar, date_method, days_in_month, make_date, make_time};
use super::error::invalid;
use super::interval::{Parts, Span};
use super::moment::{Moment, Zone, ZoneValue, offset_text, zone_named};
use super::object::Dict;
use super::{macros, pendulum_format, python, strftime};

pub(super) fn call(moment: &Arc<Moment>, state: &mut State, method: &str, values: &[Value]) -> Result<Value, Error> {
    let local = moment.local();
    if let Some(value) = date_method(local.date(), method, moment.is_pendulum()) {
        return Ok(value);
    }
    let args = Args::new(values);
    let is_pendulum = moment.is_pendulum();
    let shown = |format: &str| Ok(Value::from(local.format(format).to_string()));
    match method {
        "strftime" => {
            let format = text(&args.one("strftime")?, "strftime")?;
            strftime::strftime(state, local, moment.offset(), &moment.zone_abbreviation(), &format).map(Value::from)
        }
        "isoformat" => isoformat(moment, args),
        "date" => Ok(Value::from_object(Date(local.date(), is_pendulum))),
        "time" => Ok(Value::from_object(Time(local.time(), is_pendulum))),
        "timestamp" => Ok(Value::from(moment.timestamp())),
        "ctime" => shown("%a %b %e %H:%M:%S %Y"),
        "tzname" => Ok(match moment.zone() {
            Zone::Naive => Value::from(()),
            _ => Value::from(moment.zone_abbreviation()),
        }),
        "utcoffset" => match moment.offset() {
            Some(offset) => Span::timedelta(i128::from(offset) * 1_000_000),
            None => Ok(Value::from(())),
        },
        "timetuple" | "utctimetuple" => Ok(Dict::of([
            ("tm_year", Value::from(local.year())),
            ("tm_mon", Value::from(local.month())),
            ("tm_mday", Value::from(local.day())),
            ("tm_hour", Value::from(local.hour())),
            ("tm_min", Value::from(local.minute())),
            ("tm_sec", Value::from(local.second())),
            ("tm_wday", Value::from(local.weekday().num_days_from_monday())),
            ("tm_yday", Value::from(local.ordinal())),
        ])),
        "replace" => replace(moment, args, "replace"),
        "set" if is_pendulum => replace(moment, args, "set"),
        "astimezone" => {
            let [zone] = args.bind("astimezone", ["tz"])?;
            let zone = match zone {
                Some(zone) => zone_of(&zone)?,
                None => Zone::Named(chrono_tz::Tz::UTC),
            };
            Ok(Value::from_object(Moment::from_utc(moment.as_utc(), zone, is_pendulum)))
        }
        _ if !is_pendulum => Err(no_method(moment, method)),
        "in_timezone" | "in_tz" => {
            let zone = zone_of(&args.one(method)?)?;
            Ok(Value::from_object(Moment::from_utc(moment.as_utc(), zone, true)))
        }
        "add" => add(moment, args, 1, "add"),
        "subtract" => add(moment, args, -1, "subtract"),
        "naive" => Ok(Value::from_object(Moment::naive(local, true))),
        "start_of" => start_of(moment, &text(&args.one("start_of")?, "start_of")?),
        "end_of" => end_of(moment, &text(&args.one("end_of")?, "end_of")?),
        "first_of" | "last_of" => first_or_last_of(moment, args, method),
        "next" | "previous" => next_or_previous(moment, args, method),
        "on" => {
            let [year, month, day] = args.bind("on", ["year", "month", "day"])?;
            let date = make_date(
                integer(Some(needed(year, "on", "year")?), 1)?,
                integer(Some(needed(month, "on", "month")?), 1)?,
                integer(Some(needed(day, "on", "day")?), 1)?,
            )?;
            Ok(at(moment, date, local.time()))
        }
        "at" => {
            let [hour, minute, second, micro] = args.bind("at", ["hour", "minute", "second", "microsecond"])?;
            let hour = integer(Some(needed(hour, "at", "hour")?), 0)?;
            let time = make_time(hour, integer(minute, 0)?, integer(second, 0)?, integer(micro, 0)?)?;
            Ok(at(moment, local.date(), time))
        }
        "diff" => {
            let [other, absolute] = args.bind("diff", ["dt", "abs"])?;
            let other = other.map_or_else(|| macros::now(state), |other| Ok(moment_of(&other)?.clone()))?;
            let absolute = absolute.is_none_or(|absolute| absolute.is_true());
            match absolute && other.as_utc() < moment.as_utc() {
                true => Span::between(&other, moment),
                false => Span::between(moment, &other),
            }
        }
        "diff_for_humans" => {
            let [other, absolute, _locale] = args.bind("diff_for_humans", ["other", "absolute", "locale"])?;
            let is_now = other.as_ref().is_none_or(Value::is_none);
            let other = match other {
                Some(other) if !other.is_none() => moment_of(&other)?.clone(),
                _ => macros::now(state)?,
            };
            for_humans(moment, &other, is_now, flag(absolute)).map(Value::from)
        }
        "is_utc" => Ok(Value::from(moment.offset() == Some(0))),
        "is_dst" => Ok(Value::from(false)),
        "is_future" => Ok(Value::from(moment.as_utc() > macros::now(state)?.as_utc())),
        "is_past" => Ok(Value::from(moment.as_utc() < macros::now(state)?.as_utc())),
        "is_same_day" => Ok(Value::from(moment_of(&args.one("is_same_day")?)?.local().date() == local.date())),
        "is_long_year" => {
            let last = NaiveDate::from_ymd_opt(local.year(), 12, 28).unwrap_or(local.date());
            Ok(Value::from(last.iso_week().week() == 53))
        }
        "format" => {
            let [format, _locale] = args.bind("format", ["fmt", "locale"])?;
            let format = text(&needed(format, "format", "fmt")?, "format")?;
            pendulum_format::format(moment, &format).map(Value::from)
        }
        "to_time_string" => shown("%H:%M:%S"),
        "to_datetime_string" => shown("%Y-%m-%d %H:%M:%S"),
        "to_day_datetime_string" => shown("%a, %b %-d, %Y %-I:%M %p"),
        "to_iso8601_string" => {
            // pendulum writes the zone UTC as Z here, and an offset of zero in full.
            let iso = moment.iso("T");
            let utc = moment.zone() == Zone::Named(chrono_tz::Tz::UTC);
            Ok(Value::from(if utc { iso.replace("+00:00", "Z") } else { iso }))
        }
        "to_rfc3339_string" => Ok(Value::from(moment.iso("T"))),
        "to_atom_string" | "to_w3c_string" => with_offset(moment, "%Y-%m-%dT%H:%M:%S", ":"),
        "to_rfc822_string" | "to_rfc1036_string" => with_offset(moment, "%a, %d %b %y %H:%M:%S ", ""),
        "to_rfc1123_string" | "to_rfc2822_string" | "to_rss_string" => {
            with_offset(moment, "%a, %d %b %Y %H:%M:%S ", "")
        }
        "to_cookie_string" => with_zone(moment, "%A, %d-%b-%Y %H:%M:%S "),
        "to_rfc850_string" => with_zone(moment, "%A, %d-%b-%y %H:%M:%S "),
        _ => Err(no_method(moment, method)),
    }
}

fn no_method(moment: &Arc<Moment>, method: &str) -> Error {
    python::no_attribute(&Value::from_dyn_object(moment.clone()), method)
}

fn with_offset(moment: &Moment, format: &str, separator: &str) -> Result<Value, Error> {
    let offset = offset_text(moment.offset().unwrap_or(0), separator);
    Ok(Value::from(format!("{}{offset}", moment.local().format(format))))
}

fn with_zone(moment: &Moment, format: &str) -> Result<Value, Error> {
    Ok(Value::from(format!("{}{}", moment.local().format(format), moment.zone_abbreviation())))
}

/// The moment behind an argument.
pub(super) fn moment_of(value: &Value) -> Result<&Moment, Error> {
    value
        .downcast_object_ref::<Moment>()
        .ok_or_else(|| invalid(format!("expected a datetime, not {}", python::type_name(value))))
}

/// The zone behind an argument: a name or a zone.
pub(super) fn zone_of(value: &Value) -> Result<Zone, Error> {
    match (value.as_str(), value.downcast_object_ref::<ZoneValue>()) {
        (Some(name), _) => zone_named(name),
        (_, Some(zone)) => Ok(zone.zone),
        _ => Err(invalid(format!("expected a time zone, not {}", python::type_name(value)))),
    }
}

fn isoformat(moment: &Moment, args: Args) -> Result<Value, Error> {
    let [separator, precision] = args.bind("isoformat", ["sep", "timespec"])?;
    let separator = separator.map_or(Ok("T".to_owned()), |sep| text(&sep, "isoformat"))?;
    let precision = precision.map_or(Ok("auto".to_owned()), |spec| text(&spec, "isoformat"))?;
    let time = match precision.as_str() {
        "auto" => return Ok(Value::from(moment.iso(&separator))),
        "hours" => "%H",
        "minutes" => "%H:%M",
        "seconds" => "%H:%M:%S",
        "milliseconds" => "%H:%M:%S%.3f",
        "microseconds" => "%H:%M:%S%.6f",
        _ => return Err(invalid("Unknown timespec value")),
    };
    let local = moment.local();
    let offset = moment.offset().map(|offset| offset_text(offset, ":")).unwrap_or_default();
    Ok(Value::from(format!("{}{separator}{}{offset}", local.format("%Y-%m-%d"), local.format(time))))
}

fn at(moment: &Moment, date: NaiveDate, time: NaiveTime) -> Value {
    Value::from_object(Moment::from_local(date.and_time(time), moment.zone(), moment.is_pendulum()))
}

fn replace(moment: &Moment, args: Args, function: &str) -> Result<Value, Error> {
    let names = ["year", "month", "day", "hour", "minute", "second", "microsecond", "tzinfo", "tz"];
    let [year, month, day, hour, minute, second, micro, tzinfo, tz] = args.bind(function, names)?;
    let local = moment.local();
    let date = make_date(
        integer(year, local.year().into())?,
        integer(month, local.month().into())?,
        integer(day, local.day().into())?,
    )?;
    let time = make_time(
        integer(hour, local.hour().into())?,
        integer(minute, local.minute().into())?,
        integer(second, local.second().into())?,
        integer(micro, moment.micros().into())?,
    )?;
    let zone = match tzinfo.or(tz) {
        Some(zone) if zone.is_none() => Zone::Naive,
        Some(zone) => zone_of(&zone)?,
        None => moment.zone(),
    };
    Ok(Value::from_object(Moment::from_local(date.and_time(time), zone, moment.is_pendulum())))
}

fn add(moment: &Moment, args: Args, sign: i64, function: &str) -> Result<Value, Error> {
    let names = ["years", "months", "weeks", "days", "hours", "minutes", "seconds", "microseconds"];
    let [years, months, weeks, days, hours, minutes, seconds, micros] = args.bind(function, names)?;
    let mut span = 0_i128;
    for (value, unit) in [(hours, 3600.0), (minutes, 60.0), (seconds, 1.0), (micros, 1e-6)] {
        if let Some(value) = value {
            let count = python::number(&value).ok_or_else(|| invalid(format!("{function}() takes numbers")))?;
            span += (count * unit * 1e6).round() as i128;
        }
    }
    let span = span * i128::from(sign);
    let [years, months, weeks, days] = [
        integer(years, 0)?.saturating_mul(sign),
        integer(months, 0)?.saturating_mul(sign),
        integer(weeks, 0)?.saturating_mul(sign),
        integer(days, 0)?.saturating_mul(sign),
    ];
    let days = days.saturating_add(weeks.saturating_mul(7));
    if years == 0 && months == 0 && days == 0 {
        return moment.plus(span);
    }
    // Calendar units move the wall clock; so does what is added along with them.
    let date = add_calendar(moment.local().date(), years, months, days)?;
    let span = i64::try_from(span).map(TimeDelta::microseconds).map_err(|_| invalid("date value out of range"))?;
    let local = date.and_time(moment.local().time()).checked_add_signed(span);
    let local = local.filter(|local| (1..=9999).contains(&local.year()));
    match local {
        Some(local) => Ok(Value::from_object(Moment::from_local(local, moment.zone(), true))),
        None => Err(invalid("date value out of range")),
    }
}

/// The first day of the unit that a date is in. None: no such unit of whole days.
fn first_day(date: NaiveDate, unit: &str) -> Option<NaiveDate> {
    let year = date.year();
    match unit {
        "day" => Some(date),
        "week" => Some(date - TimeDelta::days(date.weekday().num_days_from_monday().into())),
        "month" => date.with_day(1),
        "year" => NaiveDate::from_ymd_opt(year, 1, 1),
        "decade" => NaiveDate::from_ymd_opt(year - year % 10, 1, 1),
        "century" => NaiveDate::from_ymd_opt(year - 1 - (year - 1) % 100 + 1, 1, 1),
        _ => None,
    }
}

fn start_of(moment: &Moment, unit: &str) -> Result<Value, Error> {
    let local = moment.local();
    let time = local.time();
    let start = match unit {
        "second" => time.with_nanosecond(0),
        "minute" => NaiveTime::from_hms_opt(time.hour(), time.minute(), 0),
        "hour" => NaiveTime::from_hms_opt(time.hour(), 0, 0),
        _ => None,
    };
    if let Some(start) = start {
        return Ok(at(moment, local.date(), start));
    }
    match first_day(local.date(), unit) {
        Some(day) => Ok(at(moment, day, NaiveTime::MIN)),
        None => Err(invalid(format!("Invalid unit \"{unit}\" for start_of()"))),
    }
}

fn end_of(moment: &Moment, unit: &str) -> Result<Value, Error> {
    let local = moment.local();
    let time = local.time();
    let end = match unit {
        "second" => time.with_nanosecond(999_999_000),
        "minute" => NaiveTime::from_hms_micro_opt(time.hour(), time.minute(), 59, 999_999),
        "hour" => NaiveTime::from_hms_micro_opt(time.hour(), 59, 59, 999_999),
        _ => None,
    };
    if let Some(end) = end {
        return Ok(at(moment, local.date(), end));
    }
    let first = first_day(local.date(), unit);
    let last = first.and_then(|first| match unit {
        "day" => Some(first),
        "week" => Some(first + TimeDelta::days(6)),
        "month" => first.with_day(days_in_month(first.year(), first.month())),
        "year" => NaiveDate::from_ymd_opt(first.year(), 12, 31),
        "decade" => NaiveDate::from_ymd_opt(first.year() + 9, 12, 31),
        _ => NaiveDate::from_ymd_opt(first.year() + 99, 12, 31),
    });
    match (last, NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999)) {
        (Some(last), Some(time)) => Ok(at(moment, last, time)),
        _ => Err(invalid(format!("Invalid unit \"{unit}\" for end_of()"))),
    }
}

/// A day of the week as an argument, Monday being 0.
fn weekday(value: Option<Value>) -> Result<Option<u32>, Error> {
    match value {
        None => Ok(None),
        Some(value) if value.is_none() => Ok(None),
        Some(value) => match integer(Some(value), 0)? {
            day @ 0..=6 => Ok(u32::try_from(day).ok()),
            _ => Err(invalid("Invalid day of week")),
        },
    }
}

fn first_or_last_of(moment: &Moment, args: Args, method: &str) -> Result<Value, Error> {
    let [unit, day] = args.bind(method, ["unit", "day_of_week"])?;
    let unit = text(&needed(unit, method, "unit")?, method)?;
    let date = moment.local().date();
    let first = match unit.as_str() {
        "quarter" => NaiveDate::from_ymd_opt(date.year(), date.month0() / 3 * 3 + 1, 1),
        "month" | "year" => first_day(date, &unit),
        _ => None,
    };
    let Some(first) = first else {
        return Err(invalid(format!("Invalid unit \"{unit}\" for {method}()")));
    };
    let months = match unit.as_str() {
        "month" => 1,
        "quarter" => 3,
        _ => 12,
    };
    let day = weekday(day)?;
    let mut found = if method == "first_of" { first } else { add_calendar(first, 0, months, -1)? };
    let step = if method == "first_of" { 1 } else { -1 };
    while day.is_some_and(|day| found.weekday().num_days_from_monday() != day) {
        found += TimeDelta::days(step);
    }
    Ok(at(moment, found, NaiveTime::MIN))
}

fn next_or_previous(moment: &Moment, args: Args, method: &str) -> Result<Value, Error> {
    let [day, keep_time] = args.bind(method, ["day_of_week", "keep_time"])?;
    let local = moment.local();
    let day = weekday(day)?.unwrap_or(local.weekday().num_days_from_monday());
    let step = if method == "next" { 1 } else { -1 };
    let mut date = add_calendar(local.date(), 0, 0, step)?;
    while date.weekday().num_days_from_monday() != day {
        date = add_calendar(date, 0, 0, step)?;
    }
    let time = if flag(keep_time) { local.time() } else { NaiveTime::MIN };
    Ok(at(moment, date, time))
}

/// "1 day after", as pendulum words a difference in English.
pub(super) fn for_humans(moment: &Moment, other: &Moment, is_now: bool, absolute: bool) -> Result<String, Error> {
    let is_later = moment.as_utc() > other.as_utc();
    let (start, end) = if is_later { (other, moment) } else { (moment, other) };
    let span = Span::between(start, end)?;
    let parts = span.downcast_object_ref::<Span>().map(Span::parts).unwrap_or_default();
    let Parts { years, months, weeks, days, hours, minutes, seconds, .. } = parts;
    let month_days = weeks * 7 + days;
    let (count, unit) = if years > 0 {
        (years + i64::from(months > 6), "year")
    } else if months == 11 && month_days > 15 {
        (1, "year")
    } else if months > 0 {
        (months + i64::from(month_days >= 27), "month")
    } else if weeks > 0 {
        (weeks + i64::from(days > 3), "week")
    } else if days > 0 {
        (days + i64::from(hours >= 22), "day")
    } else if hours > 0 {
        (hours, "hour")
    } else if minutes > 0 {
        (minutes, "minute")
    } else if seconds > 10 {
        (seconds, "second")
    } else {
        (0, "")
    };
    let words = match (count, unit) {
        (_, "") => "a few seconds".to_owned(),
        (1, unit) => format!("1 {unit}"),
        (count, unit) => format!("{count} {unit}s"),
    };
    Ok(match (absolute, is_now, is_later) {
        (true, _, _) => words,
        (_, true, true) => format!("in {words}"),
        (_, true, false) => format!("{words} ago"),
        (_, false, true) => format!("{words} after"),
        (_, false, false) => format!("{words} before"),
    })
}

/// The moment that a timestamp in seconds names.
pub(super) fn from_timestamp(seconds: f64, zone: Zone, is_pendulum: bool) -> Result<Moment, Error> {
    let micros = (seconds * 1e6).round();
    if !micros.is_finite() || micros.abs() > 253_402_300_800e6 {
        return Err(invalid("timestamp is out of range"));
    }
    let at = chrono::DateTime::<Utc>::from_timestamp_micros(micros as i64);
    let at = at.ok_or_else(|| invalid("timestamp is out of range"))?;
    Ok(Moment::from_utc(at.naive_utc(), zone, is_pendulum))
}
