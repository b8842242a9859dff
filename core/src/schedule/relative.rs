//! `dateutil.relativedelta`: lengths in calendar units, and settings of single units.

use std::fmt;

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use serde_json::{Map, Value};

const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
/// The last days of the months, of a leap year but for February, as dateutil counts them.
const YEAR_DAYS: [i64; 12] = [31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 366];

/// A length in calendar units. Relative units are carried over into the next larger ones (60 minutes are an hour, but 31 days
/// no month); absolute ones replace those of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RelativeDelta {
    years: i64,
    months: i64,
    days: i64,
    leapdays: i64,
    hours: i64,
    minutes: i64,
    seconds: i64,
    microseconds: i64,
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    hour: Option<u32>,
    minute: Option<u32>,
    second: Option<u32>,
    microsecond: Option<u32>,
    /// A weekday, Monday first, and the how-manieth it is from the day on; back if that is negative.
    weekday: Option<(u32, Option<i64>)>,
}

impl RelativeDelta {
    /// Reads the keyword arguments.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn new(fields: &Map<String, Value>) -> Result<Self, String> {
        let mut new = Self::default();
        let mut weeks = 0;
        let (mut yearday, mut nlyearday) = (0, 0);
        for (name, value) in fields {
            if name == "__type__" || value.is_null() {
                continue;
            }
            if name == "weekday" {
                new.weekday = Some(weekday(value)?);
                continue;
            }
            let number = integer(value).ok_or_else(|| format!("'{name}' of relativedelta must be an integer"))?;
            let within = |least: i64, most: i64| match u32::try_from(number) {
                Ok(number) if (least..=most).contains(&number.into()) => Ok(Some(number)),
                _ => Err(format!("'{name}' of relativedelta must be from {least} to {most}, not {number}")),
            };
            match name.as_str() {
                "years" => new.years = number,
                "months" => new.months = number,
                "weeks" => weeks = number,
                "days" => new.days = number,
                "leapdays" => new.leapdays = number,
                "hours" => new.hours = number,
                "minutes" => new.minutes = number,
                "seconds" => new.seconds = number,
                "microseconds" => new.microseconds = number,
                // Zero leaves these three as they are.
                "year" => new.year = within(0, 9999)?.and_then(|year| i32::try_from(year).ok()),
                "month" => new.month = within(0, 12)?,
                "day" => new.day = within(0, 31)?,
                "hour" => new.hour = within(0, 23)?,
                "minute" => new.minute = within(0, 59)?,
                "second" => new.second = within(0, 59)?,
                "microsecond" => new.microsecond = within(0, 999_999)?,
                "yearday" => yearday = number,
                "nlyearday" => nlyearday = number,
                _ => return Err(format!("'{name}' is an invalid keyword argument for relativedelta")),
            }
        }
        new.set_year_day(yearday, nlyearday)?;
        let days = weeks.checked_mul(7).and_then(|days| new.days.checked_add(days));
        new.days = days.ok_or("the relativedelta is too long")?;
        new.carry().ok_or("the relativedelta is too long")?;
        Ok(new)
    }

    fn set_year_day(&mut self, yearday: i64, nlyearday: i64) -> Result<(), String> {
        let day = if nlyearday != 0 { nlyearday } else { yearday };
        if day == 0 {
            return Ok(());
        }
        if nlyearday == 0 && day > 59 {
            self.leapdays = -1;
        }
        let wrong = || format!("{day} is no day of a year");
        let month = YEAR_DAYS.iter().position(|last| day <= *last).ok_or_else(wrong)?;
        let before = month.checked_sub(1).map_or(0, |month| YEAR_DAYS[month]);
        self.day = Some(u32::try_from(day - before).map_err(|_| wrong())?);
        self.month = u32::try_from(month + 1).ok();
        Ok(())
    }

    fn carry(&mut self) -> Option<()> {
        let units = [
            (&mut self.microseconds, 1_000_000),
            (&mut self.seconds, 60),
            (&mut self.minutes, 60),
            (&mut self.hours, 24),
        ];
        let mut carried = 0_i64;
        for (unit, size) in units {
            let all = unit.checked_add(carried)?;
            (*unit, carried) = (all % size, all / size);
        }
        self.days = self.days.checked_add(carried)?;
        (self.months, carried) = (self.months % 12, self.months / 12);
        self.years = self.years.checked_add(carried)?;
        Some(())
    }

    /// The moment that lies this length after `at`, or before it with a `sign` of -1; settings apply either way.
    pub(super) fn add_to(&self, at: NaiveDateTime, sign: i64) -> Option<NaiveDateTime> {
        let year = i64::from(self.year.filter(|year| *year != 0).unwrap_or(at.year()));
        let month = i64::from(self.month.filter(|month| *month != 0).unwrap_or(at.month()));
        let months = year.checked_mul(12)?.checked_add(month - 1)?;
        let length = self.years.checked_mul(12)?.checked_add(self.months)?.checked_mul(sign)?;
        let months = months.checked_add(length)?;
        let (year, month) =
            (i32::try_from(months.div_euclid(12)).ok()?, u32::try_from(months.rem_euclid(12) + 1).ok()?);
        let first = NaiveDate::from_ymd_opt(year, month, 1).filter(|date| (1..=9999).contains(&date.year()))?;
        let day = self.day.filter(|day| *day != 0).unwrap_or(at.day());
        let date = first.with_day(day.min(first.num_days_in_month().into()))?;
        let time = NaiveTime::from_hms_micro_opt(
            self.hour.unwrap_or(at.hour()),
            self.minute.unwrap_or(at.minute()),
            self.second.unwrap_or(at.second()),
            self.microsecond.unwrap_or(at.nanosecond() / 1000),
        )?;
        let mut days = self.days.checked_mul(sign)?;
        if month > 2 && first.leap_year() {
            days = days.checked_add(self.leapdays)?;
        }
        let micros = [(days, 86_400), (self.hours * sign, 3600), (self.minutes * sign, 60), (self.seconds * sign, 1)]
            .into_iter()
            .try_fold(self.microseconds * sign, |sum, (count, seconds)| {
                sum.checked_add(count.checked_mul(seconds * 1_000_000)?)
            })?;
        let moved = date.and_time(time).checked_add_signed(TimeDelta::microseconds(micros))?;
        let Some((weekday, nth)) = self.weekday else { return Some(moved) };
        let (from, to) = (moved.weekday().num_days_from_monday(), weekday);
        let nth = nth.filter(|nth| *nth != 0).unwrap_or(1);
        let weeks = (nth.unsigned_abs() - 1).checked_mul(7)?;
        if nth > 0 {
            moved.checked_add_days(Days::new(weeks.checked_add(u64::from((7 + to - from) % 7))?))
        } else {
            moved.checked_sub_days(Days::new(weeks.checked_add(u64::from((7 + from - to) % 7))?))
        }
    }

    /// Whether it leads forward from any day of a leap year.
    pub(super) fn ever_leads_forward(&self) -> bool {
        let noon = NaiveDate::from_ymd_opt(2024, 1, 1).and_then(|date| date.and_hms_opt(12, 0, 0));
        let days = (0..366).filter_map(|day| noon?.checked_add_days(Days::new(day)));
        days.into_iter().any(|at| self.add_to(at, 1).is_some_and(|moved| moved > at))
    }

    /// The length in seconds if months had 30 days and years 365, without what is below a second.
    pub(super) fn rough_seconds(&self) -> i64 {
        let units = [
            (self.years, 365 * 86_400),
            (self.months, 30 * 86_400),
            (self.days, 86_400),
            (self.hours, 3600),
            (self.minutes, 60),
            (self.seconds, 1),
        ];
        units.into_iter().fold(0, |sum: i64, (count, size)| sum.saturating_add(count.saturating_mul(size)))
    }
}

impl fmt::Display for RelativeDelta {
    /// As Python's `repr`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relative = [
            ("years", self.years),
            ("months", self.months),
            ("days", self.days),
            ("leapdays", self.leapdays),
            ("hours", self.hours),
            ("minutes", self.minutes),
            ("seconds", self.seconds),
            ("microseconds", self.microseconds),
        ];
        let mut parts: Vec<String> =
            relative.iter().filter(|(_, value)| *value != 0).map(|(name, value)| format!("{name}={value:+}")).collect();
        let year = self.year.map(|year| ("year", year.to_string()));
        let number = |name, value: Option<u32>| value.map(|value| (name, value.to_string()));
        let weekday = self.weekday.map(|(day, nth)| {
            let name = WEEKDAYS.get(day as usize).unwrap_or(&"");
            ("weekday", nth.map_or_else(|| (*name).to_owned(), |nth| format!("{name}({nth:+})")))
        });
        let absolute = [
            year,
            number("month", self.month),
            number("day", self.day),
            weekday,
            number("hour", self.hour),
            number("minute", self.minute),
            number("second", self.second),
            number("microsecond", self.microsecond),
        ];
        parts.extend(absolute.into_iter().flatten().map(|(name, value)| format!("{name}={value}")));
        write!(f, "relativedelta({})", parts.join(", "))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "checked to be a whole number in range")]
fn integer(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15).map(|f| f as i64))
}

/// `0`, `"MO"`, `"MO(-1)"`, or as Airflow stores it, `[0, -1]`.
fn weekday(value: &Value) -> Result<(u32, Option<i64>), String> {
    let wrong = || format!("'weekday' of relativedelta must be such as 0, MO or FR(-1), not {value}");
    // Python counts back from the end of a list.
    let day = |number: i64| u32::try_from(if number < 0 { number + 7 } else { number }).ok().filter(|day| *day < 7);
    let nth = |number: i64| Some(number).filter(|nth| *nth != 0);
    let read = match value {
        Value::Number(number) => number.as_i64().and_then(day).map(|day| (day, None)),
        Value::Array(parts) => match parts.as_slice() {
            [number] => number.as_i64().and_then(day).map(|day| (day, None)),
            [number, count] => match (number.as_i64().and_then(day), count) {
                (Some(day), Value::Null) => Some((day, None)),
                (Some(day), count) => count.as_i64().and_then(nth).map(|nth| (day, Some(nth))),
                _ => None,
            },
            _ => None,
        },
        Value::String(text) => {
            let (name, count) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
                Some((name, count)) => (name, Some(count)),
                None => (text.as_str(), None),
            };
            let day = WEEKDAYS.iter().zip(0..).find(|(known, _)| **known == name).map(|(_, day)| day);
            match count {
                None => day.map(|day| (day, None)),
                Some(count) => {
                    let count = count.parse().ok().and_then(nth);
                    day.zip(count).map(|(day, count)| (day, Some(count)))
                }
            }
        }
        _ => None,
    };
    read.ok_or_else(wrong)
}
