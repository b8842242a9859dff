//! `strftime` and `strptime` as Python has them on Linux, in the C locale.

use std::fmt::Write;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use minijinja::{Error, State};

use super::error::{invalid, limit};
use super::moment::{Moment, Zone, offset_text};
use super::work::spend;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The month's English name.
pub(super) fn month_name(month: u32) -> &'static str {
    MONTHS.get(month as usize - 1).copied().unwrap_or_default()
}

/// The weekday's English name.
pub(super) fn day_name(date: NaiveDate) -> &'static str {
    DAYS.get(date.weekday().num_days_from_monday() as usize).copied().unwrap_or_default()
}

/// Formats a moment; `offset` is none and `zone` empty for a naive one.
pub(super) fn strftime(
    state: &mut State,
    at: NaiveDateTime,
    offset: Option<i32>,
    zone: &str,
    format: &str,
) -> Result<String, Error> {
    spend(state, format.len() * 4)?;
    let mut out = String::with_capacity(format.len() * 2);
    let mut rest = format;
    while let Some(found) = rest.find('%') {
        out.push_str(&rest[..found]);
        let directive = &rest[found + 1..];
        let flags = directive.len() - directive.trim_start_matches(['-', '_', '0', '^', '#']).len();
        let width =
            directive[flags..].len() - directive[flags..].trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Some(code) = directive[flags + width..].chars().next() else {
            out.push_str(&rest[found..]);
            return Ok(out);
        };
        let length = flags + width + code.len_utf8();
        if width > 3 {
            return Err(limit("the width in a date format is too large"));
        }
        match directive_text(at, offset, zone, code, &directive[..flags], directive[flags..flags + width].parse().ok())
        {
            Some(text) => out.push_str(&text),
            None => out.push_str(&rest[found..=found + length]),
        }
        rest = &directive[length..];
    }
    out.push_str(rest);
    Ok(out)
}

fn directive_text(
    at: NaiveDateTime,
    offset: Option<i32>,
    zone: &str,
    code: char,
    flags: &str,
    width: Option<usize>,
) -> Option<String> {
    let date = at.date();
    let hour12 = match at.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let sunday = date.weekday().num_days_from_sunday();
    let monday = date.weekday().num_days_from_monday();
    let number = |value: i64, digits: usize, pad: char| {
        let pad = match flags.chars().rev().find(|c| matches!(c, '-' | '_' | '0')) {
            Some('_') => ' ',
            Some('0') => '0',
            Some(_) => return Some(value.to_string()),
            None => pad,
        };
        let digits = width.unwrap_or(digits);
        Some(if pad == ' ' { format!("{value:>digits$}") } else { format!("{value:0digits$}") })
    };
    let text = |value: &str| {
        let value = if flags.contains('^') { value.to_uppercase() } else { value.to_owned() };
        Some(format!("{value:>width$}", width = width.unwrap_or(0)))
    };
    let composed = |format: &str| Some(at.format(format).to_string());
    let year = i64::from(date.year());
    match code {
        'a' => text(&day_name(date)[..3]),
        'A' => text(day_name(date)),
        'b' | 'h' => text(&month_name(date.month())[..3]),
        'B' => text(month_name(date.month())),
        'c' => composed("%a %b %e %H:%M:%S %Y"),
        'C' => number(year / 100, 2, '0'),
        'd' => number(date.day().into(), 2, '0'),
        'D' | 'x' => composed("%m/%d/%y"),
        'e' => number(date.day().into(), 2, ' '),
        'f' => Some(format!("{:06}", at.nanosecond() / 1000)),
        'F' => composed("%Y-%m-%d"),
        'g' => number(i64::from(date.iso_week().year()).rem_euclid(100), 2, '0'),
        'G' => number(date.iso_week().year().into(), 1, '0'),
        'H' => number(at.hour().into(), 2, '0'),
        'I' => number(hour12.into(), 2, '0'),
        'j' => number(date.ordinal().into(), 3, '0'),
        'k' => number(at.hour().into(), 2, ' '),
        'l' => number(hour12.into(), 2, ' '),
        'm' => number(date.month().into(), 2, '0'),
        'M' => number(at.minute().into(), 2, '0'),
        'n' => Some("\n".to_owned()),
        'p' => text(if at.hour() < 12 { "AM" } else { "PM" }),
        'P' => text(if at.hour() < 12 { "am" } else { "pm" }),
        'r' => composed("%I:%M:%S %p"),
        'R' => composed("%H:%M"),
        's' => Some(at.and_utc().timestamp().to_string()),
        'S' => number(at.second().into(), 2, '0'),
        't' => Some("\t".to_owned()),
        'T' | 'X' => composed("%H:%M:%S"),
        'u' => number(i64::from(monday) + 1, 1, '0'),
        'U' => number(i64::from((date.ordinal() + 6 - sunday) / 7), 2, '0'),
        'V' => number(date.iso_week().week().into(), 2, '0'),
        'w' => number(sunday.into(), 1, '0'),
        'W' => number(i64::from((date.ordinal() + 6 - monday) / 7), 2, '0'),
        'y' => number(year.rem_euclid(100), 2, '0'),
        'Y' => number(year, 1, '0'),
        'z' => Some(offset.map(|offset| offset_text(offset, "")).unwrap_or_default()),
        'Z' => Some(zone.to_owned()),
        '%' => Some("%".to_owned()),
        _ => None,
    }
}

#[derive(Default)]
struct Parsed {
    year: Option<i64>,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
    ordinal: Option<u32>,
    afternoon: Option<bool>,
    zone: Option<Zone>,
}

/// `datetime.strptime`: naive, unless the format names an offset.
pub(super) fn strptime(text: &str, format: &str) -> Result<Moment, Error> {
    let mismatch = || invalid(format!("time data '{text}' does not match format '{format}'"));
    let mut parsed = Parsed { month: 1, day: 1, ..Parsed::default() };
    let mut rest = text;
    let mut directives = expand(format);
    directives.reverse();
    while let Some(c) = directives.pop() {
        if c.is_whitespace() {
            let trimmed = rest.trim_start();
            if trimmed.len() == rest.len() {
                return Err(mismatch());
            }
            rest = trimmed;
        } else if c == '%' {
            let code = directives.pop().ok_or_else(|| invalid(format!("stray % in format '{format}'")))?;
            rest = parse_directive(code, rest, &mut parsed, format)?.ok_or_else(mismatch)?;
        } else {
            rest = rest.strip_prefix(c).ok_or_else(mismatch)?;
        }
    }
    if !rest.is_empty() {
        return Err(invalid(format!("unconverted data remains: {rest}")));
    }
    let hour = match parsed.afternoon {
        Some(true) if parsed.hour < 12 => parsed.hour + 12,
        Some(false) if parsed.hour == 12 => 0,
        _ => parsed.hour,
    };
    let year = i32::try_from(parsed.year.unwrap_or(1900)).map_err(|_| mismatch())?;
    let date = match parsed.ordinal {
        Some(ordinal) => NaiveDate::from_yo_opt(year, ordinal),
        None => NaiveDate::from_ymd_opt(year, parsed.month, parsed.day),
    };
    let date = date.ok_or_else(|| invalid("day is out of range for month"))?;
    let time = NaiveTime::from_hms_micro_opt(hour, parsed.minute, parsed.second.min(59), parsed.micros);
    let local = date.and_time(time.ok_or_else(mismatch)?);
    Ok(Moment::from_local(local, parsed.zone.unwrap_or(Zone::Naive), false))
}

fn expand(format: &str) -> Vec<char> {
    let mut out = String::with_capacity(format.len());
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('c')) => out.push_str("%a %b %d %H:%M:%S %Y"),
            ('%', Some('D' | 'x')) => out.push_str("%m/%d/%y"),
            ('%', Some('F')) => out.push_str("%Y-%m-%d"),
            ('%', Some('T' | 'X')) => out.push_str("%H:%M:%S"),
            ('%', Some('R')) => out.push_str("%H:%M"),
            ('%', Some(code)) => {
                let _ = write!(out, "%{code}");
            }
            (c, _) => out.push(c),
        }
    }
    out.chars().collect()
}

/// Takes what a directive matches; none if it does not.
fn parse_directive<'t>(code: char, text: &'t str, parsed: &mut Parsed, format: &str) -> Result<Option<&'t str>, Error> {
    let digits = |least: usize, most: usize| {
        let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
        (count >= least).then(|| (text[..count].parse::<u32>().unwrap_or(0), &text[count..]))
    };
    let bounded = |range: std::ops::RangeInclusive<u32>| {
        // Python's patterns take fewer digits where more would be out of range.
        let most = range.end().to_string().len();
        (1..=most).rev().find_map(|most| digits(1, most).filter(|(value, _)| range.contains(value)))
    };
    let word = |words: &[&str], length: Option<usize>| {
        words.iter().enumerate().find_map(|(index, word)| {
            let word = &word[..length.unwrap_or(word.len())];
            let matches = text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
            matches.then(|| (index as u32 + 1, &text[word.len()..]))
        })
    };
    macro_rules! store {
        ($found:expr, $field:ident) => {
            $found.map(|(value, rest)| {
                parsed.$field = value;
                rest
            })
        };
    }
    Ok(match code {
        'Y' => digits(4, 4).map(|(value, rest)| {
            parsed.year = Some(value.into());
            rest
        }),
        'y' => digits(2, 2).map(|(value, rest)| {
            parsed.year = Some(i64::from(value) + if value < 69 { 2000 } else { 1900 });
            rest
        }),
        'm' => store!(bounded(1..=12), month),
        'd' | 'e' => store!(bounded(1..=31), day),
        'H' | 'k' => store!(bounded(0..=23), hour),
        'I' | 'l' => store!(bounded(1..=12), hour),
        'M' => store!(bounded(0..=59), minute),
        'S' => store!(bounded(0..=61), second),
        'f' => digits(1, 6).map(|(value, rest)| {
            let count = text.len() - rest.len();
            parsed.micros = value * 10_u32.pow(6 - count as u32);
            rest
        }),
        'j' => bounded(1..=366).map(|(value, rest)| {
            parsed.ordinal = Some(value);
            rest
        }),
        'B' => store!(word(&MONTHS, None), month),
        'b' | 'h' => store!(word(&MONTHS, Some(3)), month),
        'A' => word(&DAYS, None).map(|(_, rest)| rest),
        'a' => word(&DAYS, Some(3)).map(|(_, rest)| rest),
        'w' => bounded(0..=6).map(|(_, rest)| rest),
        'u' => bounded(1..=7).map(|(_, rest)| rest),
        'p' => word(&["AM", "PM"], None).map(|(value, rest)| {
            parsed.afternoon = Some(value == 2);
            rest
        }),
        'z' => parse_offset(text).map(|(offset, rest)| {
            parsed.zone = Some(Zone::Fixed(offset));
            rest
        }),
        'Z' => word(&["UTC", "GMT"], None).map(|(_, rest)| rest),
        '%' => text.strip_prefix('%'),
        other => return Err(invalid(format!("'{other}' is a bad directive in format '{format}'"))),
    })
}

/// An offset such as `+01:00`, `-0500` or `Z`, in seconds.
pub(super) fn parse_offset(text: &str) -> Option<(i32, &str)> {
    if let Some(rest) = text.strip_prefix(['Z', 'z']) {
        return Some((0, rest));
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let two =
        |text: &str| text.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?.parse::<i32>().ok();
    let hours = two(&text[1..])?;
    let rest = &text[3..];
    let after = rest.strip_prefix(':').unwrap_or(rest);
    let (minutes, rest) = match two(after) {
        Some(minutes) => (minutes, &after[2..]),
        None => (0, rest),
    };
    (hours < 24 && minutes < 60).then_some((sign * (hours * 3600 + minutes * 60), rest))
}
