//! Dates with a time: pendulum's DateTime, which Airflow gives, and datetime's, which `macros.datetime` makes.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{OffsetName, Tz};
use minijinja::value::{DynObject, Object, ObjectRepr};
use minijinja::{Error, State, Value};

use super::date::{date_field, time_field};
use super::error::invalid;
use super::interval::Span;
use super::moment_methods;

/// The time zone of a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Zone {
    /// None: what Python calls naive.
    Naive,
    /// A named zone; UTC is one.
    Named(Tz),
    /// A fixed offset from UTC in seconds.
    Fixed(i32),
}

/// A date and a time of day in a zone.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// What the clock on the wall shows.
    local: NaiveDateTime,
    zone: Zone,
    /// Seconds east of UTC, which a named zone has two of when clocks go back.
    offset: i32,
    is_pendulum: bool,
}

impl Moment {
    pub(super) fn utc(at: DateTime<Utc>) -> Moment {
        Moment { local: at.naive_utc(), zone: Zone::Named(Tz::UTC), offset: 0, is_pendulum: true }
    }

    /// As a template's value.
    pub(super) fn value(at: DateTime<Utc>) -> Value {
        Value::from_object(Moment::utc(at))
    }

    /// As a template's value, or None.
    pub(super) fn optional(at: Option<DateTime<Utc>>) -> Value {
        at.map_or_else(|| Value::from(()), Moment::value)
    }

    pub(super) fn naive(local: NaiveDateTime, is_pendulum: bool) -> Moment {
        Moment { local, zone: Zone::Naive, offset: 0, is_pendulum }
    }

    /// From wall clock time: after a change of clocks where it is ambiguous, moved on where it does not exist.
    pub(super) fn from_local(local: NaiveDateTime, zone: Zone, is_pendulum: bool) -> Moment {
        match zone {
            Zone::Naive => Moment::naive(local, is_pendulum),
            Zone::Fixed(offset) => Moment { local, zone, offset, is_pendulum },
            Zone::Named(tz) => {
                let offset = match tz.offset_from_local_datetime(&local) {
                    chrono::LocalResult::Single(offset) => offset.fix(),
                    chrono::LocalResult::Ambiguous(_, later) => later.fix(),
                    chrono::LocalResult::None => {
                        let before = local - TimeDelta::days(1);
                        let before = tz.offset_from_local_datetime(&before).earliest();
                        let before = before.map_or(0, |offset| offset.fix().local_minus_utc());
                        let utc = local - TimeDelta::seconds(before.into());
                        return Moment::from_utc(utc, zone, is_pendulum);
                    }
                };
                Moment { local, zone, offset: offset.local_minus_utc(), is_pendulum }
            }
        }
    }

    pub(super) fn from_utc(utc: NaiveDateTime, zone: Zone, is_pendulum: bool) -> Moment {
        let offset = match zone {
            Zone::Naive => 0,
            Zone::Fixed(offset) => offset,
            Zone::Named(tz) => tz.offset_from_utc_datetime(&utc).fix().local_minus_utc(),
        };
        let local = utc.checked_add_signed(TimeDelta::seconds(offset.into())).unwrap_or(utc);
        Moment { local, zone, offset, is_pendulum }
    }

    pub(super) fn local(&self) -> NaiveDateTime {
        self.local
    }

    pub(super) fn zone(&self) -> Zone {
        self.zone
    }

    pub(super) fn is_pendulum(&self) -> bool {
        self.is_pendulum
    }

    /// A naive moment counts as UTC.
    pub(super) fn as_utc(&self) -> NaiveDateTime {
        self.local.checked_sub_signed(TimeDelta::seconds(self.offset.into())).unwrap_or(self.local)
    }

    /// This instant on the wall clock of another moment's zone.
    pub(super) fn in_zone_of(&self, other: &Moment) -> NaiveDateTime {
        Moment::from_utc(self.as_utc(), other.zone, true).local
    }

    /// Seconds east of UTC; none for a naive moment.
    pub(super) fn offset(&self) -> Option<i32> {
        (self.zone != Zone::Naive).then_some(self.offset)
    }

    pub(super) fn micros(&self) -> u32 {
        self.local.nanosecond() / 1000
    }

    /// The zone's short name at this moment, as `%Z` prints it.
    pub(super) fn zone_abbreviation(&self) -> String {
        match self.zone {
            Zone::Naive => String::new(),
            Zone::Fixed(offset) => offset_text(offset, ":"),
            Zone::Named(tz) => {
                let offset = tz.offset_from_utc_datetime(&self.as_utc());
                offset.abbreviation().map_or_else(|| offset_text(self.offset, ""), str::to_owned)
            }
        }
    }

    pub(super) fn zone_name(&self) -> Option<String> {
        match self.zone {
            Zone::Naive => None,
            Zone::Fixed(offset) => Some(offset_text(offset, ":")),
            Zone::Named(tz) => Some(tz.name().to_owned()),
        }
    }

    pub(super) fn microseconds_since(&self, start: &Moment) -> i128 {
        let delta = self.as_utc() - start.as_utc();
        i128::from(delta.num_seconds()) * 1_000_000 + i128::from(delta.subsec_nanos() / 1000)
    }

    pub(super) fn timestamp(&self) -> f64 {
        let utc = self.as_utc().and_utc();
        utc.timestamp_micros() as f64 / 1e6
    }

    /// ISO 8601, with a separator between date and time.
    pub(super) fn iso(&self, separator: &str) -> String {
        let mut text = format!("{}{separator}{}", self.local.format("%Y-%m-%d"), self.local.format("%H:%M:%S"));
        if self.micros() > 0 {
            text.push_str(&format!(".{:06}", self.micros()));
        }
        if let Some(offset) = self.offset() {
            text.push_str(&offset_text(offset, ":"));
        }
        text
    }

    pub(super) fn repr(&self) -> String {
        let local = &self.local;
        let mut fields = vec![
            local.year().to_string(),
            local.month().to_string(),
            local.day().to_string(),
            local.hour().to_string(),
            local.minute().to_string(),
        ];
        if self.is_pendulum || local.second() > 0 || self.micros() > 0 {
            fields.push(local.second().to_string());
        }
        if self.micros() > 0 {
            fields.push(self.micros().to_string());
        }
        match self.zone {
            Zone::Naive => {}
            Zone::Fixed(0) if !self.is_pendulum => fields.push("tzinfo=datetime.timezone.utc".to_owned()),
            Zone::Fixed(offset) => {
                fields.push(format!("tzinfo=FixedTimezone({offset}, name=\"{}\")", offset_text(offset, ":")))
            }
            Zone::Named(tz) => fields.push(format!("tzinfo=Timezone('{}')", tz.name())),
        }
        let name = if self.is_pendulum { "DateTime" } else { "datetime.datetime" };
        format!("{name}({})", fields.join(", "))
    }

    pub(super) fn type_name(&self) -> &'static str {
        if self.is_pendulum { "DateTime" } else { "datetime.datetime" }
    }

    /// None where Python refuses: a naive one against one with a zone.
    pub(super) fn compare(&self, other: &Moment) -> Option<Ordering> {
        if (self.zone == Zone::Naive) != (other.zone == Zone::Naive) {
            return None;
        }
        Some(self.as_utc().cmp(&other.as_utc()))
    }

    /// The moment plus a span: pendulum counts real time, datetime wall clock time.
    pub(super) fn plus(&self, microseconds: i128) -> Result<Value, Error> {
        let out_of_range = || invalid("date value out of range");
        let delta = i64::try_from(microseconds).map(TimeDelta::microseconds).map_err(|_| out_of_range())?;
        let moved = if self.is_pendulum {
            let utc = self.as_utc().checked_add_signed(delta).ok_or_else(out_of_range)?;
            Moment::from_utc(utc, self.zone, true)
        } else {
            let local = self.local.checked_add_signed(delta).ok_or_else(out_of_range)?;
            Moment::from_local(local, self.zone, false)
        };
        if !(1..=9999).contains(&moved.local.year()) {
            return Err(out_of_range());
        }
        Ok(Value::from_object(moved))
    }

    /// The moment minus another: an Interval if pendulum's are in it, else a timedelta.
    pub(super) fn minus(&self, other: &Moment) -> Result<Value, Error> {
        if (self.zone == Zone::Naive) != (other.zone == Zone::Naive) {
            return Err(invalid("can't subtract offset-naive and offset-aware datetimes"));
        }
        if self.is_pendulum || other.is_pendulum {
            return Span::between(other, self);
        }
        Span::timedelta(self.microseconds_since(other))
    }
}

/// An offset as `+01:00`.
pub(super) fn offset_text(offset: i32, separator: &str) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
}

/// A zone by name, as pendulum's `timezone()` finds it.
pub(super) fn zone_named(name: &str) -> Result<Zone, Error> {
    name.parse::<Tz>().map(Zone::Named).map_err(|_| invalid(format!("invalid time zone: {name}")))
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso(" "))
    }
}

/// A zone as a value: `logical_date.timezone.name`.
#[derive(Debug)]
pub(super) struct ZoneValue {
    pub(super) zone: Zone,
    pub(super) name: String,
}

impl Object for ZoneValue {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str()? == "name").then(|| Value::from(self.name.as_str()))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Object for Moment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let from_parts =
            date_field(self.local.date(), name, self.is_pendulum).or_else(|| time_field(self.local.time(), name));
        if from_parts.is_some() {
            return from_parts;
        }
        let zone = || match self.zone_name() {
            Some(name) => Value::from_object(ZoneValue { zone: self.zone, name }),
            None => Value::from(()),
        };
        Some(match name {
            "tzinfo" => zone(),
            "fold" => Value::from(0),
            "max" | "min" | "resolution" => Value::from(()),
            _ if !self.is_pendulum => return None,
            "timezone" | "tz" => zone(),
            "timezone_name" => self.zone_name().map_or_else(|| Value::from(()), Value::from),
            "int_timestamp" => Value::from(self.as_utc().and_utc().timestamp()),
            "float_timestamp" => Value::from(self.timestamp()),
            "offset" => self.offset().map_or_else(|| Value::from(()), Value::from),
            "offset_hours" => {
                self.offset().map_or_else(|| Value::from(()), |offset| Value::from(f64::from(offset) / 3600.0))
            }
            _ => return None,
        })
    }

    fn call_method(self: &Arc<Self>, state: &mut State, method: &str, args: &[Value]) -> Result<Value, Error> {
        moment_methods::call(self, state, method, args)
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        self.compare(other.downcast_ref::<Moment>()?)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
