//! Dates as Airflow's experimental API takes them: ISO 8601, two common forms, or nearly anything a person writes.
//!
//! What has no offset is in UTC, and what is missing comes from today. Checked against what Airflow makes of the texts in
//! `tests/data/dates.tsv`.

mod iso;
mod lenient;
mod token;

use std::sync::LazyLock;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, TimeZone, Utc};
use regex::Regex;

use iso::Iso;

/// No date is longer; what is written with more blanks than that is none.
const MAX_LENGTH: usize = 200;

/// The moment that a text names, with the offset that it was given with. A length of time or an interval is none.
pub(crate) fn parse(text: &str, now: DateTime<Utc>) -> Option<DateTime<FixedOffset>> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    if text == "now" {
        return Some(now.fixed_offset());
    }
    let moment = match iso::parse(text, now.date_naive()) {
        Some(Iso::Moment(local, offset)) => at(local, offset.unwrap_or(0)),
        Some(Iso::Span) => None,
        None => match common(text, now.date_naive()) {
            Some(common) => common.map(|local| local.and_utc().fixed_offset()),
            None => lenient::parse(text, now.date_naive()).and_then(|(local, offset)| at(local, offset)),
        },
    };
    // As far as Python's dates go; an offset may lead beyond.
    moment.filter(|moment| (1..=9999).contains(&moment.naive_utc().year()))
}

/// A local time at an offset of so many seconds.
fn at(local: NaiveDateTime, offset: i32) -> Option<DateTime<FixedOffset>> {
    FixedOffset::east_opt(offset)?.from_local_datetime(&local).single()
}

/// `2024/05/01 10:00:05.5`, `2024`, `10:05`: day and time are each optional. None for another form, an inner none for a date
/// that does not exist.
fn common(text: &str, today: NaiveDate) -> Option<Option<NaiveDateTime>> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?x)^(?:([0-9]{4})(?:[/:]?([0-9]{2})[/:]?([0-9]{2}))?)?
              (?:\x20?([0-9]{1,2}):([0-9]{1,2})?(?::([0-9]{1,2}))?(?:[.|,]([0-9]{1,9}))?)?$",
        )
        .expect("the pattern is a constant")
    });
    let found = FORM.captures(text)?;
    if found.get(1).is_none() && found.get(4).is_none() {
        return None;
    }
    let number = |group: usize| found.get(group).and_then(|part| part.as_str().parse::<u32>().ok());
    let date = match number(1) {
        Some(year) => i32::try_from(year)
            .ok()
            .and_then(|year| NaiveDate::from_ymd_opt(year, number(2).unwrap_or(1), number(3).unwrap_or(1))),
        None => Some(today),
    };
    let micros = found.get(7).map_or(0, |part| micros(part.as_str()));
    let moment = match (date, number(4), number(5)) {
        (Some(date), None, _) => date.and_hms_opt(0, 0, 0),
        (Some(date), Some(hour), Some(minute)) => date.and_hms_micro_opt(hour, minute, number(6).unwrap_or(0), micros),
        _ => None,
    };
    Some(moment)
}

/// Digits after the point of seconds as microseconds; the seventh and later ones are cut.
fn micros(digits: &str) -> u32 {
    let digits = digits.bytes().chain(std::iter::repeat(b'0')).take(6);
    digits.fold(0, |sum, digit| sum * 10 + u32::from(digit.wrapping_sub(b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-28T14:30:00Z".parse().unwrap()
    }

    fn shown(text: &str) -> String {
        parse(text, now()).map_or_else(|| "-".to_owned(), crate::airflow::date::isoformat)
    }

    #[test]
    fn dates_are_what_airflow_makes_of_them() {
        let recorded = include_str!("../../../tests/data/dates.tsv");
        let wrong: Vec<_> = recorded
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(text, expected)| shown(text) != *expected)
            .map(|(text, expected)| format!("{text:?}: {} instead of {expected}", shown(text)))
            .collect();
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn now_is_now_and_long_texts_are_none() {
        assert_eq!(shown("now"), "2026-11-28T14:30:00+00:00");
        assert_eq!(shown(&format!("2024-01-01{}", " ".repeat(200))), "-");
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text in ".{0,40}") {
            parse(&text, now());
        }

        #[test]
        fn no_heap_of_parts_does_harm(parts in prop::collection::vec(
            prop::sample::select(vec![
                "2024", "05", "6", "31", "99", "0", "20240501", "100000", "123456.5", "240", "999999999999", "10.5", ":", "-",
                "/", ".", ",", " ", "T", "Z", "+", "+02:00", "Jan", "of", "Mon", "am", "p", "h", "m", "s", "W05", "P", "(", ")",
                "UTC", "EST", "inf", "é", "٢", "st",
            ]),
            0..12,
        )) {
            parse(&parts.concat(), now());
        }
    }
}
