//! A throw-away that proves the storage traits and their speed on PostgreSQL before they settle: the real scheduler and
//! executor over hot methods on lean tables, beside what the same tables take without an engine.

mod server;
mod storage;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::oneshot;
use updraft_benches::engine::{Here, LIMIT, Workload};
use updraft_benches::graph::Graph;
use updraft_benches::report::{cpu_time, line, median, quantile_micros};
use updraft_benches::watched::Watched;
use updraft_core::clock::{Clock, SystemClock};
use updraft_core::engine::{Scheduler, SchedulerParts, SchedulerSettings, SchedulerStatus};
use updraft_core::executor::{Attempt, LocalExecutor, LocalExecutorParts};
use updraft_core::id::{DagVersionId, IdSource};
use updraft_core::log::MemoryLogs;
use updraft_core::model::{Connection as AirflowConnection, RunState, RunType};
use updraft_core::operator::{CodeTasks, TaskStore};
use updraft_core::storage::{NewRun, StorageError};

use crate::server::Server;
use crate::storage::PostgresProof;

/// Tasks that do nothing read and write nothing.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl TaskStore for Nothing {
    async fn xcoms(
        &self,
        _: &Attempt,
        _: Option<&str>,
        _: Option<&str>,
        _: Option<&[String]>,
        _: &str,
        _: bool,
    ) -> Result<Vec<Value>, StorageError> {
        Ok(Vec::new())
    }

    async fn set_xcom(&self, _: &Attempt, _: &str, _: Value) -> Result<(), StorageError> {
        Ok(())
    }

    async fn variable(&self, _: &str) -> Result<Option<String>, StorageError> {
        Ok(None)
    }

    async fn connection(&self, _: &str) -> Result<Option<AirflowConnection>, StorageError> {
        Ok(None)
    }

    async fn previous_success(&self, _: &Attempt) -> Result<Option<[Option<DateTime<Utc>>; 4]>, StorageError> {
        Ok(None)
    }

    async fn set_process(&self, _: &Attempt, _: u32) -> Result<(), StorageError> {
        Ok(())
    }

    async fn set_rendered_fields(&self, _: &Attempt, _: Value) -> Result<(), StorageError> {
        Ok(())
    }
}

fn new_run(version: DagVersionId, number: i64, now: DateTime<Utc>) -> NewRun {
    let date = now + chrono::TimeDelta::microseconds(number);
    NewRun {
        dag_version: version,
        run_id: format!("manual__{}", date.timestamp_micros()),
        run_type: RunType::Manual,
        state: RunState::Queued,
        logical_date: date,
        data_interval_start: date,
        data_interval_end: date,
        external_trigger: true,
        conf: json!({}),
        note: None,
        audit: None,
    }
}

/// The same rows without an engine, by one connection: instances in, attempts in, attempts out with instances final;
/// a thousand a commit. Returns the time of all tasks.
async fn yardstick(server: &Server, clock: &dyn Clock, tasks: i32) -> Duration {
    let options =
        sqlx::postgres::PgConnectOptions::new().socket(server.socket()).username("postgres").database("postgres");
    let mut connection = PgConnection::connect_with(&options).await.expect("a server");
    connection.execute(storage::PIN).await.expect("settings exist");
    let start = clock.monotonic();
    for from in (0..tasks).step_by(1000) {
        for statement in [
            "INSERT INTO task_instance (run, task, map_index, state, try_number, max_tries)
             SELECT -1, ix, -1, 0, 0, 0 FROM generate_series($1, $1 + 999) AS ix",
            "INSERT INTO attempt SELECT ('00000000-0000-0000-0000-' || lpad(ix::text, 12, '0'))::uuid, -1, ix, -1, 1, 1, 1, false, 1, 1, 1, now(), now()
             FROM generate_series($1, $1 + 999) AS ix",
            "WITH gone AS (DELETE FROM attempt a USING generate_series($1, $1 + 999) AS ix
                WHERE a.token = ('00000000-0000-0000-0000-' || lpad(ix::text, 12, '0'))::uuid
                RETURNING a.run, a.task, a.map_index, a.start_date)
             UPDATE task_instance t SET state = 2, try_number = 1, start_date = g.start_date, end_date = now()
             FROM gone g WHERE t.run = g.run AND t.task = g.task AND t.map_index = g.map_index",
        ] {
            sqlx::query(statement).bind(from).execute(&mut connection).await.expect("the yardstick works");
        }
    }
    let time = clock.monotonic() - start;
    connection.execute("DELETE FROM task_instance WHERE run = -1").await.expect("rows can be deleted");
    time
}

/// Commits of one row, one after another.
async fn commits(server: &Server, clock: &dyn Clock) -> Vec<Duration> {
    let options =
        sqlx::postgres::PgConnectOptions::new().socket(server.socket()).username("postgres").database("postgres");
    let mut connection = PgConnection::connect_with(&options).await.expect("a server");
    connection.execute("INSERT INTO lane VALUES (-1, 0, 0, 0) ON CONFLICT DO NOTHING").await.expect("a row");
    let mut times = Vec::new();
    for _ in 0..300 {
        let start = clock.monotonic();
        let write = sqlx::query("UPDATE lane SET seq = seq + 1 WHERE scheduler = -1").execute(&mut connection);
        write.await.expect("a row can be written");
        times.push(clock.monotonic() - start);
    }
    times
}

#[tokio::main]
async fn main() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let reps: usize = std::env::args().nth(1).and_then(|reps| reps.parse().ok()).unwrap_or(5);
    let server = Server::start();
    let storage = Arc::new(PostgresProof::connect(server.socket(), Arc::clone(&clock)).await);
    let cases = [
        Workload::new("flat", &Graph::flat(10_000), 1, false, Arc::clone(&clock)),
        Workload::new("runs of 3", &Graph::chain(3), 1000, false, Arc::clone(&clock)),
        Workload::new("fan", &Graph::fan(1_000), 1, false, Arc::clone(&clock)),
        Workload::new("chain", &Graph::chain(300), 1, true, Arc::clone(&clock)),
    ];
    let code = Arc::new(CodeTasks::default());
    let mut versions = Vec::new();
    for case in &cases {
        case.register_code(&code);
        versions.push(storage.register(case.registration()).await.expect("DAGs can be registered"));
    }
    let executor = LocalExecutor::new(LocalExecutorParts {
        parallelism: LIMIT as usize,
        registry: Arc::default(),
        code: Arc::clone(&code),
        renderer: None,
        store: Arc::new(Nothing),
        logs: Arc::new(MemoryLogs::default()),
        clock: Arc::clone(&clock),
    });
    let watched = Arc::new(Watched::new(storage.clone()));
    let parts = SchedulerParts {
        storage: watched.clone(),
        executor: Arc::new(executor),
        runnable: Arc::new(Here(code)),
        clock: Arc::clone(&clock),
        ids: IdSource::from_system(),
        status: SchedulerStatus::default(),
    };
    let (stop, stopped) = oneshot::channel();
    let stopped = async { stopped.await.unwrap_or_default() };
    let scheduler = tokio::spawn(Scheduler::run(parts, SchedulerSettings::default(), stopped));

    let mut times = vec![Vec::new(); cases.len()];
    let mut floors = Vec::new();
    let mut cpu = vec![(Duration::ZERO, 0); cases.len()];
    let mut counters = vec![(0, 0, 0); cases.len()];
    let (mut hops, mut single) = (Vec::new(), Vec::new());
    for rep in 0..=reps {
        // The first is a warm-up.
        let counts = rep > 0;
        single.extend(commits(&server, clock.as_ref()).await);
        let floor = yardstick(&server, clock.as_ref(), 10_000).await;
        if counts {
            floors.push(floor);
        }
        for (i, case) in cases.iter().enumerate() {
            case.reset();
            watched.expect(case.runs);
            let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            let before = (of(&storage.commits), of(&storage.statements), of(&storage.rows));
            let (cpu_before, server_before) = (cpu_time(), server.cpu_ticks());
            let start = clock.monotonic();
            let now = clock.now();
            let runs: Vec<_> =
                (0..case.runs).map(|n| new_run(versions[i], i64::try_from(n).unwrap_or(0), now)).collect();
            storage.create_runs(now, &runs).await.expect("runs can be created");
            watched.all_ended().await;
            let took = clock.monotonic() - start;
            case.check();
            let wrong: i64 =
                sqlx::query_scalar("SELECT count(*) FROM task_instance WHERE state <> 2 OR try_number <> 1")
                    .fetch_one(storage.pool())
                    .await
                    .expect("the server is there");
            assert_eq!(wrong, 0, "every row ended as a success at its first try");
            if counts {
                times[i].push(took);
                cpu[i].0 += cpu_time() - cpu_before;
                cpu[i].1 += server.cpu_ticks() - server_before;
                counters[i].0 += of(&storage.commits) - before.0;
                counters[i].1 += of(&storage.statements) - before.1;
                counters[i].2 += of(&storage.rows) - before.2;
                hops.extend(case.witness().stamps().windows(2).map(|pair| pair[1].saturating_sub(pair[0])));
            }
        }
    }
    let floor = 10_000.0 / median(&floors).as_secs_f64();
    let commit = (quantile_micros(&mut single, 500), quantile_micros(&mut single, 990));
    line(
        "postgres",
        "yardstick",
        10_000,
        &[("tasks_a_second", json!(floor.round())), ("commit_micros_p50_p99", json!([commit.0, commit.1]))],
    );
    println!("\nyardstick: {floor:.0} tasks/s; one-row commit p50 {:.0} us, p99 {:.0} us\n", commit.0, commit.1);
    println!(
        "| workload | tasks | tasks/s | share of yardstick | CPU us/task (ours + PostgreSQL) | commits a rep | statements a commit | rows written a task |"
    );
    println!("|{}", " --- |".repeat(8));
    for (i, case) in cases.iter().enumerate() {
        let tasks = case.tasks();
        let speed = tasks as f64 / median(&times[i]).as_secs_f64();
        let all = (tasks * reps) as f64;
        let (ours, theirs) = (cpu[i].0.as_secs_f64() * 1e6 / all, cpu[i].1 as f64 * 1e4 / all);
        let (commits, statements, rows) = counters[i];
        let a_commit = statements as f64 / commits as f64;
        let a_task = rows as f64 / all;
        println!(
            "| {} | {tasks} | {speed:.0} | {:.0} % | {ours:.0} + {theirs:.0} | {:.0} | {a_commit:.1} | {a_task:.2} |",
            case.name,
            speed / floor * 100.0,
            commits as f64 / reps as f64
        );
        let figures = [
            ("tasks_a_second", json!(speed.round())),
            ("commits_a_rep", json!(commits / reps as u64)),
            ("statements_a_commit", json!(a_commit)),
            ("rows_a_task", json!(a_task)),
        ];
        line("postgres", case.name, tasks, &figures);
    }
    let hop = (quantile_micros(&mut hops, 500), quantile_micros(&mut hops, 990));
    println!("\nhop of a chain: p50 {:.0} us ({:.2} commits), p99 {:.0} us", hop.0, hop.0 / commit.0, hop.1);
    stop.send(Duration::ZERO).ok();
    scheduler.await.expect("the scheduler does not panic").expect("the scheduler stops cleanly");
}
