//! The data interval of a run that somebody triggers.

use chrono::offset::LocalResult;
use chrono::{DateTime, Days, Months, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;
use serde_json::{Map, Value};

use crate::model::Schedule;

/// Start and end of the data that a run triggered for `logical_date` covers: the last full interval before it of a cron
/// schedule, the length before it of a fixed one, else the moment alone.
pub(super) fn infer_manual_interval(
    schedule: &Schedule,
    timezone: &str,
    logical_date: DateTime<Utc>,
) -> (DateTime<Utc>, DateTime<Utc>) {
    let moment = (logical_date, logical_date);
    match schedule {
        Schedule::Cron { expression } => {
            Ticks::new(expression, timezone).and_then(|ticks| ticks.last_interval(logical_date)).unwrap_or(moment)
        }
        Schedule::TimeDelta { microseconds } => {
            let start = logical_date.checked_sub_signed(TimeDelta::microseconds(*microseconds));
            (start.unwrap_or(logical_date), logical_date)
        }
        Schedule::RelativeDelta { fields } => (before(logical_date, fields).unwrap_or(logical_date), logical_date),
        Schedule::DatasetOrTime { timetable, .. } => match timetable.as_ref() {
            // Timetables do not nest further, and schedules of any depth may be declared.
            Schedule::DatasetOrTime { .. } => moment,
            timetable => infer_manual_interval(timetable, timezone, logical_date),
        },
        _ => moment,
    }
}

/// Whether a schedule whose runs begin with that of `first` makes one with this logical date.
pub(super) fn is_on_schedule(schedule: &Schedule, timezone: &str, first: DateTime<Utc>, date: DateTime<Utc>) -> bool {
    if date == first {
        return true;
    }
    let timetable = match schedule {
        Schedule::DatasetOrTime { timetable, .. } => timetable.as_ref(),
        other => other,
    };
    match timetable {
        Schedule::Cron { .. } => infer_manual_interval(timetable, timezone, date).1 == date,
        Schedule::TimeDelta { microseconds } if *microseconds > 0 => {
            (date - first).num_microseconds().is_some_and(|length| length % microseconds == 0)
        }
        _ => false,
    }
}

/// The ticks of a cron expression on a zone's wall clock.
struct Ticks {
    cron: Cron,
    zone: Tz,
    covers_every_hour: bool,
}

impl Ticks {
    fn new(expression: &str, timezone: &str) -> Option<Self> {
        let expression = match expression {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@quarterly" => "0 0 1 */3 *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let cron = expression.parse().ok()?;
        let zone = timezone.parse().ok()?;
        let covers_every_hour = expression.split_whitespace().nth(1) == Some("*");
        Some(Self { cron, zone, covers_every_hour })
    }

    fn last_interval(&self, date: DateTime<Utc>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let end = self.align(date)?;
        Some((self.previous(end)?, end))
    }

    /// The tick at `date`, or the last one before it.
    fn align(&self, date: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let previous = self.previous(date)?;
        Some(if self.next(previous)? == date { date } else { previous })
    }

    fn previous(&self, date: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = self.local(date);
        let tick = self.cron.find_previous_occurrence(&local.and_utc(), false).ok()?.naive_utc();
        self.absolute(date, local, tick)
    }

    fn next(&self, date: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = self.local(date);
        let tick = self.cron.find_next_occurrence(&local.and_utc(), false).ok()?.naive_utc();
        self.absolute(date, local, tick)
    }

    fn local(&self, date: DateTime<Utc>) -> NaiveDateTime {
        date.with_timezone(&self.zone).naive_local()
    }

    /// Schedules that tick in every hour count on through a change of the clock; others follow the wall clock.
    fn absolute(&self, date: DateTime<Utc>, local: NaiveDateTime, tick: NaiveDateTime) -> Option<DateTime<Utc>> {
        if self.covers_every_hour {
            return date.checked_add_signed(tick - local);
        }
        match self.zone.from_local_datetime(&tick) {
            LocalResult::Single(date) | LocalResult::Ambiguous(_, date) => Some(date.to_utc()),
            LocalResult::None => {
                let later = tick.checked_add_signed(TimeDelta::hours(1))?;
                self.zone.from_local_datetime(&later).latest().map(|date| date.to_utc())
            }
        }
    }
}

/// The moment that lies a `relativedelta` before `date`.
fn before(date: DateTime<Utc>, fields: &Map<String, Value>) -> Option<DateTime<Utc>> {
    let number = |name: &str| fields.get(name).and_then(Value::as_i64).unwrap_or(0);
    let months = number("years").checked_mul(12)?.checked_add(number("months"))?;
    let days = number("weeks").checked_mul(7)?.checked_add(number("days"))?;
    let units = [("hours", 3_600_000_000), ("minutes", 60_000_000), ("seconds", 1_000_000), ("microseconds", 1)];
    let micros = units.iter().try_fold(0_i64, |sum, (name, unit)| sum.checked_add(number(name).checked_mul(*unit)?))?;
    let date = if months >= 0 {
        date.checked_sub_months(Months::new(u32::try_from(months).ok()?))?
    } else {
        date.checked_add_months(Months::new(u32::try_from(months.checked_neg()?).ok()?))?
    };
    let date = if days >= 0 {
        date.checked_sub_days(Days::new(days.unsigned_abs()))?
    } else {
        date.checked_add_days(Days::new(days.unsigned_abs()))?
    };
    date.checked_sub_signed(TimeDelta::microseconds(micros))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn interval(schedule: &Schedule, timezone: &str, date: &str) -> [String; 2] {
        let (start, end) = infer_manual_interval(schedule, timezone, date.parse().unwrap());
        [start, end].map(|date| date.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    }

    fn cron(expression: &str, timezone: &str, date: &str) -> [String; 2] {
        interval(&Schedule::Cron { expression: expression.into() }, timezone, date)
    }

    #[test]
    fn dates_are_on_schedule_or_not() {
        let date = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let daily = Schedule::Cron { expression: "@daily".into() };
        let first = date("2024-03-01T05:00:00Z");
        let is = |schedule: &Schedule, text| is_on_schedule(schedule, "UTC", first, date(text));
        assert!(is(&daily, "2024-03-02T00:00:00Z") && is(&daily, "2024-03-01T05:00:00Z"));
        assert!(!is(&daily, "2024-03-02T05:00:00Z") && !is(&daily, "2024-03-02T00:00:01Z"));
        let hours = Schedule::TimeDelta { microseconds: 2 * 3_600_000_000 };
        assert!(is(&hours, "2024-03-01T09:00:00Z") && !is(&hours, "2024-03-01T08:00:00Z"));
        assert!(!is(&Schedule::Once, "2024-03-01T09:00:00Z"));
        assert!(!is(&Schedule::TimeDelta { microseconds: 0 }, "2024-03-01T09:00:00Z"));
    }

    #[test]
    fn runs_without_a_schedule_cover_a_moment() {
        let moment = ["2024-01-01T02:00:00Z", "2024-01-01T02:00:00Z"];
        assert_eq!(interval(&Schedule::None, "UTC", moment[0]), moment);
        assert_eq!(interval(&Schedule::Once, "UTC", moment[0]), moment);
        assert_eq!(cron("nonsense", "UTC", moment[0]), moment);
        assert_eq!(cron("0 0 30 2 *", "UTC", moment[0]), moment);
    }

    #[test]
    fn runs_of_a_cron_schedule_cover_the_last_full_interval() {
        // As recorded of Airflow 2.11.2.
        assert_eq!(
            cron("0 */6 * * *", "UTC", "2024-01-01T07:30:00Z"),
            ["2024-01-01T00:00:00Z", "2024-01-01T06:00:00Z"]
        );
        assert_eq!(cron("0 6 * * *", "UTC", "2024-01-05T06:00:00Z"), ["2024-01-04T06:00:00Z", "2024-01-05T06:00:00Z"]);
        assert_eq!(cron("0 6 * * *", "UTC", "2024-01-05T10:00:00Z"), ["2024-01-04T06:00:00Z", "2024-01-05T06:00:00Z"]);
        assert_eq!(cron("@weekly", "UTC", "2024-01-05T10:00:00Z"), ["2023-12-24T00:00:00Z", "2023-12-31T00:00:00Z"]);
        // Over the night in which the clock goes forward.
        let berlin = cron("0 6 * * *", "Europe/Berlin", "2024-03-31T12:00:00Z");
        assert_eq!(berlin, ["2024-03-30T05:00:00Z", "2024-03-31T04:00:00Z"]);
    }

    #[test]
    fn fixed_lengths_end_at_the_logical_date() {
        let hours = Schedule::TimeDelta { microseconds: 6 * 3_600_000_000 };
        assert_eq!(interval(&hours, "UTC", "2024-01-05T10:00:00Z"), ["2024-01-05T04:00:00Z", "2024-01-05T10:00:00Z"]);
        let Value::Object(fields) = json!({"months": 1, "days": 1}) else { unreachable!() };
        let month = Schedule::RelativeDelta { fields };
        assert_eq!(interval(&month, "UTC", "2024-03-31T00:00:00Z"), ["2024-02-28T00:00:00Z", "2024-03-31T00:00:00Z"]);
    }
}
