//! Dates as people write them, as far as Python's dateutil understands them: month before day, year first where it may be.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime};

use super::micros;
use super::token::{self, Unit};

/// The local time and the seconds of its offset.
pub(super) fn parse(text: &str, today: NaiveDate) -> Option<(NaiveDateTime, i32)> {
    let mut reader = Reader { tokens: token::split(text), ..Reader::default() };
    let mut place = 0;
    while place < reader.tokens.len() {
        place = reader.read(place, today)? + 1;
    }
    reader.finish(today)
}

#[derive(Default)]
struct Reader {
    tokens: Vec<String>,
    date: Date,
    weekday: Option<u32>,
    hour: Option<u32>,
    minute: Option<u32>,
    second: Option<u32>,
    micro: Option<u32>,
    zone: Option<String>,
    offset: Option<i32>,
}

impl Reader {
    fn token(&self, place: usize) -> Option<&str> {
        self.tokens.get(place).map(String::as_str)
    }

    fn is(&self, place: usize, token: &str) -> bool {
        self.token(place) == Some(token)
    }

    fn is_sign(&self, place: usize) -> bool {
        self.is(place, "+") || self.is(place, "-")
    }

    /// Reads what begins at a token; the place of its last token.
    fn read(&mut self, place: usize, today: NaiveDate) -> Option<usize> {
        let token = self.token(place)?.to_owned();
        if let Some(number) = Number::read(&token) {
            return self.number(place, &number);
        }
        if let Some(weekday) = token::weekday(&token) {
            self.weekday = Some(weekday);
            return Some(place);
        }
        if let Some(month) = token::month(&token) {
            return self.month(place, month, today);
        }
        if let Some(afternoon) = token::is_afternoon(&token) {
            let hour = self.hour.filter(|hour| *hour <= 12)?;
            self.hour = Some(half_day(hour, afternoon));
            return Some(place);
        }
        if self.may_be_zone(&token, self.offset) {
            let is_utc = token::is_utc(&token);
            self.offset = (token == "z").then_some(0);
            self.zone = Some(token);
            if self.is_sign(place + 1) {
                // `GMT+3` says that three hours added make GMT.
                let flipped = if self.is(place + 1, "+") { "-" } else { "+" };
                self.tokens[place + 1] = flipped.to_owned();
                self.offset = None;
                if is_utc {
                    self.zone = None;
                }
            }
            return Some(place);
        }
        if self.hour.is_some() && self.is_sign(place) {
            return self.offset(place);
        }
        // Words that are no name are read over only if they mean nothing.
        token::is_filler(&token).then_some(place)
    }

    fn may_be_zone(&self, token: &str, offset: Option<i32>) -> bool {
        self.hour.is_some()
            && self.zone.is_none()
            && offset.is_none()
            && token.len() <= 5
            && (token == "z" || token.bytes().all(|byte| byte.is_ascii_uppercase()))
            && !["INF", "NAN"].contains(&token)
    }

    /// `+0200`, `+02:00`, `+2`, perhaps with a name in brackets.
    fn offset(&mut self, place: usize) -> Option<usize> {
        let sign = if self.is(place, "+") { 1 } else { -1 };
        let digits = self.token(place + 1)?;
        let mut last = place + 1;
        let (hours, minutes) = match digits.len() {
            4 => (integer(digits.get(..2)?)?, integer(digits.get(2..)?)?),
            _ if self.is(place + 2, ":") => {
                last += 2;
                (integer(digits)?, integer(self.token(place + 3)?)?)
            }
            1 | 2 => (integer(digits)?, 0),
            _ => return None,
        };
        let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
        self.offset = Some(sign * i32::try_from(seconds).ok()?);
        let name = self.token(last + 3).filter(|name| name.len() >= 3 && self.may_be_zone(name, None));
        let is_named = self.token(last + 1).is_some_and(token::is_filler)
            && self.is(last + 2, "(")
            && self.is(last + 4, ")")
            && name.is_some();
        if is_named {
            self.zone = name.map(str::to_owned);
            last += 4;
        }
        Some(last)
    }

    /// `Jan`, `Jan-1`, `Jan-1-2024`, `Jan of 2024`.
    fn month(&mut self, place: usize, month: u32, today: NaiveDate) -> Option<usize> {
        self.date.push(month, Some(Part::Month))?;
        let next = self.token(place + 1).map(str::to_owned);
        let Some(separator @ ("-" | "/")) = next.as_deref() else {
            if self.is(place + 1, " ")
                && self.is(place + 3, " ")
                && self.token(place + 2).is_some_and(|token| token.eq_ignore_ascii_case("of"))
                && let Some(year) = self.token(place + 4)
            {
                if is_digits(year) {
                    let year = full_year(integer(year)?, today);
                    self.date.push_digits(&year.to_string(), Some(Part::Year))?;
                }
                return Some(place + 4);
            }
            return Some(place);
        };
        let day = self.token(place + 2)?.to_owned();
        self.date.push_digits(&day, None)?;
        if !self.is(place + 3, separator) {
            return Some(place + 2);
        }
        let year = self.token(place + 4)?.to_owned();
        self.date.push_digits(&year, None)?;
        Some(place + 4)
    }

    fn number(&mut self, place: usize, number: &Number<'_>) -> Option<usize> {
        let text = number.text;
        let next = self.token(place + 1).map(str::to_owned);
        let next = next.as_deref();
        let is_time = next == Some(":") || next.is_some_and(|next| Unit::read(next).is_some());
        if self.date.values.len() == 3 && [2, 4].contains(&text.len()) && self.hour.is_none() && !is_time {
            // `2024 05 01 1030`
            self.hour = Some(integer(text.get(..2)?)?);
            if text.len() == 4 {
                self.minute = Some(integer(text.get(2..)?)?);
            }
            return Some(place);
        }
        if text.len() == 6 || (text.len() > 6 && text.find('.') == Some(6)) {
            if self.date.values.is_empty() && !text.contains('.') {
                for part in [text.get(..2)?, text.get(2..4)?, text.get(4..)?] {
                    self.date.push_digits(part, None)?;
                }
            } else {
                self.hour = Some(integer(text.get(..2)?)?);
                self.minute = Some(integer(text.get(2..4)?)?);
                self.seconds(text.get(4..)?)?;
            }
            return Some(place);
        }
        if [8, 12, 14].contains(&text.len()) {
            self.date.push_digits(text.get(..4)?, Some(Part::Year))?;
            self.date.push_digits(text.get(4..6)?, None)?;
            self.date.push_digits(text.get(6..8)?, None)?;
            if text.len() > 8 {
                self.hour = Some(integer(text.get(8..10)?)?);
                self.minute = Some(integer(text.get(10..12)?)?);
            }
            if text.len() > 12 {
                self.second = Some(integer(text.get(12..)?)?);
            }
            return Some(place);
        }
        if let Some((unit, last)) = self.unit(place) {
            match unit {
                Some(Unit::Hour) => {
                    self.hour = Some(number.whole()?);
                    self.minute = number.sixtieths().or(self.minute);
                }
                Some(Unit::Minute) => (self.minute, self.second) = (Some(number.whole()?), number.sixtieths()),
                Some(Unit::Second) => self.seconds(text)?,
                None => {}
            }
            return Some(last);
        }
        if next == Some(":") && self.token(place + 2).is_some() {
            return self.clock(place, number);
        }
        if let Some(separator @ ("-" | "/" | ".")) = next {
            return self.separated(place, text, separator);
        }
        if next.is_none_or(token::is_filler) {
            if let Some(afternoon) = self.token(place + 2).and_then(token::is_afternoon) {
                self.hour = Some(half_day(number.whole()?, afternoon));
                return Some(place + 2);
            }
            self.date.push(number.whole()?, None)?;
            return Some(place + 1);
        }
        if let Some(afternoon) = next.and_then(token::is_afternoon)
            && let Some(hour) = number.whole().filter(|hour| *hour < 24)
        {
            self.hour = Some(half_day(hour, afternoon));
            return Some(place + 1);
        }
        self.date.may_have_day(number)?;
        self.date.push(number.whole()?, None)?;
        Some(place)
    }

    /// `10:05`, `10:05:30.5`
    fn clock(&mut self, place: usize, hour: &Number<'_>) -> Option<usize> {
        self.hour = Some(hour.whole()?);
        let minute = self.token(place + 2)?.to_owned();
        let minute = Number::read(&minute)?;
        (self.minute, self.second) = (Some(minute.whole()?), minute.sixtieths());
        match self.token(place + 4).map(str::to_owned) {
            Some(second) if self.is(place + 3, ":") => {
                self.seconds(&second)?;
                Some(place + 4)
            }
            _ => Some(place + 2),
        }
    }

    /// `1-2-2024`, `1-Feb`, `1.2`
    fn separated(&mut self, place: usize, first: &str, separator: &str) -> Option<usize> {
        self.date.push_digits(first, None)?;
        let Some(second) = self.token(place + 2).filter(|token| !token::is_filler(token)).map(str::to_owned) else {
            return Some(place + 1);
        };
        match token::month(&second) {
            Some(month) => self.date.push(month, Some(Part::Month))?,
            None => self.date.push_digits(&second, None)?,
        }
        if !self.is(place + 3, separator) {
            return Some(place + 2);
        }
        let third = self.token(place + 4)?.to_owned();
        match token::month(&third) {
            Some(month) => self.date.push(month, Some(Part::Month))?,
            None => self.date.push_digits(&third, None)?,
        }
        Some(place + 4)
    }

    /// The unit of a number, after it or (then the unit that follows) before it, and the last token of the two.
    fn unit(&self, place: usize) -> Option<(Option<Unit>, usize)> {
        let unit = |place: usize| self.token(place).and_then(Unit::read);
        if let Some(found) = unit(place + 1) {
            return Some((Some(found), place + 1));
        }
        if let Some(found) = unit(place + 2).filter(|_| self.is(place + 1, " ")) {
            return Some((Some(found), place + 2));
        }
        if let Some(found) = place.checked_sub(1).and_then(unit) {
            return Some((found.next(), place));
        }
        let is_last = place + 1 == self.tokens.len();
        let found = place.checked_sub(2).filter(|_| is_last && self.is(place - 1, " ")).and_then(unit)?;
        Some((found.next(), place))
    }

    fn seconds(&mut self, text: &str) -> Option<()> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        self.second = Some(integer(whole)?);
        self.micro = Some(micros(Some(fraction).filter(|fraction| fraction.is_empty() || is_digits(fraction))?));
        Some(())
    }

    fn finish(self, today: NaiveDate) -> Option<(NaiveDateTime, i32)> {
        let (year, month, day) = self.date.resolve()?;
        let year = year.map(|year| if self.date.has_century { year } else { full_year(year, today) });
        let says_nothing = [year, month, day, self.weekday, self.hour, self.minute, self.second, self.micro];
        if says_nothing.iter().all(Option::is_none) {
            return None;
        }
        let year = year.map_or(Some(today.year()), |year| i32::try_from(year).ok().filter(|year| *year > 0))?;
        let month = month.unwrap_or(today.month());
        // The day of today, or the month's last.
        let given = day;
        let day = day.unwrap_or_else(|| today.day().min(days_in_month(year, month)));
        let mut date = NaiveDate::from_ymd_opt(year, month, day)?;
        if let (Some(weekday), None | Some(0)) = (self.weekday, given) {
            let ahead = (weekday + 7 - date.weekday().num_days_from_monday()) % 7;
            date = date.checked_add_days(Days::new(ahead.into()))?;
        }
        let time = [self.hour, self.minute, self.second, self.micro].map(Option::unwrap_or_default);
        let local = date.and_hms_micro_opt(time[0], time[1], time[2], time[3])?;
        let is_utc = self.zone.as_deref().is_some_and(token::is_utc);
        // Other names of zones say nothing.
        Some((local, if is_utc { 0 } else { self.offset.unwrap_or(0) }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    Month,
}

/// Numbers that may be a year, a month or a day, in the order in which they came.
#[derive(Default)]
struct Date {
    values: Vec<u32>,
    year: Option<usize>,
    month: Option<usize>,
    has_century: bool,
}

impl Date {
    /// A number of three digits is a year.
    fn push_digits(&mut self, digits: &str, part: Option<Part>) -> Option<()> {
        let number = integer(digits)?;
        self.insert(number, part, digits.len() > 2)
    }

    fn push(&mut self, number: u32, part: Option<Part>) -> Option<()> {
        self.insert(number, part, number > 100)
    }

    fn insert(&mut self, number: u32, part: Option<Part>, is_year: bool) -> Option<()> {
        let part = match (is_year, part) {
            (true, Some(Part::Month)) => return None,
            (true, _) => Some(Part::Year),
            (false, part) => part,
        };
        self.has_century |= is_year;
        self.values.push(number);
        let place = match part {
            Some(Part::Year) => &mut self.year,
            Some(Part::Month) => &mut self.month,
            None => return Some(()),
        };
        // Each is given at most once.
        place.replace(self.values.len() - 1).is_none().then_some(())
    }

    fn value(&self, place: Option<usize>) -> Option<u32> {
        self.values.get(place?).copied()
    }

    fn may_have_day(&self, number: &Number<'_>) -> Option<()> {
        let most = match (self.value(self.month), self.value(self.year)) {
            (None, _) => 31,
            (Some(month), None) => days_in_month(2000, month),
            (Some(month), Some(year)) => days_in_month(i32::try_from(year).ok()?, month),
        };
        let whole = number.whole()?;
        (whole >= 1 && (whole < most || (whole == most && number.sixtieths().is_none()))).then_some(())
    }

    /// Which is the year, the month, the day.
    fn resolve(&self) -> Option<(Option<u32>, Option<u32>, Option<u32>)> {
        let [a, b, c] = match *self.values.as_slice() {
            [] => return Some((None, None, None)),
            [a] => {
                return Some(match (self.month, self.year) {
                    (Some(_), _) => (None, Some(a), None),
                    (None, Some(_)) => (Some(a), None, None),
                    (None, None) if a > 31 => (Some(a), None, None),
                    (None, None) => (None, None, Some(a)),
                });
            }
            [a, b] => {
                return Some(match (self.month, self.year) {
                    (Some(month), Some(year)) => (self.value(Some(year)), self.value(Some(month)), None),
                    (Some(month), None) => {
                        let other = if month == 0 { b } else { a };
                        let month = self.value(Some(month));
                        if other > 31 { (Some(other), month, None) } else { (None, month, Some(other)) }
                    }
                    (None, _) if a > 31 => (Some(a), Some(b), None),
                    (None, _) if b > 31 => (Some(b), Some(a), None),
                    (None, _) => (None, Some(a), Some(b)),
                });
            }
            [a, b, c] => [a, b, c],
            _ => return None,
        };
        let (year, month, day) = match (self.month, self.year) {
            (Some(month), Some(year)) => {
                let day = (0..3).find(|place| *place != month && *place != year);
                return Some((self.value(Some(year)), self.value(Some(month)), self.value(day)));
            }
            (Some(0), None) if b > 31 => (b, a, c),
            (Some(0), None) => (c, a, b),
            (Some(1), None) if a > 31 || c <= 31 => (a, b, c),
            (Some(1), None) => (c, b, a),
            (Some(_), None) if b > 31 => (b, c, a),
            (Some(_), None) => (a, c, b),
            (None, year) if a > 31 || year == Some(0) || (b <= 12 && c <= 31) => (a, b, c),
            (None, _) if a > 12 => (c, b, a),
            (None, _) => (c, a, b),
        };
        Some((Some(year), Some(month), Some(day)))
    }
}

/// A number as it was written: digits, and perhaps a point with digits.
struct Number<'a> {
    text: &'a str,
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Number<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        (is_digits(whole) && fraction.bytes().all(|byte| byte.is_ascii_digit())).then_some(Self {
            text,
            whole,
            fraction,
        })
    }

    fn whole(&self) -> Option<u32> {
        integer(self.whole)
    }

    /// The fraction in sixtieths, as hours have minutes; none where there is no fraction.
    fn sixtieths(&self) -> Option<u32> {
        if self.fraction.bytes().all(|digit| digit == b'0') {
            return None;
        }
        let digits = self.fraction.bytes().take(15).map(|digit| u64::from(digit - b'0'));
        let (sum, scale) = digits.fold((0, 1), |(sum, scale), digit| (sum * 10 + digit, scale * 10));
        u32::try_from(sum * 60 / scale).ok()
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn integer(text: &str) -> Option<u32> {
    if is_digits(text) { text.parse().ok() } else { None }
}

fn half_day(hour: u32, afternoon: bool) -> u32 {
    match (hour, afternoon) {
        (0..12, true) => hour + 12,
        (12, false) => 0,
        _ => hour,
    }
}

/// Years of two digits are those within fifty years of today.
fn full_year(year: u32, today: NaiveDate) -> u32 {
    if year >= 100 {
        return year;
    }
    let this = today.year().unsigned_abs();
    let year = this / 100 * 100 + year;
    if year >= this + 50 {
        year - 100
    } else if year + 50 < this {
        year + 100
    } else {
        year
    }
}

/// How many days a month has; 0 for one that does not exist.
fn days_in_month(year: i32, month: u32) -> u32 {
    (28..=31).rev().find(|day| NaiveDate::from_ymd_opt(year, month, *day).is_some()).unwrap_or(0)
}
