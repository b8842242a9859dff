//! Dates and lengths of time, as DAG files give them.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use regex::Regex;

use crate::node::{Data, Node};

/// A moment as Python's `isoformat` shows it.
pub(crate) fn isoformat(at: NaiveDateTime, offset: Option<i32>) -> String {
    let mut text = at.format("%Y-%m-%dT%H:%M:%S").to_string();
    if at.nanosecond() != 0 {
        text.push_str(&format!(".{:06}", at.nanosecond() / 1000));
    }
    if let Some(seconds) = offset {
        let sign = if seconds < 0 { '-' } else { '+' };
        text.push_str(&format!("{sign}{:02}:{:02}", seconds.abs() / 3600, seconds.abs() / 60 % 60));
    }
    text
}

/// The zone of an IANA name.
pub(crate) fn zone(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| format!("'{name}' is not the name of a time zone"))
}

/// A local time in a zone; one that clocks skip counts by the offset before, one that they show twice is the first.
pub(crate) fn in_zone(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.to_utc(),
        LocalResult::None => {
            let before = local - TimeDelta::hours(6);
            let shift = local - before;
            zone.from_local_datetime(&before).earliest().map_or_else(|| local.and_utc(), |at| at.to_utc() + shift)
        }
    }
}

/// A date of a DAG: a date, a moment or its text, all taken as local to `zone`, or a length of time before the last
/// midnight there.
pub(crate) fn dag_date(node: &Node, zone: Tz, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let local = match &node.data {
        Data::Date(date) => date.and_time(NaiveTime::MIN),
        Data::DateTime(at, _) => *at,
        Data::Str(text) => match parse_date(text) {
            Some(local) => local,
            None => {
                let before = relative(text).ok_or_else(|| format!("'{text}' is neither a date nor a relative time"))?;
                let midnight = now.with_timezone(&zone).date_naive().and_time(NaiveTime::MIN);
                midnight.checked_sub_signed(before).ok_or_else(|| format!("'{text}' is too long ago"))?
            }
        },
        _ => return Err(format!("a date is expected, not a value of type '{}'", node.type_name())),
    };
    Ok(in_zone(zone, local))
}

/// A date of a task, which Airflow takes as UTC unless an offset is given.
pub(crate) fn task_date(node: &Node, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    match &node.data {
        Data::DateTime(at, Some(offset)) => Ok((*at - TimeDelta::seconds((*offset).into())).and_utc()),
        _ => dag_date(node, Tz::UTC, now),
    }
}

/// The forms of ISO 8601 that people write. An offset is read and left out, as dag-factory does.
fn parse_date(text: &str) -> Option<NaiveDateTime> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?x)^(\d{4})(?:-?(\d{2})(?:-?(\d{2}))?)?
              (?:[T\x20](\d{2})(?::?(\d{2})(?::?(\d{2})(?:[.,](\d{1,9}))?)?)?)?
              \x20?(?:Z|[-+]\d{2}(?::?\d{2})?)?$",
        )
        .expect("the pattern is a constant")
    });
    let found = FORM.captures(text.trim())?;
    let number = |group: usize, default: u32| found.get(group).map_or(Some(default), |part| part.as_str().parse().ok());
    let date = NaiveDate::from_ymd_opt(found[1].parse().ok()?, number(2, 1)?, number(3, 1)?)?;
    let micros = found.get(7).map_or(Some(0), |part| format!("{:0<6.6}", part.as_str()).parse().ok())?;
    date.and_hms_micro_opt(number(4, 0)?, number(5, 0)?, number(6, 0)?, micros)
}

/// `2 days`, `1 hours`: as dag-factory reads them, of which only the first unit counts.
pub(crate) fn relative(text: &str) -> Option<TimeDelta> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)^(?:(\d+)\s+hour)?(?:(\d+)\s+minute)?(?:(\d+)\s+second)?(?:(\d+)\s+day)?")
            .expect("the pattern is a constant")
    });
    let found = FORM.captures(text)?;
    let mut sum = TimeDelta::zero();
    let mut any = false;
    for (group, unit) in [(1, 3600), (2, 60), (3, 1), (4, 86_400)] {
        if let Some(count) = found.get(group) {
            let seconds = count.as_str().parse::<i64>().ok()?.checked_mul(unit)?;
            sum = sum.checked_add(&TimeDelta::try_seconds(seconds)?)?;
            any = true;
        }
    }
    any.then_some(sum)
}

/// A length of time: a timedelta, or a text such as `5m`, `1h30m` or `PT5M`.
pub(crate) fn duration(node: &Node) -> Result<Duration, String> {
    let micros = match &node.data {
        Data::TimeDelta(micros) => *micros,
        Data::Str(text) => length(text)
            .ok_or_else(|| format!("'{text}' is not a length of time; write 5m, PT5M or a datetime.timedelta"))?,
        _ => return Err(format!("a datetime.timedelta is expected, not a value of type '{}'", node.type_name())),
    };
    let micros = u64::try_from(micros).map_err(|_| "a length of time must not be negative".to_owned())?;
    Ok(Duration::from_micros(micros))
}

/// As [`duration`], with plain numbers as seconds.
pub(crate) fn duration_or_seconds(node: &Node) -> Result<Duration, String> {
    let seconds = match &node.data {
        Data::Int(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
        Data::Float(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
        _ => return duration(node),
    };
    seconds.ok_or_else(|| "a length of time must not be negative".into())
}

fn length(text: &str) -> Option<i64> {
    static ISO: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$")
            .expect("the pattern is a constant")
    });
    static SHORT: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(?:(\d+)w)?\s*(?:(\d+)d)?\s*(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:(\d+(?:\.\d+)?)s)?$")
            .expect("the pattern is a constant")
    });
    let text = text.trim();
    let found = ISO.captures(text).or_else(|| SHORT.captures(text))?;
    let mut micros: i64 = 0;
    let mut any = false;
    for (group, seconds) in [(1, 604_800), (2, 86_400), (3, 3600), (4, 60)] {
        if let Some(count) = found.get(group) {
            let count: i64 = count.as_str().parse().ok()?;
            micros = micros.checked_add(count.checked_mul(seconds)?.checked_mul(1_000_000)?)?;
            any = true;
        }
    }
    if let Some(seconds) = found.get(5) {
        let part = Duration::try_from_secs_f64(seconds.as_str().parse().ok()?).ok()?;
        micros = micros.checked_add(i64::try_from(part.as_micros()).ok()?)?;
        any = true;
    }
    any.then_some(micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Place;

    fn node(data: Data) -> Node {
        Node::new(data, Place::default())
    }

    fn date(text: &str, zone_name: &str) -> Result<String, String> {
        let now = "2024-07-15T01:30:00Z".parse().unwrap();
        dag_date(&node(Data::Str(text.into())), zone(zone_name)?, now).map(|at| at.to_rfc3339())
    }

    #[test]
    fn dates_are_local_to_the_zone() {
        assert_eq!(date("2024-01-01", "UTC").unwrap(), "2024-01-01T00:00:00+00:00");
        assert_eq!(date("2024-07-01", "Europe/Amsterdam").unwrap(), "2024-06-30T22:00:00+00:00");
        assert_eq!(date("2024-07-01T10:00:00+09:00", "UTC").unwrap(), "2024-07-01T10:00:00+00:00");
        assert_eq!(date("20240701", "UTC").unwrap(), "2024-07-01T00:00:00+00:00");
        assert_eq!(date("2 days", "UTC").unwrap(), "2024-07-13T00:00:00+00:00");
        assert_eq!(date("1 hours", "America/New_York").unwrap(), "2024-07-14T03:00:00+00:00");
        assert_eq!(date("2024-03-31 02:30:00", "Europe/Amsterdam").unwrap(), "2024-03-31T01:30:00+00:00");
        assert!(date("soon", "UTC").unwrap_err().contains("soon"));
        assert!(date("2024-13-01", "UTC").is_err());
        assert!(date("2024-01-01", "Mars/Base").unwrap_err().contains("Mars/Base"));
        assert!(date("99999999999999999999 days", "UTC").is_err());
    }

    #[test]
    fn lengths_of_time_have_short_forms() {
        let micros = |text: &str| duration(&node(Data::Str(text.into()))).map(|duration| duration.as_secs_f64());
        assert_eq!(micros("5m"), Ok(300.0));
        assert_eq!(micros("1h30m"), Ok(5400.0));
        assert_eq!(micros("P1DT2H"), Ok(93_600.0));
        assert_eq!(micros("1.5s"), Ok(1.5));
        assert!(micros("").is_err() && micros("5").is_err() && micros("P").is_err());
        assert!(duration(&node(Data::TimeDelta(-1))).is_err());
        assert_eq!(duration_or_seconds(&node(Data::Int(7))), Ok(Duration::from_secs(7)));
    }
}
