use std::sync::Arc;

use serde_json::json;

use super::{Timetable, Timetables};
use crate::model::Schedule;

fn timetable(schedule: &Schedule, timezone: &str) -> Result<Arc<dyn Timetable>, String> {
    Timetables::default().timetable(schedule, timezone)
}

fn interval(schedule: &Schedule, timezone: &str, date: &str) -> [String; 2] {
    let interval = timetable(schedule, timezone).unwrap().manual_interval(date.parse().unwrap());
    [interval.start, interval.end].map(|date| date.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

fn cron(expression: &str, timezone: &str, date: &str) -> [String; 2] {
    interval(&Schedule::Cron { expression: expression.into() }, timezone, date)
}

#[test]
fn runs_without_a_schedule_cover_a_moment() {
    let moment = ["2024-01-01T02:00:00Z", "2024-01-01T02:00:00Z"];
    assert_eq!(interval(&Schedule::None, "UTC", moment[0]), moment);
    assert_eq!(interval(&Schedule::Once, "UTC", moment[0]), moment);
    assert_eq!(cron("0 0 30 2 *", "UTC", moment[0]), moment);
}

#[test]
fn runs_of_a_cron_schedule_cover_the_last_full_interval() {
    // As recorded of Airflow 2.11.2.
    assert_eq!(cron("0 */6 * * *", "UTC", "2024-01-01T07:30:00Z"), ["2024-01-01T00:00:00Z", "2024-01-01T06:00:00Z"]);
    assert_eq!(cron("0 6 * * *", "UTC", "2024-01-05T06:00:00Z"), ["2024-01-04T06:00:00Z", "2024-01-05T06:00:00Z"]);
    assert_eq!(cron("0 6 * * *", "UTC", "2024-01-05T10:00:00Z"), ["2024-01-04T06:00:00Z", "2024-01-05T06:00:00Z"]);
    assert_eq!(cron("@weekly", "UTC", "2024-01-05T10:00:00Z"), ["2023-12-24T00:00:00Z", "2023-12-31T00:00:00Z"]);
    // Over the night in which the clock goes forward.
    let berlin = cron("0 6 * * *", "Europe/Berlin", "2024-03-31T12:00:00Z");
    assert_eq!(berlin, ["2024-03-30T05:00:00Z", "2024-03-31T04:00:00Z"]);
}

#[test]
fn lengths_end_at_the_logical_date() {
    let hours = Schedule::TimeDelta { microseconds: 6 * 3_600_000_000 };
    assert_eq!(interval(&hours, "UTC", "2024-01-05T10:00:00Z"), ["2024-01-05T04:00:00Z", "2024-01-05T10:00:00Z"]);
    let fields = json!({"months": 1, "days": 1}).as_object().unwrap().clone();
    let month = Schedule::RelativeDelta { fields };
    assert_eq!(interval(&month, "UTC", "2024-03-31T00:00:00Z"), ["2024-02-28T00:00:00Z", "2024-03-31T00:00:00Z"]);
}
