//! Many tasks at once.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use updraft_core::engine::SchedulerSettings;
use updraft_test_postgres::Database;

use super::server::{Counts, Rows};
use super::yardstick::p50_p99;
use super::{Bench, Figures};
use crate::engine::{Cost, LIMIT, Limits, Options, Workload, priority};
use crate::graph::Graph;
use crate::report::{peak_resident_bytes, reset_peak};

const POOL: &str = "eight";
const POOL_SLOTS: u32 = 8;

/// Airflow's defaults.
const DEFAULT_ACTIVE: u32 = 16;
const DEFAULT_LIMITS: Limits = Limits { pool_slots: 128, parallelism: 32 };

/// A line.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) shape: &'static str,
    pub(super) graph: Graph,
    pub(super) runs: usize,
    has_defaults: bool,
    pool: Option<&'static str>,
    /// Finished task instances that are there before.
    history: Option<i64>,
}

impl Case {
    fn new(shape: &'static str, graph: Graph, runs: usize) -> Self {
        let name =
            if runs == 1 { format!("{shape}, {}", graph.len()) } else { format!("{runs} runs of {}", graph.len()) };
        Self { name, shape, graph, runs, has_defaults: false, pool: None, history: None }
    }

    pub(super) fn flat(tasks: u32) -> Self {
        Self::new("flat", Graph::flat(tasks), 1)
    }

    pub(super) fn runs(runs: usize) -> Self {
        Self::new("runs", Graph::chain(3), runs)
    }

    /// One task, then so many, then one.
    pub(super) fn fan(width: u32) -> Self {
        Self { name: format!("1-{width}-1"), ..Self::new("fan", Graph::fan(width + 2), 1) }
    }

    pub(super) fn layers(tasks: u32) -> Self {
        Self::new("layers", Graph::layers(tasks), 1)
    }

    /// Through a pool of few slots.
    pub(super) fn pool(tasks: u32) -> Self {
        let name = format!("flat, {tasks}, pool of {POOL_SLOTS}");
        Self { name, pool: Some(POOL), ..Self::new("pools", Graph::flat(tasks), 1) }
    }

    /// With the limits that Airflow has by default.
    pub(super) fn with_defaults(self) -> Self {
        Self { name: format!("{}, default limits", self.name), has_defaults: true, ..self }
    }

    /// With finished task instances in the database.
    pub(super) fn among(self, history: i64) -> Self {
        Self { name: format!("{}, history of {history}", self.name), history: Some(history), ..self }
    }

    /// How many tasks can run at the same time.
    fn in_flight(&self) -> Option<f64> {
        match self.pool {
            Some(_) => Some(f64::from(POOL_SLOTS)),
            // As many tasks of the DAG as runs of it.
            None => self.has_defaults.then_some(f64::from(DEFAULT_ACTIVE)),
        }
    }
}

/// What a workload took.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) cost: Cost,
    pub(super) counts: Counts,
    pub(super) batches: Batches,
    /// The warm-up's and the session's included.
    pub(super) rows: Rows,
    pub(super) peak: u64,
}

/// How many batches were written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batches {
    pub(super) of_workload: u64,
    /// The warm-up's included.
    pub(super) all: u64,
}

impl Bench {
    pub(super) async fn throughput(&mut self, case: &Case) -> Figures {
        let limit = if case.has_defaults { DEFAULT_ACTIVE } else { LIMIT };
        let limits = if case.has_defaults { DEFAULT_LIMITS } else { Limits::default() };
        let options = Options { stamp: case.pool.is_some(), limit, pool: case.pool, ..Options::default() };
        let workload = Workload::with(case.shape, &case.graph, case.runs, options, Arc::clone(&self.clock));

        let (ceiling, commit) = self.ceiling(case).await;
        let temporary;
        let database = match case.history {
            None => {
                temporary = self.server.database().await;
                &temporary
            }
            Some(history) => {
                self.prepare_history(history, &workload).await;
                &self.histories[&history]
            }
        };
        if case.pool.is_some() {
            let insert = "INSERT INTO updraft.pool (name, slots, include_deferred) VALUES ($1, $2, false)";
            let insert = sqlx::query(insert).bind(POOL).bind(i32::try_from(POOL_SLOTS).unwrap_or(0));
            insert.execute(&mut database.connect().await).await.expect("a pool can be made");
        }
        let Measured { cost, counts, batches, rows, peak } =
            self.carry_out(database, &workload, limits, SchedulerSettings::default()).await;
        let tasks = workload.tasks() as f64;
        let a_task = |time: Duration| time.as_secs_f64() * 1e6 / tasks;
        let written = (rows.written - self.of_warm_up.written) as f64;
        let updated = (rows.updated - self.of_warm_up.updated) as f64;
        let in_place = (rows.updated_in_place - self.of_warm_up.updated_in_place) as f64;
        let speed = tasks / cost.total.as_secs_f64();
        let mut figures = vec![
            ("tasks/s", speed),
            ("% of ceiling", speed / ceiling * 100.0),
            ("CPU us/task, ours", a_task(cost.cpu)),
            ("CPU us/task, PostgreSQL's", a_task(counts.cpu)),
            ("% of time creating", cost.create.as_secs_f64() / cost.total.as_secs_f64() * 100.0),
            ("batches", batches.of_workload as f64),
            ("transactions", counts.transactions as f64),
            ("transactions/task", counts.transactions as f64 / tasks),
            ("rows/task", written / tasks),
            ("% HOT", in_place / updated.max(1.0) * 100.0),
            ("WAL B/task", counts.wal as f64 / tasks),
            ("peak RSS MB", peak as f64 / 1e6),
            ("ceiling tasks/s", ceiling),
            ("commit us p50", commit[0]),
            ("commit p99", commit[1]),
        ];
        if let Some(in_flight) = case.in_flight() {
            figures.push(("% of in flight a commit", speed * commit[0] / in_flight / 1e4));
        }
        if case.pool.is_some() {
            let most = workload.witness().most_running();
            assert!(most <= POOL_SLOTS, "{most} tasks ran at the same time in a pool of {POOL_SLOTS} slots");
            figures.push(("most at a time", f64::from(most)));
            figures.push(("% out of order", out_of_order(&workload)));
        }
        figures
    }

    /// Carries out the warm-up and the workload, and checks what they left.
    pub(super) async fn carry_out(
        &self,
        database: &Database,
        workload: &Workload,
        limits: Limits,
        settings: SchedulerSettings,
    ) -> Measured {
        let rows_before = self.server.rows(database).await;
        let mut running = self.engine_with(database, &[workload], limits, settings).await;
        let mut watcher = database.connect().await;
        reset_peak();
        let warmed_up = running.engine.watched().written().0;
        let before = self.server.counts(&mut watcher).await;
        let cost = running.engine.carry_out_unchecked(0, workload).await;
        let counts = self.server.counts(&mut watcher).await.since(before);
        let all = running.engine.watched().written().0;
        let peak = peak_resident_bytes();
        workload.check();
        check_rows(&mut watcher).await;
        drop(watcher);
        running.stop().await;
        let rows = self.server.rows(database).await.since(rows_before);
        Measured { cost, counts, batches: Batches { of_workload: all - warmed_up, all }, rows, peak }
    }

    /// What one connection takes for the rows of such tasks, in tasks a second, and times of a commit.
    pub(super) async fn ceiling(&self, case: &Case) -> (f64, [f64; 2]) {
        let database = self.server.database().await;
        let mut yardstick = self.yardstick(&database).await;
        let (runs, size) =
            if case.runs == 1 { (1, 10_000) } else { (10_000 / case.graph.len().max(1), case.graph.len()) };
        let (runs, size) = (i64::try_from(runs).unwrap_or(1), i32::try_from(size).unwrap_or(1));
        yardstick.cycle(1, 1_000, 1_000).await;
        let commit = p50_p99(&mut yardstick.commits().await);
        let time = yardstick.cycle(runs, size, 1_000).await;
        ((runs * i64::from(size)) as f64 / time.as_secs_f64(), commit)
    }

    /// A database with so many finished instances of the workload's DAG.
    async fn prepare_history(&mut self, history: i64, workload: &Workload) {
        if self.histories.contains_key(&history) {
            return;
        }
        let database = self.server.database().await;
        self.engine(&database, &[workload], Limits::default()).await.stop().await;
        let size = i64::try_from(workload.size).unwrap_or(1);
        let mut connection = database.connect().await;
        let statements = [
            "INSERT INTO updraft.dag_run (dag, dag_version, run_id, logical_date, data_interval_start, data_interval_end,
                run_type, state, external_trigger, conf, queued_at, updated_at, start_date, end_date,
                last_scheduling_decision, was_owned, counts)
             SELECT v.dag, v.id, 'manual__' || n, date, date, date, 1, 2, true, '{}', date, date, date, date, date, true,
                '{0,0,0,0,3,0,0,0,0,0,0,0,0}'
             FROM updraft.dag_version v JOIN updraft.dag d ON d.id = v.dag AND d.dag_id = $3,
                LATERAL generate_series(1, $1 / $2) AS n,
                LATERAL (SELECT now() - interval '1 day' - n * interval '1 s') AS date (date)",
            "INSERT INTO updraft.task_instance (run, task, map_index, state, try_number, max_tries, updated_at, queued_when,
                start_date, end_date, host)
             SELECT r.id, task, -1, 4, 1, 0, r.end_date, r.end_date, r.end_date, r.end_date, 1
             FROM updraft.dag_run r JOIN updraft.dag d ON d.id = r.dag AND d.dag_id = $3, generate_series(0, $2 - 1) AS task
             WHERE $1 > 0",
            "INSERT INTO updraft.event_log (\"when\", run, task, map_index, try_number, event)
             SELECT i.end_date, i.run, i.task, -1, 1, event
             FROM updraft.task_instance i, unnest(ARRAY['running', 'success']) AS event WHERE $1 * $2 > 0 AND $3 <> ''",
        ];
        let dag_id = workload.registration().dag.dag_id.to_string();
        for statement in statements {
            let insert = sqlx::query(statement).bind(history).bind(size).bind(&dag_id);
            insert.execute(&mut connection).await.expect("finished runs can be inserted");
        }
        sqlx::query("VACUUM ANALYZE").execute(&mut connection).await.expect("the database can be cleaned");
        self.histories.insert(history, database);
    }
}

/// Every run and task instance succeeded, at its first try, and nothing is live.
pub(super) async fn check_rows(connection: &mut PgConnection) {
    let statement = "SELECT (SELECT count(*) FROM updraft.dag_run WHERE state <> 2),
        (SELECT count(*) FROM updraft.task_instance WHERE state <> 4 OR try_number <> 1),
        (SELECT count(*) FROM updraft.attempt)";
    let left: (i64, i64, i64) = sqlx::query_as(statement).fetch_one(connection).await.expect("the server answers");
    assert_eq!(left, (0, 0, 0), "runs, instances and attempts that did not end as they should");
}

/// The share of tasks that ran while one of higher priority, which could have, had not, beyond what was in flight.
fn out_of_order(workload: &Workload) -> f64 {
    let stamps = workload.witness().stamps();
    let mut order: Vec<usize> = (0..stamps.len()).collect();
    order.sort_by_key(|&task| stamps[task]);
    let mut expected: Vec<i32> = order.iter().map(|&task| priority(task)).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    let wrong = order.iter().zip(&expected).filter(|&(&task, &expected)| priority(task) != expected).count();
    wrong as f64 / order.len().max(1) as f64 * 100.0
}
