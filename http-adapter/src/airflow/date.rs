//! Dates as Airflow writes and takes them.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, SecondsFormat, TimeZone, Timelike, Utc};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::problem::Problem;

/// A date in an answer: `2026-11-21T12:45:50.123456+00:00`, microseconds only where there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown(pub(crate) DateTime<Utc>);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (date, time) = (self.0.date_naive(), self.0.time());
        // What has no place in the mask.
        let is_odd = !(0..=9999).contains(&date.year()) || time.nanosecond() >= 1_000_000_000;
        if is_odd {
            return serializer.serialize_str(&isoformat(self.0.fixed_offset()));
        }
        let mut text = *b"0000-00-00T00:00:00.000000+00:00";
        put(&mut text[0..4], date.year().unsigned_abs());
        put(&mut text[5..7], date.month());
        put(&mut text[8..10], date.day());
        put(&mut text[11..13], time.hour());
        put(&mut text[14..16], time.minute());
        put(&mut text[17..19], time.second());
        let micros = time.nanosecond() / 1000;
        let length = if micros == 0 {
            text.copy_within(26..32, 19);
            25
        } else {
            put(&mut text[20..26], micros);
            32
        };
        serializer.serialize_str(str::from_utf8(&text[..length]).unwrap_or_default())
    }
}

/// Writes a number in decimal digits.
fn put(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// A date as a value.
pub(crate) fn show(date: DateTime<Utc>) -> Value {
    Value::String(isoformat(date.fixed_offset()))
}

/// A date that may be absent.
pub(crate) fn show_option(date: Option<DateTime<Utc>>) -> Value {
    date.map_or(Value::Null, show)
}

/// A date as Airflow shows those of users: in UTC, without saying so.
pub(crate) fn show_naive(date: DateTime<Utc>) -> Value {
    let text = isoformat(date.fixed_offset());
    text.strip_suffix("+00:00").unwrap_or(&text).into()
}

/// Python's `isoformat()`.
pub(crate) fn isoformat(date: DateTime<FixedOffset>) -> String {
    let format = if date.timestamp_subsec_micros() == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    date.to_rfc3339_opts(format, false)
}

/// Parses what has passed as a `date-time`: RFC 3339 with `T` and an offset.
pub(crate) fn parse(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(&text.to_ascii_uppercase()).ok()
}

/// Parses a date of a body whose schema does not check it, as Airflow's own check there does.
pub(crate) fn parse_unchecked(field: &str, text: &str) -> Result<DateTime<Utc>, Problem> {
    match parse_iso(text) {
        Some(Iso::Aware(date)) => Ok(date),
        Some(Iso::Naive) => {
            let detail = "Naive datetime is disallowed".to_owned();
            Err(Problem::bad_request_titled("Invalid datetime format", Some(detail)))
        }
        None => Err(super::field::FieldErrors::one(field, "Not a valid datetime.").into_problem()),
    }
}

enum Iso {
    Aware(DateTime<Utc>),
    Naive,
}

/// `2024-1-2T3:04[:05[.678]][Z|+HH[[:]MM]]`, the separator may be a blank.
fn parse_iso(text: &str) -> Option<Iso> {
    let mut rest = Rest(text.as_bytes());
    let year = rest.number(4, 4)?;
    rest.byte(b"-")?;
    let month = rest.number(1, 2)?;
    rest.byte(b"-")?;
    let day = rest.number(1, 2)?;
    rest.byte(b"T ")?;
    let hour = rest.number(1, 2)?;
    rest.byte(b":")?;
    let minute = rest.number(1, 2)?;
    let mut second = 0;
    let mut micro = 0;
    if rest.byte(b":").is_some() {
        second = rest.number(1, 2)?;
        if rest.byte(b".").is_some() {
            let before = rest.0.len();
            micro = rest.number(1, 6)?;
            micro *= 10_u32.pow(6_u32.saturating_sub(u32::try_from(before - rest.0.len()).ok()?));
            let _finer = rest.number(1, 6);
        }
    }
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?
        .and_hms_micro_opt(hour, minute, second, micro)?;
    let offset = match rest.0 {
        [] => return Some(Iso::Naive),
        b"Z" => 0,
        [sign @ (b'+' | b'-'), digits @ ..] => {
            let mut digits = Rest(digits);
            let hours = digits.number(2, 2)?;
            let _colon = digits.byte(b":");
            let minutes = if digits.0.is_empty() { 0 } else { digits.number(2, 2)? };
            if !digits.0.is_empty() {
                return None;
            }
            let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let date = FixedOffset::east_opt(offset)?.from_local_datetime(&date).single()?;
    Some(Iso::Aware(date.with_timezone(&Utc)))
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let digits = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if digits < least {
            return None;
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        Some(number.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    }

    fn byte(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        allowed.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_python_writes_them() {
        let date = parse("2026-11-21t12:45:50.123400z").unwrap();
        assert_eq!(show(date.with_timezone(&Utc)), "2026-11-21T12:45:50.123400+00:00");
        for text in [
            "2026-11-21T12:45:50.123400Z",
            "2024-03-02T02:00:00+02:00",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "2016-12-31T23:59:60Z",
            "2026-11-21T12:45:50.0000009Z",
        ] {
            let date = parse(text).unwrap().to_utc();
            assert_eq!(serde_json::to_value(Shown(date)).unwrap(), show(date));
        }
        let whole = parse("2024-03-02T02:00:00+02:00").unwrap();
        assert_eq!(isoformat(whole), "2024-03-02T02:00:00+02:00");
        assert_eq!(show(whole.with_timezone(&Utc)), "2024-03-02T00:00:00+00:00");
    }

    #[test]
    fn unchecked_dates_are_taken_as_airflow_takes_them() {
        let good = |text: &str| isoformat(parse_unchecked("d", text).unwrap().fixed_offset());
        assert_eq!(good("2024-02-01 00:00:00+00:00"), "2024-02-01T00:00:00+00:00");
        assert_eq!(good("2024-2-1T3:04Z"), "2024-02-01T03:04:00+00:00");
        assert_eq!(good("2024-02-01T00:00:00.5-0130"), "2024-02-01T01:30:00.500000+00:00");
        assert_eq!(good("2024-02-01T00:00:00.123456789+01"), "2024-01-31T23:00:00.123456+00:00");
        let naive = parse_unchecked("d", "2024-02-02T00:00:00").unwrap_err();
        assert_eq!(naive.body()["title"], "Invalid datetime format");
        for bad in [
            "",
            "x",
            "2024-02-30T00:00:00Z",
            "2024-02-01",
            "2024-02-01T00:00:00+1",
            "2024-02-01T25:00Z",
            "2024-02-01T00:00:00Zx",
        ] {
            let problem = parse_unchecked("d", bad).unwrap_err();
            assert_eq!(problem.body()["detail"], "{'d': ['Not a valid datetime.']}", "{bad}");
        }
    }
}
