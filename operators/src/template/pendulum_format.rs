//! pendulum's own format tokens: `YYYY-MM-DD HH:mm:ss`.

use chrono::{Datelike, Timelike};
use minijinja::Error;

use super::error::limit;
use super::moment::{Moment, offset_text};
use super::strftime::{day_name, month_name};

// The longer come first, as each takes what it can.
const TOKENS: [&str; 47] = [
    "LLLL", "LLL", "LTS", "LT", "LL", "L", "YYYY", "YY", "Y", "Qo", "Q", "MMMM", "MMM", "MM", "Mo", "M", "DDDo",
    "DDDD", "DDD", "DD", "Do", "D", "dddd", "ddd", "dd", "do", "d", "E", "HH", "H", "hh", "h", "mm", "m", "ss", "s",
    "SSSSSS", "SSSSS", "SSSS", "SSS", "SS", "S", "X", "x", "ZZ", "zz", "A",
];

/// Formats a moment by pendulum's tokens, in English.
pub(super) fn format(moment: &Moment, format: &str) -> Result<String, Error> {
    if format.len() > 10_000 {
        return Err(limit("the date format is too long"));
    }
    let mut out = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        if first == '['
            && let Some(end) = rest.find(']')
        {
            out.push_str(&rest[1..end]);
            rest = &rest[end + 1..];
            continue;
        }
        if first == '\\'
            && let Some(escaped) = rest[1..].chars().next()
        {
            out.push(escaped);
            rest = &rest[1 + escaped.len_utf8()..];
            continue;
        }
        let token = TOKENS.iter().find(|token| rest.starts_with(**token)).copied();
        let token = token.or_else(|| ["Z", "z", "a"].into_iter().find(|token| rest.starts_with(token)));
        match token {
            Some(token) => {
                out.push_str(&token_text(moment, token)?);
                rest = &rest[token.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    Ok(out)
}

fn ordinal(number: u32) -> String {
    let suffix = match (number % 10, number % 100) {
        (1, tens) if tens != 11 => "st",
        (2, tens) if tens != 12 => "nd",
        (3, tens) if tens != 13 => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

fn token_text(moment: &Moment, token: &str) -> Result<String, Error> {
    let local = moment.local();
    let date = local.date();
    let hour12 = match local.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let micros = moment.micros();
    let quarter = date.month0() / 3 + 1;
    let sunday = date.weekday().num_days_from_sunday();
    Ok(match token {
        "LLLL" => format(moment, "dddd, MMMM D, YYYY h:mm A")?,
        "LLL" => format(moment, "MMMM D, YYYY h:mm A")?,
        "LTS" => format(moment, "h:mm:ss A")?,
        "LT" => format(moment, "h:mm A")?,
        "LL" => format(moment, "MMMM D, YYYY")?,
        "L" => format(moment, "MM/DD/YYYY")?,
        "YYYY" | "Y" => date.year().to_string(),
        "YY" => date.year().to_string().get(2..).unwrap_or_default().to_owned(),
        "Q" => quarter.to_string(),
        "Qo" => ordinal(quarter),
        "MMMM" => month_name(date.month()).to_owned(),
        "MMM" => month_name(date.month())[..3].to_owned(),
        "MM" => format!("{:02}", date.month()),
        "Mo" => ordinal(date.month()),
        "M" => date.month().to_string(),
        "DDDD" => format!("{:03}", date.ordinal()),
        "DDD" => date.ordinal().to_string(),
        "DDDo" => ordinal(date.ordinal()),
        "DD" => format!("{:02}", date.day()),
        "Do" => ordinal(date.day()),
        "D" => date.day().to_string(),
        "dddd" => day_name(date).to_owned(),
        "ddd" => day_name(date)[..3].to_owned(),
        "dd" => day_name(date)[..2].to_owned(),
        "do" => ordinal(sunday),
        "d" => sunday.to_string(),
        "E" => date.weekday().number_from_monday().to_string(),
        "HH" => format!("{:02}", local.hour()),
        "H" => local.hour().to_string(),
        "hh" => format!("{hour12:02}"),
        "h" => hour12.to_string(),
        "mm" => format!("{:02}", local.minute()),
        "m" => local.minute().to_string(),
        "ss" => format!("{:02}", local.second()),
        "s" => local.second().to_string(),
        "S" | "SS" | "SSS" | "SSSS" | "SSSSS" | "SSSSSS" => format!("{micros:06}")[..token.len()].to_owned(),
        "X" => moment.as_utc().and_utc().timestamp().to_string(),
        "x" => moment.as_utc().and_utc().timestamp_millis().to_string(),
        "ZZ" => offset_text(moment.offset().unwrap_or(0), ""),
        "Z" => offset_text(moment.offset().unwrap_or(0), ":"),
        "zz" => moment.zone_abbreviation(),
        "z" => moment.zone_name().unwrap_or_default(),
        "A" => if local.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        _ => if local.hour() < 12 { "am" } else { "pm" }.to_owned(),
    })
}
