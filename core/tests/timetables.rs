//! Timetables make the runs that Airflow's make.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
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

fn moment(text: &str) -> Option<DateTime<Utc>> {
    (text != "-").then(|| text.parse().unwrap())
}

fn interval(text: &str) -> Option<DataInterval> {
    let (start, end) = text.split_once(' ')?;
    Some(DataInterval { start: start.parse().unwrap(), end: end.parse().unwrap() })
}

/// What `data/record_timetables.py` recorded: next runs, intervals of runs that somebody triggers, texts, and what is wrong.
#[test]
fn schedules_run_as_in_airflow() {
    let cases: Vec<_> = include_str!("data/timetables.txt").lines().collect();
    assert!(cases.len() > 3_000, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let fields: Vec<_> = case.split('|').collect();
        let schedule = match fields[0] {
            "ticks" | "wrong" => Ok(Schedule::cron(fields[1])),
            _ => serde_json::from_str(fields[1]),
        };
        let schedule = schedule.unwrap();
        let zone = if matches!(fields[0], "text" | "ticks" | "wrong") { "UTC" } else { fields[2] };
        let timetable = match (fields[0], Timetables::default().timetable(&schedule, zone)) {
            ("wrong", Err(_)) => continue,
            ("wrong", Ok(_)) => {
                wrong.push(format!("{case}\n  is not wrong"));
                continue;
            }
            (_, Err(problem)) => {
                wrong.push(format!("{case}\n  {problem}"));
                continue;
            }
            (_, Ok(timetable)) => timetable,
        };
        let (found, expected) = match fields[0] {
            "ticks" => {
                let at = moment(fields[2]).unwrap();
                let trigger = json!({"cron": fields[1], "timezone": "UTC"});
                let trigger = Schedule::timetable("airflow.timetables.trigger.CronTriggerTimetable", trigger);
                let trigger = Timetables::default().timetable(&trigger, "UTC").unwrap();
                let next = trigger.next_run(Some(DataInterval::exact(at)), &CATCH_UP, at).map(|run| run.create_after);
                let (expected, manual) = (moment(fields[3]), interval(fields[4]).unwrap_or(DataInterval::exact(at)));
                (format!("{next:?} {:?}", timetable.manual_interval(at)), format!("{expected:?} {manual:?}"))
            }
            "next" => {
                let restriction = Restriction {
                    earliest: moment(fields[3]),
                    latest: moment(fields[4]),
                    catchup: fields[5] == "true",
                };
                let run = timetable.next_run(interval(fields[7]), &restriction, moment(fields[6]).unwrap());
                if let Some(run) = run {
                    assert_eq!(run.logical_date, run.data_interval.start);
                }
                let show = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
                let parts = run.map(|run| [run.data_interval.start, run.data_interval.end, run.create_after].map(show));
                (parts.map_or("-".into(), |parts| parts.join(" ")), fields[8].to_owned())
            }
            "manual" => {
                let at = moment(fields[3]).unwrap();
                let expected = interval(fields[4]).unwrap_or(DataInterval::exact(at));
                (format!("{:?}", timetable.manual_interval(at)), format!("{expected:?}"))
            }
            "text" => (format!("{}|{}", timetable.summary(), timetable.description()), fields[2..].join("|")),
            other => panic!("{other}"),
        };
        if found != expected {
            wrong.push(format!("{case}\n  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"];
const CRONS: [&str; 10] = [
    "0 0 * * *",
    "30 2 * * *",
    "*/20 * * * *",
    "15 */2 * * *",
    "0 1-3 * * *",
    "0 0 L * *",
    "0 6 * * mon-fri",
    "0 0 1,15 * fri",
    "0 12 * * 5#2",
    "* * * * * */20",
];

fn schedules() -> impl Strategy<Value = Schedule> {
    let cron = prop::sample::select(&CRONS[..]).prop_map(|text| Schedule::Cron { expression: text.into() });
    let delta = (1..100_000_000_000_i64).prop_map(|microseconds| Schedule::TimeDelta { microseconds });
    prop_oneof![cron, delta]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Runs that are caught up on follow one another without a hole, in UTC; nowhere does time go back.
    #[test]
    fn runs_follow_one_another(
        schedule in schedules(),
        zone in prop::sample::select(&ZONES[..]),
        start in 1_300_000_000_i64..1_900_000_000,
        catchup: bool,
    ) {
        let timetable = Timetables::default().timetable(&schedule, zone).unwrap();
        let start = DateTime::from_timestamp(start, 0).unwrap();
        let restriction = Restriction { earliest: Some(start), latest: None, catchup };
        let mut now = start;
        let mut last: Option<DataInterval> = None;
        for _ in 0..30 {
            let Some(run) = timetable.next_run(last, &restriction, now) else { break };
            prop_assert!(run.data_interval.end > run.data_interval.start);
            prop_assert!(run.logical_date >= start);
            if let Some(last) = last {
                prop_assert!(run.logical_date > last.start, "{run:?} after {last:?}");
                if catchup && zone == "UTC" {
                    prop_assert_eq!(run.data_interval.start, last.end);
                }
            }
            now = now.max(run.create_after) + TimeDelta::minutes(1);
            last = Some(run.data_interval);
        }
    }

    /// No text makes reading or searching fail otherwise than by saying so.
    #[test]
    fn any_expression_is_answered(text in "[-0-9*/,#?lwLW a-f@]{1,24}", at in 0_i64..4_000_000_000) {
        let schedule = Schedule::Cron { expression: text };
        if let Ok(timetable) = Timetables::default().timetable(&schedule, "Europe/Berlin") {
            let at = DateTime::from_timestamp(at, 0).unwrap();
            let restriction = Restriction { earliest: Some(at), latest: None, catchup: true };
            timetable.next_run(None, &restriction, at);
            timetable.manual_interval(at);
            timetable.description();
        }
    }
}

#[test]
fn what_is_wrong_is_said() {
    let timetables = Timetables::default();
    let error = |schedule: &Schedule| timetables.timetable(schedule, "UTC").unwrap_err();
    let cron = |text: &str| Schedule::Cron { expression: text.into() };
    for text in ["", "* * * *", "60 * * * *", "* 24 * * *", "a b c d e", "@sometimes", "*/0 * * * *", "0 0 * 13 *"] {
        assert!(error(&cron(text)).contains(text), "{text}");
    }
    for text in ["0 0 0 * *", "0 0 * * 1#6", "0 0 1w,2 * *", "0 0 * * 8", "? * * * *", "0 0 * * 1,2#1", "h * * * *"] {
        assert!(error(&cron(text)).contains(text), "{text}");
    }
    assert!(error(&Schedule::TimeDelta { microseconds: 0 }).contains("must be positive"));
    let relative = |fields: serde_json::Value| Schedule::RelativeDelta { fields: fields.as_object().unwrap().clone() };
    assert!(error(&relative(json!({"months": -1}))).contains("must be positive"));
    assert!(error(&relative(json!({"hour": 0, "minute": 0}))).contains("must be positive"));
    assert!(error(&relative(json!({"fortnights": 1}))).contains("'fortnights'"));
    assert!(error(&relative(json!({"days": "1"}))).contains("'days'"));
    let class = |class: &str, arguments| Schedule::Timetable { class: class.into(), arguments };
    let trigger = "airflow.timetables.trigger.CronTriggerTimetable";
    for (arguments, part) in [
        (json!({"args": ["0 0 * * *"], "kwargs": {}}), "needs the argument 'timezone'"),
        (json!({"kwargs": {"timezone": "UTC"}}), "needs the argument 'cron'"),
        (json!({"cron": "0 0 * * *", "timezone": "Mars/Olympus"}), "'Mars/Olympus'"),
        (json!({"cron": "0 0 * * *", "timezone": "UTC", "interval": "1h"}), "a timedelta or relativedelta"),
        (json!({"cron": "0 0 * * *", "timezone": "UTC", "colour": 1}), "unexpected argument 'colour'"),
        (json!({"args": ["0 0 * * *", 1], "kwargs": {"timezone": "UTC"}}), "too many"),
        (json!([]), "must be an object"),
    ] {
        let found = error(&class(trigger, arguments));
        assert!(found.contains(part), "{found}");
    }
    assert!(error(&class("company.Afternoons", json!({}))).contains("'company.Afternoons'"));
    assert!(error(&class("company.CronTriggerTimetable", json!({}))).contains("no timetable"));
    let nested = Schedule::DatasetOrTime {
        condition: updraft_core::model::DatasetCondition::all(["a".to_owned()]),
        timetable: Box::new(Schedule::Datasets { condition: Default::default() }),
    };
    assert!(error(&nested).contains("nested"));
}

#[test]
fn hosts_add_timetables() {
    let mut timetables = Timetables::default();
    timetables.add("company.Afternoons", |arguments, zone| {
        let hour = arguments["kwargs"]["hour"].as_u64().ok_or("an hour is missing")?;
        let cron = Schedule::Cron { expression: format!("0 {hour} * * *") };
        Timetables::default().timetable(&cron, zone)
    });
    let class = |arguments| Schedule::Timetable { class: "company.Afternoons".into(), arguments };
    let found = timetables.timetable(&class(json!({"args": [], "kwargs": {"hour": 15}})), "Asia/Tokyo").unwrap();
    assert_eq!(found.description(), "At 15:00");
    assert_eq!(found.manual_interval(seconds("1700000000")).end, moment("2023-11-14T06:00:00Z").unwrap());
    assert_eq!(timetables.timetable(&class(json!({})), "UTC").unwrap_err(), "an hour is missing");
}

#[test]
fn several_expressions_are_one_schedule() {
    let schedule = Schedule::Timetable {
        class: "airflow.timetables.trigger.MultipleCronTriggerTimetable".into(),
        arguments: json!({"args": ["0 8 * * *", "30 17 * * *"], "kwargs": {"timezone": "UTC"}}),
    };
    let timetable = Timetables::default().timetable(&schedule, "UTC").unwrap();
    let start = moment("2024-01-01T09:00:00Z");
    let mut last = None;
    for expected in ["2024-01-01T17:30:00Z", "2024-01-02T08:00:00Z", "2024-01-02T17:30:00Z"] {
        let restriction = Restriction { earliest: start, ..CATCH_UP };
        let run = timetable.next_run(last, &restriction, start.unwrap()).unwrap();
        assert_eq!(Some(run.create_after), moment(expected));
        last = Some(run.data_interval);
    }
    let latest = Restriction { earliest: start, latest: None, catchup: false };
    let run = timetable.next_run(last, &latest, moment("2024-01-09T18:00:00Z").unwrap()).unwrap();
    assert_eq!(Some(run.create_after), moment("2024-01-09T17:30:00Z"));
    assert_eq!(timetable.summary(), "0 8 * * *, 30 17 * * *");
}
