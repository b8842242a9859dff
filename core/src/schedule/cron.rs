//! Cron expressions: reading them, and finding what they match on a calendar without zones.
//!
//! Airflow asks croniter, so the rules are croniter's (7.0), odd ones included: seconds and years are the sixth and seventh
//! field; a step from a value goes up to the end of the field; a range from a value to itself is the whole field; days of
//! the month and of the week are alternatives unless one of them is free; and who finds nothing within 50 years gives up.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

/// How far a search goes.
const MOST_YEARS: i32 = 50;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The expression behind a name, else the text itself (Airflow 2.11, `utils/dates.py`).
pub(super) fn preset(text: &str) -> &str {
    match text {
        "@hourly" => "0 * * * *",
        "@daily" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@quarterly" => "0 0 1 */3 *",
        "@yearly" => "0 0 1 1 *",
        other => other,
    }
}

/// What a cron expression matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    minute: Numbers,
    hour: Numbers,
    day: Numbers,
    month: Numbers,
    weekday: Numbers,
    /// Of expressions with five fields, the first second alone.
    second: Numbers,
    year: Option<BTreeSet<u32>>,
    /// Weeks of the month in which a weekday counts; if there are any, `weekday` does not.
    weeks: BTreeMap<u32, Weeks>,
    /// The day of the month whose nearest working day counts; if there is one, `day` does not.
    nearest: Option<u32>,
    has_seconds: bool,
    covers_every_hour: bool,
}

/// Values below 64, and the last day of the month; `None` for any value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbers(Option<(u64, bool)>);

/// Which occurrences of a weekday in a month count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Weeks {
    bits: u8,
    last: bool,
}

/// One entry of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Any,
    Number(u32),
    Last,
}

/// Which fields say whether a day matches.
#[derive(Debug, Clone, Copy)]
struct DayRule {
    of_month: bool,
    of_week: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Back,
}

/// The fields, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
    Second,
    Year,
}

impl Kind {
    const ALL: [Self; 7] = [Self::Minute, Self::Hour, Self::Day, Self::Month, Self::Weekday, Self::Second, Self::Year];

    fn range(self) -> (u32, u32) {
        match self {
            Self::Minute | Self::Second => (0, 59),
            Self::Hour => (0, 23),
            Self::Day => (1, 31),
            Self::Month => (1, 12),
            Self::Weekday => (0, 6),
            Self::Year => (1970, 2099),
        }
    }

    /// A number, or the name of a month or weekday.
    fn number(self, text: &str) -> Option<u32> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // What does not fit is out of every range.
            let number = text.parse().unwrap_or(u32::MAX);
            return Some(if self == Self::Weekday && number == 7 { 0 } else { number });
        }
        let (names, first): (&[&str], u32) = match self {
            Self::Month => (&MONTHS, 1),
            Self::Weekday => (&WEEKDAYS, 0),
            _ => return None,
        };
        names.iter().zip(first..).find(|(name, _)| **name == text).map(|(_, number)| number)
    }
}

impl Cron {
    /// Reads an expression of five, six or seven fields, or a name such as `@daily`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let lower = preset(text).to_ascii_lowercase();
        let written = match lower.as_str() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        if written.starts_with('@') {
            return Err(format!("'{text}' is not a known schedule"));
        }
        let fields: Vec<&str> = written.split_ascii_whitespace().collect();
        if !(5..=7).contains(&fields.len()) {
            return Err(format!("'{text}' is not a cron expression: it has {} fields, not 5, 6 or 7", fields.len()));
        }
        let mut reader = Reader::default();
        let mut read = Vec::new();
        for (field, kind) in fields.iter().zip(Kind::ALL) {
            let entries = reader.field(field, kind);
            let mut entries = entries.map_err(|problem| format!("'{text}' is not a cron expression: {problem}"))?;
            let (least, most) = kind.range();
            // All days of the month beside days of the week are left as they are: they are alternatives then.
            let stays = match kind {
                Kind::Day => !fields[4].contains('*'),
                Kind::Weekday => !fields[2].contains('*'),
                _ => false,
            };
            if !stays && entries.len() == (most - least + 1) as usize {
                entries = BTreeSet::from([Entry::Any]);
            }
            read.push(entries);
        }
        let weekdays = &read[4];
        let is_plain = |entry: &&Entry| matches!(entry, Entry::Number(day) if !reader.weeks.contains_key(day));
        if !reader.weeks.is_empty() && weekdays.len() != 7 && weekdays.iter().any(|entry| is_plain(&entry)) {
            return Err(format!(
                "'{text}' is not a cron expression: weekdays of all weeks and of some weeks cannot be mixed"
            ));
        }
        let year = read.get(6).filter(|years| !years.contains(&Entry::Any)).map(|years| {
            years.iter().filter_map(|entry| if let Entry::Number(year) = entry { Some(*year) } else { None }).collect()
        });
        Ok(Self {
            minute: Numbers::new(&read[0]),
            hour: Numbers::new(&read[1]),
            day: Numbers::new(&read[2]),
            month: Numbers::new(&read[3]),
            weekday: Numbers::new(&read[4]),
            second: read.get(5).map_or(Numbers(Some((1, false))), Numbers::new),
            year,
            weeks: reader.weeks,
            nearest: reader.nearest,
            has_seconds: read.len() > 5,
            covers_every_hour: read[1].len() == 1 && read[1].contains(&Entry::Any),
        })
    }

    /// Whether it has more fields than the five of Unix.
    pub(super) fn is_extended(&self) -> bool {
        self.has_seconds
    }

    /// Whether its hour is free. Airflow counts such schedules on through changes of the clock.
    pub(super) fn covers_every_hour(&self) -> bool {
        self.covers_every_hour
    }

    /// The first match after a moment.
    pub(super) fn next(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let unit = if self.has_seconds { TimeDelta::seconds(1) } else { TimeDelta::minutes(1) };
        self.find(self.truncated(after.checked_add_signed(unit)?)?, Way::Forward)
    }

    /// The last match before a moment.
    pub(super) fn previous(&self, before: NaiveDateTime) -> Option<NaiveDateTime> {
        self.find(self.truncated(before.checked_sub_signed(TimeDelta::microseconds(1))?)?, Way::Back)
    }

    fn truncated(&self, at: NaiveDateTime) -> Option<NaiveDateTime> {
        let at = at.with_nanosecond(0)?;
        if self.has_seconds { Some(at) } else { at.with_second(0) }
    }

    /// The match that is nearest to `start`, itself included.
    fn find(&self, start: NaiveDateTime, way: Way) -> Option<NaiveDateTime> {
        if self.day.is_any() || self.weekday.is_any() {
            return self.search(start, way, DayRule { of_month: true, of_week: true });
        }
        let by_month = self.search(start, way, DayRule { of_month: true, of_week: false });
        let by_week = self.search(start, way, DayRule { of_month: false, of_week: true });
        match (by_month, by_week) {
            (Some(a), Some(b)) => Some(if way == Way::Forward { a.min(b) } else { a.max(b) }),
            // `#` and `W` restrict both sides, so that neither alone is the whole schedule.
            (one, other) if self.weeks.is_empty() && self.nearest.is_none() => one.or(other),
            _ => None,
        }
    }

    fn search(&self, start: NaiveDateTime, way: Way, rule: DayRule) -> Option<NaiveDateTime> {
        let forward = way == Way::Forward;
        let mut date = start.date();
        let mut bound = start.time();
        let unbound = if forward { NaiveTime::MIN } else { NaiveTime::from_hms_opt(23, 59, 59)? };
        while (date.year() - start.year()).abs() <= MOST_YEARS {
            if !self.matches_year(date) {
                date = if forward {
                    NaiveDate::from_ymd_opt(date.year() + 1, 1, 1)?
                } else {
                    NaiveDate::from_ymd_opt(date.year() - 1, 12, 31)?
                };
            } else if !self.month.contains(date.month()) {
                date = if forward {
                    let (year, month) =
                        if date.month() == 12 { (date.year() + 1, 1) } else { (date.year(), date.month() + 1) };
                    NaiveDate::from_ymd_opt(year, month, 1)?
                } else {
                    date.with_day(1)?.pred_opt()?
                };
            } else {
                if self.matches_day(date, rule)
                    && let Some(time) = self.time(bound, way)
                {
                    return Some(date.and_time(time));
                }
                date = if forward { date.succ_opt()? } else { date.pred_opt()? };
            }
            bound = unbound;
        }
        None
    }

    fn matches_year(&self, date: NaiveDate) -> bool {
        self.year.as_ref().is_none_or(|years| u32::try_from(date.year()).is_ok_and(|year| years.contains(&year)))
    }

    fn matches_day(&self, date: NaiveDate, rule: DayRule) -> bool {
        let days = u32::from(date.num_days_in_month());
        let of_month = match self.nearest {
            Some(day) => nearest_working_day(date, day.min(days)) == Some(date),
            None => !rule.of_month || self.day.contains(date.day()) || (self.day.has_last() && date.day() == days),
        };
        let weekday = date.weekday().num_days_from_sunday();
        let of_week = if self.weeks.is_empty() {
            !rule.of_week || self.weekday.contains(weekday)
        } else {
            self.weeks.get(&weekday).is_some_and(|weeks| {
                let week = (date.day() - 1) / 7 + 1;
                weeks.bits & (1 << week) != 0 || (weeks.last && date.day() + 7 > days)
            })
        };
        of_month && of_week
    }

    /// The time of the day that is nearest to `bound`, itself included.
    fn time(&self, bound: NaiveTime, way: Way) -> Option<NaiveTime> {
        let nearest = |numbers: &Numbers, from: u32, size: u32| numbers.nearest(from, size, way);
        let start_of = |size: u32| if way == Way::Forward { 0 } else { size - 1 };
        let step = |from: u32| if way == Way::Forward { from.checked_add(1) } else { from.checked_sub(1) };
        let (mut hour_from, mut minute_from, mut second_from) = (bound.hour(), bound.minute(), bound.second());
        // Each turn either returns or moves the hour or the minute on.
        loop {
            let hour = nearest(&self.hour, hour_from, 24)?;
            if hour != hour_from {
                (minute_from, second_from) = (start_of(60), start_of(60));
            }
            if let Some(minute) = nearest(&self.minute, minute_from, 60) {
                if minute != minute_from {
                    second_from = start_of(60);
                }
                if let Some(second) = nearest(&self.second, second_from, 60) {
                    return NaiveTime::from_hms_opt(hour, minute, second);
                }
                if let Some(minute) = step(minute) {
                    (hour_from, minute_from, second_from) = (hour, minute, start_of(60));
                    continue;
                }
            }
            (hour_from, minute_from, second_from) = (step(hour)?, start_of(60), start_of(60));
        }
    }
}

/// Monday to Friday, without leaving the month.
fn nearest_working_day(in_month: NaiveDate, day: u32) -> Option<NaiveDate> {
    let date = in_month.with_day(day)?;
    let last = u32::from(date.num_days_in_month());
    match date.weekday() {
        chrono::Weekday::Sat if day > 1 => date.pred_opt(),
        chrono::Weekday::Sat => date.checked_add_days(Days::new(2)),
        chrono::Weekday::Sun if day < last => date.succ_opt(),
        chrono::Weekday::Sun => date.checked_sub_days(Days::new(2)),
        _ => Some(date),
    }
}

impl Numbers {
    fn new(entries: &BTreeSet<Entry>) -> Self {
        if entries.contains(&Entry::Any) {
            return Self(None);
        }
        let bits = entries.iter().fold(0, |bits, entry| match entry {
            Entry::Number(number) => bits | 1_u64.checked_shl(*number).unwrap_or(0),
            _ => bits,
        });
        Self(Some((bits, entries.contains(&Entry::Last))))
    }

    fn is_any(self) -> bool {
        self.0.is_none()
    }

    fn contains(self, number: u32) -> bool {
        self.0.is_none_or(|(bits, _)| bits & (1 << number) != 0)
    }

    fn has_last(self) -> bool {
        self.0.is_some_and(|(_, last)| last)
    }

    fn nearest(self, from: u32, size: u32, way: Way) -> Option<u32> {
        match way {
            Way::Forward => (from..size).find(|number| self.contains(*number)),
            Way::Back => (0..=from).rev().find(|number| self.contains(*number)),
        }
    }
}

/// What reading one field leaves for others.
#[derive(Debug, Default)]
struct Reader {
    weeks: BTreeMap<u32, Weeks>,
    nearest: Option<u32>,
}

impl Reader {
    fn field(&mut self, field: &str, kind: Kind) -> Result<BTreeSet<Entry>, String> {
        if field.contains('?') {
            return if field == "?" && matches!(kind, Kind::Day | Kind::Weekday) {
                Ok(BTreeSet::from([Entry::Any]))
            } else {
                Err(format!("'{field}' is not possible in its place"))
            };
        }
        let mut entries = BTreeSet::new();
        let parts: Vec<&str> = field.split(',').collect();
        for part in &parts {
            if kind == Kind::Day
                && let Some(day) = nearest_to(part)
            {
                if parts.len() > 1 || !(1..=31).contains(&day) {
                    return Err(format!("'{field}' is not possible in its place"));
                }
                self.nearest = Some(day);
                entries.insert(Entry::Number(day));
                continue;
            }
            self.part(part, kind, &mut entries).ok_or_else(|| format!("'{part}' is not possible in its place"))?;
        }
        Ok(entries)
    }

    fn part(&mut self, part: &str, kind: Kind, entries: &mut BTreeSet<Entry>) -> Option<()> {
        let (part, weeks) = if kind == Kind::Weekday { with_weeks(part)? } else { (part, None) };
        let (least, most) = kind.range();
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        if step.is_none() && range == "*" {
            entries.insert(Entry::Any);
            return Some(());
        }
        if step.is_none() && range == "l" && kind == Kind::Day {
            entries.insert(Entry::Last);
            return Some(());
        }
        let step = match step {
            Some(step) => digits(step).filter(|step| *step > 0)?,
            None => 1,
        };
        let numbers: Vec<u32> = match range.split_once('-') {
            Some((low, high)) => {
                let low = kind.number(low)?;
                let high = if kind == Kind::Day && high == "l" { 31 } else { kind.number(high)? };
                if low == high && low <= most { each(least, most, step) } else { between(low, high, step, kind)? }
            }
            None if range == "*" => each(least, most, step),
            None if part.contains('/') => {
                let low = kind.number(range)?;
                if low == most { vec![low] } else { between(low, most, step, kind)? }
            }
            None => vec![kind.number(range)?],
        };
        for number in numbers {
            if !(least..=most).contains(&number) {
                return None;
            }
            entries.insert(Entry::Number(number));
            if let Some(weeks) = weeks {
                let all = self.weeks.entry(number).or_default();
                all.bits |= weeks.bits;
                all.last |= weeks.last;
            }
        }
        Some(())
    }
}

fn digits(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

fn each(from: u32, to: u32, step: u32) -> Vec<u32> {
    (from..=to).step_by(step as usize).collect()
}

/// From one value to another; through the end of the field if the second is the lower one.
fn between(low: u32, high: u32, step: u32, kind: Kind) -> Option<Vec<u32>> {
    let (least, most) = kind.range();
    if low.max(high) > most {
        return None;
    }
    if low <= high {
        return Some(each(low, high, step));
    }
    let mut numbers = each(low, most, step);
    // As croniter counts: the step goes on over the end only if it would leave the field's own numbers behind.
    let last = *numbers.last()?;
    let (left, size) = (most - last, most - least + 1);
    let leaves = (last - least).saturating_add(step) > size && left < step;
    let skip = if leaves { step - left } else { 0 };
    numbers.extend(each(least.saturating_add(skip), high, step));
    Some(numbers)
}

/// The day of `15w` or `w15`.
fn nearest_to(part: &str) -> Option<u32> {
    part.strip_suffix('w').or_else(|| part.strip_prefix('w')).and_then(digits)
}

/// Takes the weeks off `5#2`, `mon-fri#1` and `l5`; `None` if they cannot be.
fn with_weeks(part: &str) -> Option<(&str, Option<Weeks>)> {
    if let Some(day) = part.strip_prefix('l').filter(|day| digits(day).is_some()) {
        return Some((day, Some(Weeks { bits: 0, last: true })));
    }
    let Some((days, week)) = part.split_once('#') else { return Some((part, None)) };
    let week = digits(week).filter(|week| (1..=5).contains(week))?;
    let is_name = |day: &str| WEEKDAYS.contains(&day);
    match days.split_once('-') {
        // Ranges of weekdays by name alone.
        Some((from, to)) if !(is_name(from) && is_name(to)) => None,
        _ if days.contains(['/', '*']) => None,
        _ => Some((days, Some(Weeks { bits: 1 << week, last: false }))),
    }
}
