//! `updraft-bench schedules`: what 10,000 DAGs with schedules cost while nothing is due, and how soon 1,000 that are due in the
//! same second run.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgConnection;
use tokio::sync::oneshot;
use updraft_core::clock::Clock;
use updraft_core::dag::content_hash;
use updraft_core::engine::{Runnable, Scheduler, SchedulerParts, SchedulerSettings, SchedulerStatus};
use updraft_core::executor::{LocalExecutor, LocalExecutorParts};
use updraft_core::id::IdSource;
use updraft_core::log::MemoryLogs;
use updraft_core::mask::SensitiveNames;
use updraft_core::model::{Dag, DagRun, DagVersion, OperatorRef, RunState, Schedule, Task};
use updraft_core::operator::StorageTaskStore;
use updraft_core::storage::{DagRegistration, DagStorage, PageRequest, RunQuery, RunStorage, Storage};
use updraft_storage_postgres::{PostgresSettings, PostgresStorage};
use updraft_test_postgres::{Cluster, Durability};

use crate::postmaster::Postmaster;
use crate::report::cpu_time;

const IDLE: usize = 10_000;
const DUE: usize = 1_000;

/// Everything is empty, so everything can run.
#[derive(Debug)]
struct Everything;

impl Runnable for Everything {
    fn can_run(&self, _: &DagVersion) -> bool {
        true
    }
}

fn registration(dag_id: String, schedule: Schedule, start: DateTime<Utc>) -> DagRegistration {
    let mut dag = Dag::new(dag_id);
    dag.schedule = schedule;
    dag.start_date = Some(start);
    dag.catchup = false;
    let mut task = Task::new("only", OperatorRef::from_path("airflow.operators.empty.EmptyOperator"));
    task.is_empty = true;
    dag.tasks.push(task);
    let dag = Arc::new(dag);
    DagRegistration { content_hash: content_hash(&dag), dag, paused_upon_creation: false, source: None }
}

/// Transactions that were ended in the database.
async fn transactions(connection: &mut PgConnection) -> i64 {
    let query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(query).fetch_one(connection).await.expect("the server counts")
}

/// Measures for `seconds` what an idle scheduler costs, then how long the runs take that are due together.
///
/// # Panics
/// Something fails.
pub async fn run(clock: Arc<dyn Clock>, seconds: u64) {
    let cluster = Cluster::start(Durability::Default).await.unwrap_or_else(|error| panic!("{error}"));
    let database = cluster.database().await;
    let settings = PostgresSettings::from_options(database.options());
    let storage = PostgresStorage::new(settings, Arc::clone(&clock));
    let now = clock.now();
    // Far away, and at different times.
    let idle = (0..IDLE).map(|i| {
        let expression = format!("{} {} {} {} *", i % 60, i % 24, 1 + i % 28, 1 + (i % 12));
        registration(format!("idle_{i:05}"), Schedule::Cron { expression }, now + TimeDelta::days(30))
    });
    storage.register_dags(now, idle.collect()).await.expect("DAGs can be registered");

    let shared: Arc<dyn Storage> = Arc::new(storage.clone());
    let status = SchedulerStatus::default();
    let parts = SchedulerParts {
        storage: shared.clone(),
        executor: Arc::new(LocalExecutor::new(LocalExecutorParts {
            parallelism: 32,
            registry: Arc::default(),
            code: Arc::default(),
            renderer: None,
            store: Arc::new(StorageTaskStore::new(shared.clone(), Arc::clone(&clock))),
            logs: Arc::new(MemoryLogs::default()),
            sensitive_names: SensitiveNames::default(),
            clock: Arc::clone(&clock),
        })),
        runnable: Arc::new(Everything),
        timetables: Arc::default(),
        clock: Arc::clone(&clock),
        ids: IdSource::from_system(),
        status: status.clone(),
    };
    let (stop, stopped) = oneshot::channel();
    let stopped = async { stopped.await.unwrap_or_default() };
    let begin = clock.monotonic();
    let scheduler = tokio::spawn(Scheduler::run(parts, SchedulerSettings::default(), stopped));
    while storage.dag(&format!("idle_{:05}", IDLE - 1)).await.expect("it is there").next_run.is_none() {
        clock.sleep(Duration::from_millis(20)).await;
    }
    println!("{IDLE} schedules are planned in {:.2} s", (clock.monotonic() - begin).as_secs_f64());

    let mut connection = database.connect().await;
    let postmaster = Postmaster::of(&mut connection).await;
    // What the server counts, it tells about a second later.
    clock.sleep(Duration::from_secs(5)).await;
    let before = (transactions(&mut connection).await, cpu_time(), postmaster.cpu_time());
    clock.sleep(Duration::from_secs(seconds)).await;
    let after = (transactions(&mut connection).await, cpu_time(), postmaster.cpu_time());
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let per_second = |count: i64| count as f64 / seconds as f64;
    let share = |time: Duration| 100.0 * time.as_secs_f64() / Duration::from_secs(seconds).as_secs_f64();
    println!(
        "idle for {seconds} s: {:.2} transactions a second, {:.2} % of a core here, {:.2} % in PostgreSQL",
        per_second(after.0 - before.0),
        share(after.1.saturating_sub(before.1)),
        share(after.2.saturating_sub(before.2)),
    );

    let due_at = clock.now().trunc_subsecs(0) + TimeDelta::seconds(15);
    let events = json!({"args": [[due_at.to_rfc3339()]], "kwargs": {}});
    let due = (0..DUE).map(|i| {
        let schedule = Schedule::Timetable {
            class: "airflow.timetables.events.EventsTimetable".into(),
            arguments: events.clone(),
        };
        registration(format!("due_{i:04}"), schedule, now)
    });
    storage.register_dags(clock.now(), due.collect()).await.expect("DAGs can be registered");
    let query = RunQuery { page: PageRequest { limit: 2 * DUE, offset: 0 }, ..RunQuery::default() };
    let runs = loop {
        let runs: Vec<DagRun> = storage.dag_runs(&query).await.expect("runs are listed").items;
        let has_ended = |run: &DagRun| run.state == RunState::Success;
        if runs.len() == DUE && runs.iter().all(has_ended) {
            break runs;
        }
        clock.sleep(Duration::from_millis(100)).await;
    };
    let latest = |date: fn(&DagRun) -> Option<DateTime<Utc>>| {
        let latest = runs.iter().filter_map(date).max().expect("there are runs");
        (latest - due_at).as_seconds_f64()
    };
    println!(
        "{DUE} due at once: created after {:.2} s, running after {:.2} s, ended after {:.2} s",
        latest(|run| Some(run.queued_at)),
        latest(|run| run.start_date),
        latest(|run| run.end_date),
    );
    stop.send(Duration::ZERO).ok();
    scheduler.await.expect("the scheduler does not panic").expect("the scheduler ends in order");
}
