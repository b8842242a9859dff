//! ISO 8601: calendar, week and ordinal dates, extended or basic; times; intervals, which are no moment.

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, Weekday};

use super::micros;

/// What a text in the standard's forms stands for.
pub(super) enum Iso {
    /// A moment, with the seconds of its offset.
    Moment(NaiveDateTime, Option<i32>),
    /// A length of time or an interval.
    Span,
}

/// None where the text has another form, or names a date that does not exist.
pub(super) fn parse(text: &str, today: NaiveDate) -> Option<Iso> {
    let whole = |text| {
        let mut rest = Rest(text);
        rest.moment(today).filter(|_| rest.0.is_empty())
    };
    if is_duration(text) {
        return Some(Iso::Span);
    }
    if let Some((first, second)) = text.split_once('/') {
        let is_part = |text| is_duration(text) || whole(text).is_some();
        return (is_part(first) && is_part(second)).then_some(Iso::Span);
    }
    whole(text).map(|(local, offset)| Iso::Moment(local, offset))
}

/// `P1D`, `PT1H`: told by how it begins, since no date begins so.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else { return false };
    rest.strip_prefix('T').unwrap_or(rest).starts_with(|c: char| c.is_ascii_digit())
}

/// The part of the text that is still to be read.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn moment(&mut self, today: NaiveDate) -> Option<(NaiveDateTime, Option<i32>)> {
        let bytes = self.0.as_bytes();
        if bytes.first() == Some(&b'T') {
            return self.time(today, false, false).map(|(local, _)| (local, None));
        }
        if bytes.get(2) == Some(&b':') {
            // A time alone; its offset does not count.
            return self.time(today, true, true).map(|(local, _)| (local, None));
        }
        let (date, is_extended) = self.date()?;
        if self.0.is_empty() {
            return Some((date.and_hms_opt(0, 0, 0)?, None));
        }
        self.time(date, is_extended, false)
    }

    /// The date, and whether its parts are separated.
    fn date(&mut self) -> Option<(NaiveDate, bool)> {
        let year = i32::try_from(self.number(4)?).ok().filter(|year| *year > 0)?;
        let is_extended = self.eat('-');
        if self.eat('W') {
            let week = self.number(2)?;
            let day = match (self.at_end_of_date(), is_extended) {
                (true, _) => 1,
                (false, true) if !self.eat('-') => return None,
                (false, _) => self.number(1)?,
            };
            return Some((week_date(year, week, day)?, is_extended));
        }
        let month = self.number(2)?;
        if is_extended {
            if self.at_end_of_date() {
                return Some((NaiveDate::from_ymd_opt(year, month, 1)?, true));
            }
            if self.eat('-') {
                return Some((NaiveDate::from_ymd_opt(year, month, self.number(2)?)?, true));
            }
        }
        let digit = self.number(1)?;
        if is_extended || self.at_end_of_date() {
            return Some((NaiveDate::from_yo_opt(year, month * 10 + digit)?, is_extended));
        }
        let day = digit * 10 + self.number(1)?;
        Some((NaiveDate::from_ymd_opt(year, month, day)?, false))
    }

    /// The time after `T` or a blank (or at once, if `is_bare`). It is separated as the date is, once it has seconds.
    fn time(&mut self, date: NaiveDate, is_extended: bool, is_bare: bool) -> Option<(NaiveDateTime, Option<i32>)> {
        if !is_bare && !self.eat('T') && !self.eat(' ') {
            return None;
        }
        let hour = self.number(2)?;
        let (mut minute, mut second, mut micro) = (0, 0, 0);
        if !self.at_end_of_time() {
            let is_separated = self.eat(':');
            minute = self.number(2)?;
            if !self.at_end_of_time() {
                if is_separated && !(self.eat(':') && is_extended) {
                    return None;
                }
                second = self.number(2)?;
                if self.eat('.') || self.eat(',') {
                    let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
                    let (fraction, rest) = self.0.split_at(digits);
                    micro = (digits > 0).then(|| micros(fraction))?;
                    self.0 = rest;
                }
            }
            if !is_separated && is_extended {
                return None;
            }
        }
        let offset = self.offset()?;
        Some((date.and_hms_micro_opt(hour, minute, second, micro)?, offset))
    }

    /// An inner none where there is no offset.
    fn offset(&mut self) -> Option<Option<i32>> {
        if self.eat('Z') {
            return Some(Some(0));
        }
        let sign = match (self.eat('+'), self.eat('-')) {
            (true, _) => 1,
            (_, true) => -1,
            _ => return Some(None),
        };
        let hours = self.number(2)?;
        self.eat(':');
        let minutes = if self.0.is_empty() { 0 } else { self.number(2)? };
        Some(Some(sign * i32::try_from(hours * 3600 + minutes * 60).ok()?))
    }

    fn at_end_of_date(&self) -> bool {
        self.0.is_empty() || self.0.starts_with(['T', ' '])
    }

    fn at_end_of_time(&self) -> bool {
        self.0.is_empty() || self.0.starts_with(['Z', '+', '-'])
    }

    /// A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        number.parse().ok()
    }

    fn eat(&mut self, wanted: char) -> bool {
        match self.0.strip_prefix(wanted) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }
}

/// Week 0 and day 0 are those before the first, as Airflow counts.
fn week_date(year: i32, week: u32, day: u32) -> Option<NaiveDate> {
    let last = NaiveDate::from_ymd_opt(year, 12, 28)?.iso_week().week();
    if week > last || day > 7 {
        return None;
    }
    let first = NaiveDate::from_isoywd_opt(year, 1, Weekday::Mon)?;
    first.checked_add_signed(TimeDelta::days(i64::from(week) * 7 + i64::from(day) - 8))
}
