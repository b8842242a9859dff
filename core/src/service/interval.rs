//! The runs that a schedule makes, or would have made.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::{NextRun, Schedule};
use crate::schedule::{Restriction, Timetable};

/// Most runs of a schedule that are counted through.
const MOST_STEPS: usize = 100_000;

/// Those of some dates for which a schedule makes runs if its first one is that of the earliest date (Airflow 2.11,
/// `DAG.iter_dagrun_infos_between` without alignment).
pub(super) fn dates_on_schedule(
    schedule: &Schedule,
    timetable: &dyn Timetable,
    dates: &BTreeSet<DateTime<Utc>>,
) -> BTreeSet<DateTime<Utc>> {
    let (Some(&first), Some(&last)) = (dates.first(), dates.last()) else { return BTreeSet::new() };
    let schedule = match schedule {
        Schedule::DatasetOrTime { timetable, .. } => timetable.as_ref(),
        schedule => schedule,
    };
    let mut found = BTreeSet::from([first]);
    if let Schedule::TimeDelta { microseconds } = schedule {
        let is_multiple = |date: &&DateTime<Utc>| {
            let since = (**date - first).num_microseconds();
            since.is_some_and(|since| since.checked_rem(*microseconds) == Some(0))
        };
        found.extend(dates.iter().filter(is_multiple));
        return found;
    }
    let from = |earliest| {
        let restriction = Restriction { earliest: Some(earliest), latest: None, catchup: true };
        timetable.next_run(None, &restriction, last)
    };
    let begins_anywhere = |at: DateTime<Utc>| {
        let begins_at = |run: NextRun| run.data_interval.start == at || run.data_interval.end == at;
        from(at).is_some_and(begins_at)
    };
    if begins_anywhere(first + TimeDelta::microseconds(1)) {
        // What counts from its first run on has to be counted through.
        let restriction = Restriction { earliest: Some(first), latest: Some(last), catchup: true };
        let mut run = from(first);
        for _ in 0..MOST_STEPS {
            let Some(next) = run.filter(|run| run.logical_date <= last) else { break };
            found.extend(dates.get(&next.logical_date));
            run = timetable.next_run(Some(next.data_interval), &restriction, last);
        }
        return found;
    }
    // A run is found by its start, or by its end.
    let is_made = |date: &&DateTime<Utc>| {
        let end = **date + (**date - timetable.manual_interval(**date).start);
        [**date, end].into_iter().any(|at| from(at).is_some_and(|run| run.logical_date == **date))
    };
    found.extend(dates.iter().filter(is_made));
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::schedule::Timetables;

    fn dates(texts: &[&str]) -> BTreeSet<DateTime<Utc>> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn check(schedule: &Schedule, expected: &[&str], others: &[&str]) {
        let timetable = Timetables::default().timetable(schedule, "UTC").unwrap();
        let all = dates(expected).union(&dates(others)).copied().collect();
        assert_eq!(dates_on_schedule(schedule, timetable.as_ref(), &all), dates(expected), "{schedule:?}");
    }

    #[test]
    fn dates_are_on_schedule_or_not() {
        let daily = Schedule::Cron { expression: "@daily".into() };
        let on = ["2024-03-01T05:00:00Z", "2024-03-02T00:00:00Z"];
        check(&daily, &on, &["2024-03-02T05:00:00Z", "2024-03-02T00:00:01Z"]);
        let hours = Schedule::TimeDelta { microseconds: 2 * 3_600_000_000 };
        check(&hours, &["2024-03-01T05:00:00Z", "2024-03-01T09:00:00Z"], &["2024-03-01T08:00:00Z"]);
        let months = Map::from_iter([("months".to_owned(), json!(1))]);
        let months = Schedule::RelativeDelta { fields: months };
        check(&months, &["2024-03-01T05:00:00Z", "2024-05-01T05:00:00Z"], &["2024-04-01T04:00:00Z"]);
        check(&Schedule::Once, &["2024-03-01T05:00:00Z"], &["2024-03-01T09:00:00Z"]);
    }

    #[test]
    fn dates_of_triggers_are_the_starts_of_their_data() {
        let class = |name: &str| format!("airflow.timetables.trigger.{name}");
        let hour = json!({"__type__": "datetime.timedelta", "microseconds": 3_600_000_000_u64});
        let cron = json!({"args": ["0 6 * * *"], "kwargs": {"timezone": "UTC", "interval": hour}});
        let cron = Schedule::Timetable { class: class("CronTriggerTimetable"), arguments: cron };
        check(&cron, &["2024-03-01T04:30:00Z", "2024-03-02T05:00:00Z"], &["2024-03-02T06:00:00Z"]);
        let delta = Schedule::Timetable { class: class("DeltaTriggerTimetable"), arguments: json!({"delta": hour}) };
        check(&delta, &["2024-03-01T04:30:00Z", "2024-03-01T06:30:00Z"], &["2024-03-02T06:00:00Z"]);
    }
}
