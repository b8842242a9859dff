//! The data interval of a run that somebody triggers.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::Schedule;

/// Start and end of the data that a run triggered for `logical_date` covers.
pub(super) fn infer_manual_interval(
    schedule: &Schedule,
    logical_date: DateTime<Utc>,
) -> (DateTime<Utc>, DateTime<Utc>) {
    match schedule {
        Schedule::TimeDelta { microseconds } => {
            let start = logical_date.checked_sub_signed(TimeDelta::microseconds(*microseconds));
            (start.unwrap_or(logical_date), logical_date)
        }
        Schedule::DatasetOrTime { timetable, .. } => match timetable.as_ref() {
            // Timetables do not nest further, and schedules of any depth may be declared.
            Schedule::DatasetOrTime { .. } => (logical_date, logical_date),
            timetable => infer_manual_interval(timetable, logical_date),
        },
        _ => (logical_date, logical_date),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_end_at_the_logical_date() {
        let date = DateTime::from_timestamp(7200, 0).expect("a valid date");
        assert_eq!(infer_manual_interval(&Schedule::None, date), (date, date));
        let hourly = Schedule::TimeDelta { microseconds: 3_600_000_000 };
        assert_eq!(infer_manual_interval(&hourly, date), (date - TimeDelta::hours(1), date));
    }
}
