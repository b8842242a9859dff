//! Runs that are made by time: what a host and its clients see.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use updraft::clock::{Clock, SystemClock};
use updraft::dag::DagBuilder;
use updraft::model::{DagRun, RunState, RunType, Schedule};
use updraft::operator::{Outcome, TaskContext};
use updraft::storage::{PageRequest, RunQuery};
use updraft::{TriggerRequest, Updraft};

fn date(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Waits until the runs of the DAG are what a condition wants.
async fn wait_for(updraft: &Updraft, dag_id: &str, is_met: impl Fn(&[DagRun]) -> bool) -> Vec<DagRun> {
    let query = RunQuery {
        dag_ids: Some([dag_id.into()].into()),
        page: PageRequest { limit: 1000, offset: 0 },
        ..RunQuery::default()
    };
    let met = async {
        loop {
            let runs = updraft.service().dag_runs(&query).await.unwrap().items;
            if is_met(&runs) {
                return runs;
            }
            updraft.clock().sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), met).await.expect("the runs come about")
}

fn all_ended(count: usize) -> impl Fn(&[DagRun]) -> bool {
    move |runs| runs.len() == count && runs.iter().all(|run| run.state == RunState::Success)
}

fn dates(runs: &[DagRun]) -> Vec<String> {
    runs.iter().map(|run| run.logical_date.to_rfc3339()).collect()
}

fn dag(dag_id: &str, schedule: Schedule) -> DagBuilder {
    let dag = DagBuilder::new(dag_id).schedule(schedule).start_date(date("2024-03-01T00:00:00Z"));
    dag.task("a", |_: TaskContext| async { Ok(Outcome::success()) });
    dag
}

async fn started(dags: Vec<DagBuilder>) -> (Updraft, updraft::Running) {
    let mut builder = Updraft::builder();
    for dag in dags {
        builder = builder.dag(dag);
    }
    let updraft = builder.build().unwrap();
    let running = updraft.start().await.unwrap();
    (updraft, running)
}

#[tokio::test]
async fn each_interval_is_made_up_for_once() {
    let cron = Schedule::Cron { expression: "0 6 * * *".into() };
    let dag = dag("caught_up", cron).end_date(date("2024-03-20T12:00:00Z")).max_active_runs(3);
    let (updraft, running) = started(vec![dag]).await;
    let runs = wait_for(&updraft, "caught_up", all_ended(20)).await;
    assert_eq!(runs[0].run_id, "scheduled__2024-03-01T06:00:00+00:00");
    assert_eq!(runs[19].logical_date, date("2024-03-20T06:00:00Z"));
    for pair in runs.windows(2) {
        assert_eq!(pair[0].data_interval_end, pair[1].data_interval_start);
        assert_eq!((pair[0].run_type, pair[0].external_trigger), (RunType::Scheduled, false));
    }
    let record = updraft.service().dag("caught_up").await.unwrap();
    assert_eq!((record.next_run, record.is_held), (None, false));
    running.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn once_means_once() {
    let (updraft, running) = started(vec![dag("once", Schedule::Once)]).await;
    let runs = wait_for(&updraft, "once", all_ended(1)).await;
    assert_eq!(dates(&runs), ["2024-03-01T00:00:00+00:00"]);
    running.shutdown(Duration::from_secs(5)).await;
    // Not again by the next start.
    let running = updraft.start().await.unwrap();
    let run = updraft.trigger("once", TriggerRequest::default()).await.unwrap();
    updraft.wait_for_run("once", &run.run_id).await.unwrap();
    assert_eq!(wait_for(&updraft, "once", all_ended(2)).await.len(), 2);
    running.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn continuous_runs_follow_each_other() {
    let dag = dag("continuous", Schedule::Continuous).max_active_runs(1);
    let (updraft, running) = started(vec![dag]).await;
    let runs = wait_for(&updraft, "continuous", |runs| runs.len() >= 4).await;
    for pair in runs.windows(2) {
        assert_eq!(pair[0].data_interval_end, pair[1].data_interval_start);
    }
    running.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn without_catchup_only_the_latest_interval_runs() {
    let hours = Schedule::TimeDelta { microseconds: 3_600_000_000 };
    let (updraft, running) = started(vec![dag("latest", hours).catchup(false)]).await;
    let runs = wait_for(&updraft, "latest", |runs| !runs.is_empty()).await;
    let end = runs[0].data_interval_end;
    let now = updraft.clock().now();
    assert!(end <= now && now - end < TimeDelta::hours(2), "{end}");
    let record = updraft.service().dag("latest").await.unwrap();
    assert_eq!(record.next_run.map(|next| next.data_interval.start), Some(end));
    running.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_event_runs_once_its_time_has_come() {
    // In the past when it is looked at, and not made up for: what was planned counts.
    let first = DateTime::<Utc>::from_timestamp(SystemClock::new().now().timestamp() + 2, 0).unwrap();
    let class = "airflow.timetables.events.EventsTimetable";
    let events = Schedule::timetable(class, serde_json::json!({"event_dates": [first.to_rfc3339()]}));
    let (updraft, running) = started(vec![dag("event", events).catchup(false)]).await;
    let runs = wait_for(&updraft, "event", all_ended(1)).await;
    assert_eq!(runs[0].logical_date, first);
    assert!(runs[0].queued_at >= first);
    running.shutdown(Duration::from_secs(5)).await;
}
