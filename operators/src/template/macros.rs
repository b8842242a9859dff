//! Airflow's `macros`: dates, JSON, random numbers and their like.

use std::fmt;
use std::sync::Arc;

use chrono::{Datelike, NaiveDate, NaiveTime};
use minijinja::value::{Object, ObjectRepr};
use minijinja::{Error, State, Value};

use super::args::{Args, integer, needed, text};
use super::context::{Facts, Record};
use super::date::{Date, Time, add_calendar, make_date, make_time};
use super::error::invalid;
use super::interval::Span;
use super::moment::{Moment, Zone};
use super::moment_methods::{for_humans, from_timestamp, moment_of, zone_of};
use super::object::Function;
use super::strftime::{parse_offset, strftime, strptime};
use super::{json, pendulum_format, python};

/// The `macros` of a context.
pub(super) fn module() -> Value {
    Record::module(
        "module",
        "<module 'airflow.macros'>",
        vec![
            ("ds_add", Function::value("ds_add", ds_add)),
            ("ds_format", Function::value("ds_format", ds_format)),
            ("ds_format_locale", Function::value("ds_format_locale", ds_format_locale)),
            ("datetime_diff_for_humans", Function::value("datetime_diff_for_humans", diff_for_humans)),
            ("datetime", Value::from_object(DateTimeClass)),
            ("timedelta", Function::value("timedelta", timedelta)),
            ("random", Function::value("random", |state, _| Ok(Value::from(random(state))))),
            (
                "json",
                Record::module(
                    "module",
                    "<module 'json'>",
                    vec![
                        ("dumps", Function::value("dumps", |state, args| json::dumps_call(state, Args::new(args)))),
                        (
                            "loads",
                            Function::value("loads", |state, args| {
                                let source = text(&Args::new(args).one("loads")?, "loads")?;
                                json::loads(state, &source)
                            }),
                        ),
                    ],
                ),
            ),
            (
                "time",
                Record::module(
                    "module",
                    "<module 'time'>",
                    vec![
                        ("time", Function::value("time", |state, _| Ok(Value::from(now(state)?.timestamp())))),
                        ("gmtime", Function::value("gmtime", gmtime)),
                        ("localtime", Function::value("localtime", gmtime)),
                        ("strftime", Function::value("strftime", time_strftime)),
                    ],
                ),
            ),
            (
                "uuid",
                Record::module(
                    "module",
                    "<module 'uuid'>",
                    vec![
                        ("uuid4", Function::value("uuid4", uuid4)),
                        ("uuid1", Function::value("uuid1", uuid4)),
                        ("UUID", Function::value("UUID", uuid)),
                    ],
                ),
            ),
            (
                "dateutil",
                Record::module(
                    "module",
                    "<module 'dateutil'>",
                    vec![
                        (
                            "parser",
                            Record::module(
                                "module",
                                "<module 'dateutil.parser'>",
                                vec![
                                    ("parse", Function::value("parse", parse)),
                                    ("isoparse", Function::value("isoparse", parse)),
                                ],
                            ),
                        ),
                        (
                            "relativedelta",
                            Record::module(
                                "module",
                                "<module 'dateutil.relativedelta'>",
                                vec![("relativedelta", Function::value("relativedelta", RelativeDelta::call))],
                            ),
                        ),
                    ],
                ),
            ),
        ],
    )
}

/// The present, as the context says it.
pub(super) fn now(state: &State) -> Result<Moment, Error> {
    Ok(Facts::of(state)?.now())
}

/// A number from 0 up to 1, from the context's seed.
pub(super) fn random(state: &State) -> f64 {
    let bits = Facts::of(state).map_or(0, |facts| facts.random());
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

fn ds_add(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [ds, days] = Args::new(args).bind("ds_add", ["ds", "days"])?;
    let ds = python::print(state, &needed(ds, "ds_add", "ds")?)?;
    let days = integer(Some(needed(days, "ds_add", "days")?), 0)?;
    if days == 0 {
        return Ok(Value::from(ds));
    }
    let date = strptime(&ds, "%Y-%m-%d")?.local().date();
    Ok(Value::from(add_calendar(date, 0, 0, days)?.format("%Y-%m-%d").to_string()))
}

fn ds_format(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [ds, input, output] = Args::new(args).bind("ds_format", ["ds", "input_format", "output_format"])?;
    let ds = python::print(state, &needed(ds, "ds_format", "ds")?)?;
    let input = text(&needed(input, "ds_format", "input_format")?, "ds_format")?;
    let output = text(&needed(output, "ds_format", "output_format")?, "ds_format")?;
    let moment = strptime(&ds, &input)?;
    strftime(state, moment.local(), moment.offset(), &moment.zone_abbreviation(), &output).map(Value::from)
}

/// Babel's patterns, in English.
fn ds_format_locale(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let names = ["ds", "input_format", "output_format", "locale"];
    let [ds, input, output, locale] = Args::new(args).bind("ds_format_locale", names)?;
    let ds = python::print(state, &needed(ds, "ds_format_locale", "ds")?)?;
    let input = text(&needed(input, "ds_format_locale", "input_format")?, "ds_format_locale")?;
    let output = text(&needed(output, "ds_format_locale", "output_format")?, "ds_format_locale")?;
    if let Some(locale) = locale.as_ref().and_then(Value::as_str)
        && !locale.starts_with("en")
    {
        return Err(invalid(format!("no names of days and months are known for the locale '{locale}'")));
    }
    let moment = strptime(&ds, &input)?;
    let mut pattern = String::new();
    let mut chars = output.chars().peekable();
    while let Some(c) = chars.next() {
        let mut count = 1;
        while c.is_ascii_alphabetic() && chars.next_if_eq(&c).is_some() {
            count += 1;
        }
        let token = match (c, count) {
            ('y', 2) => "YY",
            ('y', _) => "YYYY",
            ('M' | 'L', 1) => "M",
            ('M' | 'L', 2) => "MM",
            ('M' | 'L', 3) => "MMM",
            ('M' | 'L', _) => "MMMM",
            ('d', 1) => "D",
            ('d', _) => "DD",
            ('E', 1..=3) => "ddd",
            ('E', _) => "dddd",
            ('D', _) => "DDD",
            ('H', 1) => "H",
            ('H', _) => "HH",
            ('h', 1) => "h",
            ('h', _) => "hh",
            ('m', 1) => "m",
            ('m', _) => "mm",
            ('s', 1) => "s",
            ('s', _) => "ss",
            ('a', _) => "A",
            ('Q' | 'q', _) => "Q",
            ('\'', _) => {
                pattern.push('[');
                pattern.extend(chars.by_ref().take_while(|c| *c != '\''));
                "]"
            }
            (c, _) if c.is_ascii_alphabetic() => {
                return Err(invalid(format!("the date pattern '{c}' is not known")));
            }
            (c, _) => {
                pattern.push(c);
                ""
            }
        };
        pattern.push_str(token);
    }
    pendulum_format::format(&moment, &pattern).map(Value::from)
}

fn diff_for_humans(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [moment, since] = Args::new(args).bind("datetime_diff_for_humans", ["dt", "since"])?;
    let moment = needed(moment, "datetime_diff_for_humans", "dt")?;
    let moment = moment_of(&moment)?;
    match since.filter(|since| !since.is_none()) {
        Some(since) => for_humans(moment, moment_of(&since)?, false, false),
        None => for_humans(moment, &now(state)?, true, false),
    }
    .map(Value::from)
}

fn timedelta(_state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let names = ["days", "seconds", "microseconds", "milliseconds", "minutes", "hours", "weeks"];
    let units = [86_400e6, 1e6, 1.0, 1e3, 60e6, 3600e6, 604_800e6];
    let mut micros = 0_i128;
    for (value, unit) in Args::new(args).bind("timedelta", names)?.into_iter().zip(units) {
        let Some(value) = value else { continue };
        let Some(count) = python::number(&value) else {
            let found = python::type_name(&value);
            return Err(invalid(format!("unsupported type for timedelta component: {found}")));
        };
        micros = match python::integer(&value) {
            Some(count) => micros.saturating_add(count.saturating_mul(unit as i128)),
            None => micros.saturating_add((count * unit).round_ties_even() as i128),
        };
    }
    Span::timedelta(micros)
}

/// Python's `datetime` class: makes datetimes, and has the constructors that stand on it.
#[derive(Debug)]
struct DateTimeClass;

impl Object for DateTimeClass {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = |year, month, day| {
            let date = NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
            Value::from_object(Moment::naive(date.and_time(NaiveTime::MIN), false))
        };
        match key.as_str()? {
            "min" => Some(at(1, 1, 1)),
            _ => None,
        }
    }

    fn call(self: &Arc<Self>, _state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let names = ["year", "month", "day", "hour", "minute", "second", "microsecond", "tzinfo"];
        let [year, month, day, hour, minute, second, micro, zone] = Args::new(args).bind("datetime", names)?;
        let date = make_date(
            integer(Some(needed(year, "datetime", "year")?), 1)?,
            integer(Some(needed(month, "datetime", "month")?), 1)?,
            integer(Some(needed(day, "datetime", "day")?), 1)?,
        )?;
        let time = make_time(integer(hour, 0)?, integer(minute, 0)?, integer(second, 0)?, integer(micro, 0)?)?;
        let zone = match zone.filter(|zone| !zone.is_none()) {
            Some(zone) => zone_of(&zone)?,
            None => Zone::Naive,
        };
        Ok(Value::from_object(Moment::from_local(date.and_time(time), zone, false)))
    }

    fn call_method(self: &Arc<Self>, state: &mut State, method: &str, values: &[Value]) -> Result<Value, Error> {
        let args = Args::new(values);
        let moment = match method {
            "strptime" => {
                let [value, format] = args.bind("strptime", ["date_string", "format"])?;
                let value = text(&needed(value, "strptime", "date_string")?, "strptime")?;
                strptime(&value, &text(&needed(format, "strptime", "format")?, "strptime")?)?
            }
            "fromisoformat" => from_iso(&text(&args.one(method)?, method)?)?,
            "now" | "today" | "utcnow" => {
                let [zone] = args.bind(method, ["tz"])?;
                let utc = now(state)?.as_utc();
                match zone.filter(|zone| !zone.is_none()) {
                    Some(zone) => Moment::from_utc(utc, zone_of(&zone)?, false),
                    None => Moment::naive(utc, false),
                }
            }
            "fromtimestamp" | "utcfromtimestamp" => {
                let [stamp, zone] = args.bind(method, ["timestamp", "tz"])?;
                let stamp = needed(stamp, method, "timestamp")?;
                let stamp = python::number(&stamp).ok_or_else(|| invalid("a timestamp must be a number"))?;
                let zone = zone.filter(|zone| !zone.is_none()).map_or(Ok(Zone::Naive), |zone| zone_of(&zone))?;
                from_timestamp(stamp, zone, false)?
            }
            "combine" => {
                let [date, time] = args.bind("combine", ["date", "time"])?;
                let date = needed(date, "combine", "date")?;
                let time = needed(time, "combine", "time")?;
                match (date.downcast_object_ref::<Date>(), time.downcast_object_ref::<Time>()) {
                    (Some(date), Some(time)) => Moment::naive(date.0.and_time(time.0), false),
                    _ => return Err(invalid("combine() takes a date and a time")),
                }
            }
            "strftime" | "isoformat" if !args.positional.is_empty() => {
                return args.positional[0].call_method(state, method, &values[1..]);
            }
            _ => return Err(python::no_attribute(&Value::from_object(DateTimeClass), method)),
        };
        Ok(Value::from_object(moment))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<class 'datetime.datetime'>")
    }
}

/// An ISO 8601 date, with or without a time and an offset.
fn from_iso(text: &str) -> Result<Moment, Error> {
    let wrong = || invalid(format!("Invalid isoformat string: '{text}'"));
    let (date, rest) = match text.get(..10) {
        Some(date) if date.as_bytes()[4] == b'-' => (NaiveDate::parse_from_str(date, "%Y-%m-%d"), &text[10..]),
        _ => (NaiveDate::parse_from_str(text.get(..8).ok_or_else(wrong)?, "%Y%m%d"), &text[8..]),
    };
    let date = date.map_err(|_| wrong())?;
    if rest.is_empty() {
        return Ok(Moment::naive(date.and_time(NaiveTime::MIN), false));
    }
    let mut chars = rest.chars();
    chars.next();
    let rest = chars.as_str();
    let end = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
    let (time, offset) = rest.split_at(end);
    let formats = ["%H:%M:%S%.f", "%H:%M", "%H%M%S", "%H%M", "%H"];
    let time = time.trim_end();
    let time = formats.iter().find_map(|format| match *format {
        "%H" if time.len() == 2 => NaiveTime::from_hms_opt(time.parse().ok()?, 0, 0),
        "%H" => None,
        format => NaiveTime::parse_from_str(time, format).ok(),
    });
    let zone = match offset {
        "" => Zone::Naive,
        offset => match parse_offset(offset) {
            Some((offset, "")) => Zone::Fixed(offset),
            _ => return Err(wrong()),
        },
    };
    Ok(Moment::from_local(date.and_time(time.ok_or_else(wrong)?), zone, false))
}

/// `dateutil.parser.parse`, of ISO 8601 and of the commonest other ways to write a date.
fn parse(_state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let source = Args::new(args).positional.into_iter().next();
    let source = text(&needed(source, "parse", "timestr")?, "parse")?;
    let trimmed = source.trim();
    let others = [
        "%Y/%m/%d %H:%M:%S",
        "%Y/%m/%d",
        "%Y%m%dT%H%M%S",
        "%m/%d/%Y %H:%M:%S",
        "%m/%d/%Y",
        "%d %b %Y",
        "%d %B %Y",
        "%b %d, %Y",
        "%B %d, %Y",
        "%Y-%m",
    ];
    let parsed =
        from_iso(trimmed).or_else(|error| others.iter().find_map(|format| strptime(trimmed, format).ok()).ok_or(error));
    match parsed {
        Ok(moment) => Ok(Value::from_object(moment)),
        Err(_) => Err(invalid(format!("Unknown string format: {source}"))),
    }
}

fn gmtime(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [seconds] = Args::new(args).bind("gmtime", ["seconds"])?;
    let seconds = match seconds.filter(|seconds| !seconds.is_none()) {
        Some(seconds) => python::number(&seconds).ok_or_else(|| invalid("a timestamp must be a number"))?,
        None => now(state)?.timestamp(),
    };
    Ok(Value::from_object(from_timestamp(seconds.floor(), Zone::Named(chrono_tz::Tz::UTC), false)?))
}

fn time_strftime(state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let [format, at] = Args::new(args).bind("strftime", ["format", "t"])?;
    let format = text(&needed(format, "strftime", "format")?, "strftime")?;
    let at = match at {
        Some(at) => moment_of(&at)?.clone(),
        None => now(state)?,
    };
    strftime(state, at.local(), Some(0), "UTC", &format).map(Value::from)
}

fn uuid_text(bits: u128) -> Value {
    let hex = format!("{bits:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    let shown = parts.join("-");
    Record::module("UUID", &shown, vec![("hex", Value::from(hex.as_str())), ("int", Value::from(hex.as_str()))])
}

fn uuid4(state: &mut State, _args: &[Value]) -> Result<Value, Error> {
    let facts = Facts::of(state)?;
    let bits = u128::from(facts.random()) << 64 | u128::from(facts.random());
    let bits = bits & !(0xf << 76) | (0x4 << 76);
    Ok(uuid_text(bits & !(0x3 << 62) | (0x2 << 62)))
}

fn uuid(_state: &mut State, args: &[Value]) -> Result<Value, Error> {
    let source = text(&Args::new(args).one("UUID")?, "UUID")?;
    let hex: String = source.chars().filter(|c| !matches!(c, '-' | '{' | '}')).collect();
    match u128::from_str_radix(&hex, 16) {
        Ok(bits) if hex.len() == 32 => Ok(uuid_text(bits)),
        _ => Err(invalid("badly formed hexadecimal UUID string")),
    }
}

/// dateutil's relativedelta: calendar units to add, and fields to set.
#[derive(Clone, Debug)]
pub(super) struct RelativeDelta {
    years: i64,
    months: i64,
    days: i64,
    micros: i128,
    day: Option<i64>,
    month: Option<i64>,
    year: Option<i64>,
    hour: Option<i64>,
    minute: Option<i64>,
    second: Option<i64>,
}

impl RelativeDelta {
    fn call(_state: &mut State, args: &[Value]) -> Result<Value, Error> {
        let names = [
            "years",
            "months",
            "days",
            "weeks",
            "hours",
            "minutes",
            "seconds",
            "microseconds",
            "year",
            "month",
            "day",
            "hour",
            "minute",
            "second",
        ];
        let args = Args::new(args);
        if !args.positional.is_empty() {
            return Err(invalid("relativedelta() takes its values by name"));
        }
        let bound = args.bind("relativedelta", names)?.map(|value| match value {
            None => Ok(None),
            Some(value) => integer(Some(value), 0).map(Some),
        });
        let mut numbers = [None; 14];
        for (slot, value) in numbers.iter_mut().zip(bound) {
            *slot = value?;
        }
        let count = |index: usize| numbers[index].unwrap_or(0);
        let micros = (i128::from(count(4)) * 3600 + i128::from(count(5)) * 60 + i128::from(count(6))) * 1_000_000;
        Ok(Value::from_object(RelativeDelta {
            years: count(0),
            months: count(1),
            days: count(2).saturating_add(count(3).saturating_mul(7)),
            micros: micros + i128::from(count(7)),
            year: numbers[8],
            month: numbers[9],
            day: numbers[10],
            hour: numbers[11],
            minute: numbers[12],
            second: numbers[13],
        }))
    }

    /// The moment with this added, or taken away.
    pub(super) fn apply(&self, moment: &Moment, negative: bool) -> Result<Value, Error> {
        let sign = if negative { -1 } else { 1 };
        let local = moment.local();
        let set = |value: Option<i64>, now: u32| value.unwrap_or_else(|| now.into());
        let year = self.year.unwrap_or_else(|| local.year().into());
        let first = make_date(year, set(self.month, local.month()), 1)?;
        let month = add_calendar(first, self.years * sign, self.months * sign, 0)?;
        let last = super::date::days_in_month(month.year(), month.month());
        let day = set(self.day, local.day()).min(last.into());
        let date = make_date(month.year().into(), month.month().into(), day)?;
        let date = add_calendar(date, 0, 0, self.days * sign)?;
        let time = local.time();
        let time = make_time(
            set(self.hour, chrono::Timelike::hour(&time)),
            set(self.minute, chrono::Timelike::minute(&time)),
            set(self.second, chrono::Timelike::second(&time)),
            moment.micros().into(),
        )?;
        let moved = Moment::from_local(date.and_time(time), moment.zone(), moment.is_pendulum());
        moved.plus(self.micros * sign as i128)
    }
}

impl Object for RelativeDelta {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("relativedelta()")
    }
}
