//! Timetables make the runs that Airflow's make.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde_json::json;
use updraft_core::model::{DataInterval, Schedule};
use updraft_core::schedule::{Restriction, Timetables};

const CATCH_UP: Restriction = Restriction { earliest: None, latest: None, catchup: true };

fn seconds(text: &str) -> DateTime<Utc> {
    DateTime::from_timestamp(text.parse().unwrap(), 0).unwrap()
}

/// 4,000 expressions, around changes of clocks.
#[test]
fn cron_expressions_tick_as_in_airflow() {
    let folder = std::env::var_os("UPDRAFT_REFERENCE").map(PathBuf::from);
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference");
    let file = folder.unwrap_or_else(beside).join("cron-airflow.txt");
    let Ok(cases) = std::fs::read_to_string(&file) else {
        panic!("{} is not on this machine; set UPDRAFT_REFERENCE to the folder that holds it", file.display());
    };
    let mut count = 0;
    let mut wrong = Vec::new();
    for case in cases.lines() {
        let [expression, zone, start, ticks] = case.split('|').collect::<Vec<_>>().try_into().unwrap();
        let schedule = Schedule::Timetable {
            class: "airflow.timetables.trigger.CronTriggerTimetable".into(),
            arguments: json!({"args": [expression], "kwargs": {"timezone": zone}}),
        };
        let timetable = Timetables::default().timetable(&schedule, "UTC").unwrap();
        let mut at = seconds(start);
        for tick in ticks.split(',').map(seconds) {
            let next = timetable.next_run(Some(DataInterval::exact(at)), &CATCH_UP, at).map(|run| run.create_after);
            if next != Some(tick) {
                wrong.push(format!("{case}: after {at}, {next:?} rather than {tick}"));
                break;
            }
            at = tick;
        }
        count += 1;
    }
    assert!(count >= 4_000, "{count} cases");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}
