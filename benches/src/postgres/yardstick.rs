//! What the same tables take without an engine, by one connection: single-row commits, and the rows of a workload in
//! batches.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection};
use updraft_core::clock::Clock;
use uuid::Uuid;

use crate::report::quantile_micros;

const COMMITS: usize = 300;

/// Plans as the storage pins them.
const PIN: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off; \
                   SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off";

const INSERT_RUNS: &str =
    "INSERT INTO updraft.dag_run (id, dag, dag_version, run_id, logical_date, data_interval_start,
        data_interval_end, run_type, state, external_trigger, conf, queued_at, updated_at, owner, was_owned)
    OVERRIDING SYSTEM VALUE
    SELECT id, -1, -1, 'manual__' || id, date, date, date, 1, 0, true, '{}', now(), now(), -1, true
    FROM unnest($1::bigint[]) AS r (id), LATERAL (SELECT now() + id * interval '1 us') AS d (date)";
const INSERT_INSTANCES: &str = "INSERT INTO updraft.task_instance (run, task, map_index, state, max_tries, updated_at)
    SELECT run, task, -1, 0, 0, now() FROM unnest($1::bigint[], $2::int[]) AS t (run, task)";
const START_RUNS: &str = "UPDATE updraft.dag_run SET state = 1, start_date = now(), last_scheduling_decision = now(),
    updated_at = now() WHERE id = ANY ($1)";
const ADMIT: &str =
    "INSERT INTO updraft.attempt (token, run, task, map_index, try_number, phase, start_date, dag, pool_slots,
        task_id, pool, scheduler, epoch, queued_when)
    SELECT token, run, task, -1, 1, 1, now(), -1, 1, 't' || task, 'default_pool', -1, 1, now()
    FROM unnest($1::uuid[], $2::bigint[], $3::int[]) AS t (token, run, task)";
const LOG: &str = "INSERT INTO updraft.event_log (\"when\", run, task, map_index, try_number, event)
    SELECT now(), run, task, -1, 1, $3 FROM unnest($1::bigint[], $2::int[]) AS t (run, task)";
const RELEASE: &str = "DELETE FROM updraft.attempt a USING unnest($1::uuid[]) AS t (token) WHERE a.token = t.token";
const END: &str =
    "UPDATE updraft.task_instance i SET state = 4, try_number = 1, queued_when = now(), start_date = now(),
        end_date = now(), updated_at = now()
    FROM unnest($1::bigint[], $2::int[]) AS t (run, task) WHERE i.run = t.run AND i.task = t.task AND i.map_index = -1";
const END_RUNS: &str = "UPDATE updraft.dag_run SET state = 2, end_date = now(), last_scheduling_decision = now(),
    updated_at = now(), owner = NULL, counts = '{0,0,0,0,1,0,0,0,0,0,0,0,0}' WHERE id = ANY ($1)";

/// Rows of a task, and of a run: created, started, ended.
pub(super) const ROWS_OF_A_TASK: i64 = 6;
/// See [`ROWS_OF_A_TASK`].
pub(super) const ROWS_OF_A_RUN: i64 = 3;

/// A connection that measures.
#[derive(Debug)]
pub(super) struct Yardstick {
    clock: Arc<dyn Clock>,
    connection: PgConnection,
    next_run: i64,
}

impl Yardstick {
    /// A yardstick in a database with Updraft's tables, which nothing else uses.
    ///
    /// # Panics
    /// The server fails.
    pub(super) async fn new(options: &PgConnectOptions, clock: Arc<dyn Clock>) -> Self {
        let mut connection = PgConnection::connect_with(options).await.expect("the server answers");
        connection.execute(PIN).await.expect("settings exist");
        let lane = "INSERT INTO updraft.lane (scheduler, lane, epoch, sequence) VALUES (-1, 0, 1, 0)";
        connection.execute(lane).await.expect("a row can be inserted");
        Self { clock, connection, next_run: 1 }
    }

    /// Whether a commit waits until it is durable.
    ///
    /// # Panics
    /// The server fails.
    pub(super) async fn set_durable(&mut self, durable: bool) {
        let statement = if durable { "SET synchronous_commit = on" } else { "SET synchronous_commit = off" };
        self.connection.execute(statement).await.expect("the setting exists");
    }

    /// Times of commits of one row, one after another.
    ///
    /// # Panics
    /// The server fails.
    pub(super) async fn commits(&mut self) -> Vec<Duration> {
        let mut times = Vec::with_capacity(COMMITS);
        for _ in 0..COMMITS {
            let start = self.clock.monotonic();
            sqlx::query("UPDATE updraft.lane SET sequence = sequence + 1 WHERE scheduler = -1 AND lane = 0")
                .execute(&mut self.connection)
                .await
                .expect("a row can be written");
            times.push(self.clock.monotonic() - start);
        }
        times
    }

    /// Writes all that `runs` runs of `size` tasks write in their life, `batch` tasks a commit, in three rounds: created,
    /// started, ended. Returns how long it took.
    ///
    /// # Panics
    /// The server fails.
    pub(super) async fn cycle(&mut self, runs: i64, size: i32, batch: usize) -> Duration {
        let first = self.next_run;
        self.next_run += runs;
        let tasks: Vec<(i64, i32)> =
            (first..self.next_run).flat_map(|run| (0..size).map(move |task| (run, task))).collect();
        let start = self.clock.monotonic();
        for batch in tasks.chunks(batch) {
            self.write(batch, size).await.expect("the rows can be written");
        }
        self.clock.monotonic() - start
    }

    async fn write(&mut self, batch: &[(i64, i32)], size: i32) -> sqlx::Result<()> {
        let (runs, tasks): (Vec<i64>, Vec<i32>) = batch.iter().copied().unzip();
        let with =
            |place: i32| -> Vec<i64> { batch.iter().filter(|(_, task)| *task == place).map(|(run, _)| *run).collect() };
        let (begun, ended) = (with(0), with(size - 1));
        let token = |(run, task): &(i64, i32)| {
            Uuid::from_u128((run.unsigned_abs() as u128) << 64 | task.unsigned_abs() as u128)
        };
        let tokens: Vec<Uuid> = batch.iter().map(token).collect();

        let mut created = self.connection.begin().await?;
        if !begun.is_empty() {
            sqlx::query(INSERT_RUNS).bind(&begun).execute(&mut *created).await?;
        }
        sqlx::query(INSERT_INSTANCES).bind(&runs).bind(&tasks).execute(&mut *created).await?;
        created.commit().await?;

        let mut started = self.connection.begin().await?;
        if !begun.is_empty() {
            sqlx::query(START_RUNS).bind(&begun).execute(&mut *started).await?;
        }
        sqlx::query(ADMIT).bind(&tokens).bind(&runs).bind(&tasks).execute(&mut *started).await?;
        sqlx::query(LOG).bind(&runs).bind(&tasks).bind("running").execute(&mut *started).await?;
        started.commit().await?;

        let mut gone = self.connection.begin().await?;
        sqlx::query(RELEASE).bind(&tokens).execute(&mut *gone).await?;
        sqlx::query(END).bind(&runs).bind(&tasks).execute(&mut *gone).await?;
        sqlx::query(LOG).bind(&runs).bind(&tasks).bind("success").execute(&mut *gone).await?;
        if !ended.is_empty() {
            sqlx::query(END_RUNS).bind(&ended).execute(&mut *gone).await?;
        }
        gone.commit().await
    }
}

/// Median and 99th percentile, in microseconds.
pub(super) fn p50_p99(times: &mut [Duration]) -> [f64; 2] {
    [quantile_micros(times, 500), quantile_micros(times, 990)].map(f64::round)
}
