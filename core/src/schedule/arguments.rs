//! What a declaration passes to a timetable's class.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value};

use super::delta::Delta;
use super::relative::RelativeDelta;

/// Arguments of a class, by place and by name. Each is taken once; what is left over is an error.
pub(super) struct Arguments<'a> {
    class: &'a str,
    positional: std::slice::Iter<'a, Value>,
    named: Map<String, Value>,
}

impl<'a> Arguments<'a> {
    /// Reads `{"args": […], "kwargs": {…}}`, or simply `{"name": value}`.
    pub(super) fn new(class: &'a str, declared: &'a Value) -> Result<Self, String> {
        let positional = match declared.get("args").unwrap_or(&Value::Null) {
            Value::Null => &[],
            Value::Array(positional) => positional.as_slice(),
            other => return Err(format!("the positional arguments of {class} must be a list, not {other}")),
        };
        let named = match declared {
            Value::Null => Map::new(),
            Value::Object(all) => match all.get("kwargs") {
                Some(Value::Object(named)) => named.clone(),
                None if !all.contains_key("args") => all.clone(),
                None | Some(Value::Null) => Map::new(),
                Some(other) => return Err(format!("the keyword arguments of {class} must be an object, not {other}")),
            },
            other => return Err(format!("the arguments of {class} must be an object, not {other}")),
        };
        Ok(Self { class, positional: positional.iter(), named })
    }

    /// The next positional argument, or the one of this name.
    pub(super) fn next(&mut self, name: &str) -> Result<Option<Value>, String> {
        match (self.positional.next(), self.named.remove(name)) {
            (Some(_), Some(_)) => Err(format!("{} got multiple values for argument '{name}'", self.class)),
            (one, other) => Ok(one.cloned().or(other)),
        }
    }

    /// The argument of this name.
    pub(super) fn named(&mut self, name: &str) -> Option<Value> {
        self.named.remove(name)
    }

    /// All positional arguments.
    pub(super) fn rest(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.positional).cloned().collect()
    }

    pub(super) fn missing(&self, name: &str) -> String {
        format!("{} needs the argument '{name}'", self.class)
    }

    pub(super) fn wrong(&self, name: &str, expected: &str, found: &Value) -> String {
        format!("'{name}' of {} must be {expected}, not {found}", self.class)
    }

    /// Refuses what has not been taken.
    pub(super) fn finish(mut self) -> Result<(), String> {
        if self.positional.next().is_some() {
            return Err(format!("{} got too many positional arguments", self.class));
        }
        match self.named.keys().next() {
            Some(name) => Err(format!("{} got an unexpected argument '{name}'", self.class)),
            None => Ok(()),
        }
    }

    pub(super) fn text(&self, name: &str, value: Option<Value>) -> Result<String, String> {
        match value {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.wrong(name, "a text", &other)),
            None => Err(self.missing(name)),
        }
    }

    pub(super) fn flag(&self, name: &str, value: Option<Value>) -> Result<bool, String> {
        match value {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.wrong(name, "true or false", &other)),
        }
    }

    pub(super) fn zone(&self, value: Option<Value>) -> Result<Tz, String> {
        zone(&self.text("timezone", value)?)
    }

    /// A `timedelta` (tagged as such, or in seconds), or a `relativedelta` (tagged as such).
    pub(super) fn delta(&self, name: &str, value: Option<Value>) -> Result<Delta, String> {
        let value = value.ok_or_else(|| self.missing(name))?;
        let wrong = || self.wrong(name, "a timedelta or relativedelta", &value);
        if let Some(seconds) = value.as_f64() {
            return fixed(&[(seconds, 1_000_000)]).ok_or_else(wrong);
        }
        let fields = value.as_object().ok_or_else(wrong)?;
        let class = fields.get("__type__").and_then(Value::as_str).unwrap_or_default();
        match class.rsplit('.').next().unwrap_or_default() {
            "timedelta" => {
                let units = [
                    ("weeks", 604_800_000_000),
                    ("days", 86_400_000_000),
                    ("hours", 3_600_000_000),
                    ("minutes", 60_000_000),
                    ("seconds", 1_000_000),
                    ("milliseconds", 1_000),
                    ("microseconds", 1),
                ];
                let mut parts = Vec::new();
                for (key, value) in fields.iter().filter(|(key, _)| *key != "__type__") {
                    let (_, unit) = units.iter().find(|(unit, _)| unit == key).ok_or_else(wrong)?;
                    parts.push((value.as_f64().ok_or_else(wrong)?, *unit));
                }
                fixed(&parts).ok_or_else(wrong)
            }
            "relativedelta" => RelativeDelta::new(fields).map(Delta::Relative),
            _ => Err(wrong()),
        }
    }

    /// Moments as texts; without an offset, they are in UTC, as those of `pendulum.datetime` are.
    pub(super) fn dates(&self, name: &str, value: Option<Value>) -> Result<Vec<DateTime<Utc>>, String> {
        let value = value.ok_or_else(|| self.missing(name))?;
        let dates = value.as_array().ok_or_else(|| self.wrong(name, "a list of dates", &value))?;
        let read =
            |date: &Value| date.as_str().and_then(moment).ok_or_else(|| self.wrong(name, "a list of dates", date));
        dates.iter().map(read).collect()
    }
}

pub(super) fn zone(name: &str) -> Result<Tz, String> {
    if name.eq_ignore_ascii_case("utc") {
        return Ok(Tz::UTC);
    }
    name.parse().map_err(|_| format!("'{name}' is not the name of a time zone"))
}

/// Lengths in units of microseconds, summed; rounded to microseconds, as Python does.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "checked to be in range")]
fn fixed(parts: &[(f64, i64)]) -> Option<Delta> {
    let micros = parts.iter().try_fold(0_i64, |sum, (count, unit)| {
        let micros = (count * *unit as f64).round_ties_even();
        sum.checked_add((micros.abs() < 9e18).then_some(micros as i64)?)
    })?;
    Some(Delta::Fixed(TimeDelta::microseconds(micros)))
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    let text = text.replacen(' ', "T", 1);
    let with_offset = || DateTime::parse_from_rfc3339(&text).ok().map(|at| at.to_utc());
    let without = || text.parse::<NaiveDateTime>().ok().map(|at| at.and_utc());
    let day = || text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0)).map(|at| at.and_utc());
    with_offset().or_else(without).or_else(day)
}
