//! The hot methods on PostgreSQL: creating runs, claiming, committing. Everything else answers as if nothing happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, PgPool, Row};
use tokio::sync::{Mutex, watch};
use updraft_core::clock::Clock;
use updraft_core::id::{AttemptToken, DagVersionId, InstanceKey, RunId, SchedulerId, TaskIx};
use updraft_core::model::*;
use updraft_core::storage::*;
use uuid::Uuid;

/// What a version says of limits; it never changes, so nobody asks the database twice.
#[derive(Debug)]
struct Version {
    view: DagVersion,
    dag: i32,
}

#[derive(Debug)]
pub struct PostgresProof {
    clock: Arc<dyn Clock>,
    pool: PgPool,
    /// The lane: one connection, whose plans are pinned.
    lane: Mutex<PgConnection>,
    versions: RwLock<BTreeMap<DagVersionId, Arc<Version>>>,
    announcements: watch::Sender<u64>,
    pub commits: AtomicU64,
    pub statements: AtomicU64,
    pub rows: AtomicU64,
}

fn failed(error: sqlx::Error) -> StorageError {
    StorageError::Internal(Box::new(error))
}

fn run_state(state: i16) -> RunState {
    [RunState::Queued, RunState::Running, RunState::Success, RunState::Failed]
        [usize::try_from(state).unwrap_or(3).min(3)]
}

fn run_number(state: RunState) -> i16 {
    match state {
        RunState::Queued => 0,
        RunState::Running => 1,
        RunState::Success => 2,
        _ => 3,
    }
}

const STATES: [TaskState; 9] = [
    TaskState::None,
    TaskState::Scheduled,
    TaskState::Success,
    TaskState::Failed,
    TaskState::UpForRetry,
    TaskState::UpstreamFailed,
    TaskState::Skipped,
    TaskState::Restarting,
    TaskState::Running,
];

fn task_number(state: TaskState) -> i16 {
    STATES.iter().position(|one| *one == state).and_then(|i| i16::try_from(i).ok()).unwrap_or(0)
}

fn int<T>(number: T) -> i32
where
    i32: TryFrom<T>,
{
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Plans that cost as much however large the run is, also on tables that were never analysed.
pub const PIN: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off; \
                   SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off";

impl PostgresProof {
    pub async fn connect(socket: &std::path::Path, clock: Arc<dyn Clock>) -> Self {
        let options = PgConnectOptions::new().socket(socket).username("postgres").database("postgres");
        let pool = PgPoolOptions::new().max_connections(4).connect_with(options.clone()).await.expect("a server");
        let mut lane = PgConnection::connect_with(&options).await.expect("a server");
        lane.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await.expect("an empty database");
        lane.execute(include_str!("schema.sql")).await.expect("the schema is right");
        lane.execute(PIN).await.expect("settings exist");
        Self {
            clock,
            pool,
            lane: Mutex::new(lane),
            versions: RwLock::default(),
            announcements: watch::Sender::new(0),
            commits: AtomicU64::new(0),
            statements: AtomicU64::new(0),
            rows: AtomicU64::new(0),
        }
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    fn announce(&self) {
        self.announcements.send_modify(|count| *count += 1);
    }

    fn count(&self, rows: u64) {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    fn version(&self, id: DagVersionId) -> Option<Arc<Version>> {
        self.versions.read().expect("nobody panics with the lock").get(&id).cloned()
    }

    pub async fn register(&self, dag: DagRegistration) -> sqlx::Result<DagVersionId> {
        let id = i64::try_from(self.versions.read().expect("nobody panics with the lock").len()).unwrap_or(0) + 1;
        let tasks = &dag.dag.tasks;
        sqlx::query("INSERT INTO dag VALUES ($1, $2, false, $3, $4)")
            .bind(int(id))
            .bind(dag.dag.dag_id.as_str())
            .bind(int(dag.dag.max_active_runs))
            .bind(int(dag.dag.max_active_tasks))
            .execute(&self.pool)
            .await?;
        sqlx::query("INSERT INTO dag_version VALUES ($1, $2)").bind(id).bind(int(id)).execute(&self.pool).await?;
        sqlx::query("INSERT INTO task SELECT $1, ix - 1, 1, slots, retries FROM unnest($2::int[], $3::int[]) WITH ORDINALITY AS t (slots, retries, ix)")
            .bind(id)
            .bind(tasks.iter().map(|task| int(task.pool_slots)).collect::<Vec<_>>())
            .bind(tasks.iter().map(|task| int(task.retries)).collect::<Vec<_>>())
            .execute(&self.pool)
            .await?;
        let view = DagVersion { id: DagVersionId(id), content_hash: dag.content_hash, dag: dag.dag };
        let version = Version { view, dag: int(id) };
        self.versions.write().expect("nobody panics with the lock").insert(DagVersionId(id), Arc::new(version));
        self.announce();
        Ok(DagVersionId(id))
    }

    /// Two statements and one commit, however many runs. Runs that exist are left out; saying which costs another
    /// statement only then.
    pub async fn create_runs(&self, now: DateTime<Utc>, runs: &[NewRun]) -> sqlx::Result<Vec<RunId>> {
        let mut transaction = self.pool.begin().await?;
        let dags = runs.iter().map(|run| self.version(run.dag_version).map_or(0, |version| version.dag));
        let ids = sqlx::query(
            "INSERT INTO dag_run (dag, dag_version, run_id, logical_date, state, queued_at)
             SELECT *, 0, $5 FROM unnest($1::int[], $2::bigint[], $3::text[], $4::timestamptz[])
             ON CONFLICT DO NOTHING RETURNING id, dag_version",
        )
        .bind(dags.collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.dag_version.0).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.run_id.clone()).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.logical_date).collect::<Vec<_>>())
        .bind(now)
        .fetch_all(&mut *transaction)
        .await?;
        let versions: Vec<i64> = ids.iter().map(|row| row.get(1)).collect();
        let ids: Vec<i64> = ids.iter().map(|row| row.get(0)).collect();
        let made = sqlx::query(
            "INSERT INTO task_instance (run, task, map_index, state, try_number, max_tries)
             SELECT r.id, t.ix, -1, 0, 0, t.retries FROM unnest($1::bigint[], $2::bigint[]) AS r (id, version)
             JOIN task t ON t.version = r.version",
        )
        .bind(&ids)
        .bind(versions)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.count(ids.len() as u64);
        self.count(made.rows_affected());
        self.announce();
        Ok(ids.into_iter().map(RunId).collect())
    }

    async fn claim(
        &self,
        session: &SchedulerSession,
        versions: Vec<i64>,
        limit: i64,
    ) -> sqlx::Result<Vec<RunSnapshot>> {
        let mut transaction = self.pool.begin().await?;
        let runs = sqlx::query(
            "WITH free AS (
                SELECT r.id FROM dag_run r JOIN dag d ON d.id = r.dag
                WHERE r.state < 2 AND r.owner IS NULL AND r.dag_version = ANY ($1) AND (r.state = 1 OR NOT d.is_paused)
                ORDER BY r.id LIMIT $2 FOR UPDATE OF r SKIP LOCKED)
             UPDATE dag_run r SET owner = $3, was_owned = true, version = version + was_owned::int
             FROM free WHERE r.id = free.id
             RETURNING r.id, r.dag_version, r.run_id, r.logical_date, r.state, r.version, r.queued_at, r.start_date",
        )
        .bind(versions)
        .bind(limit)
        .bind(session.id.0)
        .fetch_all(&mut *transaction)
        .await?;
        self.count(runs.len() as u64);
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let mut snapshots: BTreeMap<i64, RunSnapshot> = BTreeMap::new();
        for row in &runs {
            let Some(version) = self.version(DagVersionId(row.get(1))) else { continue };
            let date: DateTime<Utc> = row.get(3);
            let run = DagRun {
                id: RunId(row.get(0)),
                dag_id: version.view.dag.dag_id.clone(),
                run_id: row.get(2),
                run_type: RunType::Manual,
                state: run_state(row.get(4)),
                logical_date: date,
                data_interval_start: date,
                data_interval_end: date,
                queued_at: row.get(6),
                start_date: row.get(7),
                end_date: None,
                external_trigger: true,
                conf: serde_json::json!({}),
                note: None,
                last_scheduling_decision: None,
                dag_version: version.view.id,
                clear_number: 0,
                version: u64::try_from(row.get::<i64, _>(5)).unwrap_or(0),
                owner: Some(session.id),
                updated_at: row.get(6),
            };
            let snapshot = RunSnapshot { run, instances: Vec::new(), attempts: Vec::new(), skips: Vec::new() };
            snapshots.insert(row.get(0), snapshot);
        }
        let ids: Vec<i64> = snapshots.keys().copied().collect();
        let instances = sqlx::query(
            "SELECT run, task, map_index, state, try_number, max_tries, due_at FROM task_instance WHERE run = ANY ($1)
             ORDER BY run, task, map_index",
        )
        .bind(&ids)
        .fetch_all(&mut *transaction)
        .await?;
        self.count(0);
        for row in instances {
            let Some(snapshot) = snapshots.get_mut(&row.get(0)) else { continue };
            let number = |column| u32::try_from(row.get::<i32, _>(column)).unwrap_or(0);
            snapshot.instances.push(InstanceSnapshot {
                key: InstanceKey { task: TaskIx(number(1)), map_index: row.get(2) },
                state: STATES[usize::try_from(row.get::<i16, _>(3)).unwrap_or(0)],
                try_number: number(4),
                max_tries: number(5),
                due_at: row.get(6),
            });
        }
        transaction.commit().await?;
        Ok(snapshots.into_values().collect())
    }

    /// At most nine statements, however large the batch; a hop of a chain needs six.
    async fn write(&self, batch: &Batch) -> Result<Vec<Verdict>, StorageError> {
        let mut lane = self.lane.lock().await;
        let mut transaction = lane.begin().await.map_err(failed)?;
        let connection = &mut *transaction;
        // 1. Fence and batch number in one.
        let fenced =
            sqlx::query("UPDATE lane SET seq = $4 WHERE scheduler = $1 AND lane = $2 AND epoch = $3 AND seq = $4 - 1")
                .bind(batch.session.id.0)
                .bind(int(batch.lane))
                .bind(i64::try_from(batch.session.epoch).unwrap_or(0))
                .bind(i64::try_from(batch.sequence).unwrap_or(0))
                .execute(&mut *connection)
                .await
                .map_err(failed)?;
        self.count(1);
        if fenced.rows_affected() == 0 {
            return Err(StorageError::Fenced);
        }
        // 2. Lock the runs and compare their versions.
        let ids: BTreeSet<i64> = batch.transitions.iter().map(|transition| transition.run.0).collect();
        let rows = sqlx::query(
            "SELECT id, version, owner, dag_version FROM dag_run WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE",
        )
        .bind(ids.into_iter().collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
        self.count(0);
        let runs: BTreeMap<RunId, (u64, Option<i64>, DagVersionId)> = rows
            .iter()
            .map(|row| {
                let version = u64::try_from(row.get::<i64, _>(1)).unwrap_or(0);
                (RunId(row.get(0)), (version, row.get(2), DagVersionId(row.get(3))))
            })
            .collect();
        let is_current = |transition: &Transition| {
            runs.get(&transition.run)
                .is_some_and(|(version, owner, _)| *version == transition.version && *owner == Some(batch.session.id.0))
        };
        let mut verdicts = vec![Verdict::Done; batch.transitions.len()];
        let mut changes = Changes::default();
        let mut log = Log::default();
        for (verdict, transition) in verdicts.iter_mut().zip(&batch.transitions) {
            if is_current(transition) {
                changes.sort(transition, &mut log);
            } else {
                *verdict = Verdict::StaleRun;
            }
        }
        // 3. Ends first: they free what admissions need.
        let ends = changes.ends.len();
        if ends > 0 {
            let ends = &changes.ends;
            sqlx::query(
                "WITH gone AS (
                    DELETE FROM attempt a USING unnest($1::uuid[], $2::smallint[], $3::timestamptz[], $4::timestamptz[]) AS e (token, state, at, due)
                    WHERE a.token = e.token AND NOT a.is_obsolete
                    RETURNING a.run, a.task, a.map_index, a.try_number, a.queued_when, a.start_date, e.state, e.at, e.due)
                 UPDATE task_instance t SET state = g.state, try_number = g.try_number, queued_when = g.queued_when,
                    start_date = g.start_date, end_date = g.at, due_at = g.due
                 FROM gone g WHERE t.run = g.run AND t.task = g.task AND t.map_index = g.map_index",
            )
            .bind(ends.iter().map(|end| end.token.0).collect::<Vec<Uuid>>())
            .bind(ends.iter().map(|end| task_number(end.state)).collect::<Vec<_>>())
            .bind(ends.iter().map(|end| end.end_date).collect::<Vec<_>>())
            .bind(ends.iter().map(|end| end.due_at).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
            self.count(2 * ends.len() as u64);
        }
        // 4. Limits: lock their rows, count what lives in a statement of its own, admit what fits.
        if !changes.admissions.is_empty() {
            let dags: BTreeSet<i32> =
                batch.transitions.iter().filter_map(|t| Some(self.version(runs.get(&t.run)?.2)?.dag)).collect();
            let dags: Vec<i32> = dags.into_iter().collect();
            let limits = sqlx::query(
                "WITH d AS (SELECT id, is_paused, max_active_tasks AS room FROM dag WHERE id = ANY ($1) ORDER BY id FOR UPDATE),
                      p AS (SELECT id, slots AS room FROM pool WHERE id = 1 FOR UPDATE)
                 SELECT id, is_paused, room, true FROM d UNION ALL SELECT id, false, room, false FROM p",
            )
            .bind(&dags)
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
            self.count(0);
            let mut room: BTreeMap<(bool, i32), (bool, i64)> = BTreeMap::new();
            for row in &limits {
                room.insert((row.get(3), row.get(0)), (row.get(1), i64::from(row.get::<i32, _>(2))));
            }
            let held = sqlx::query("SELECT dag, pool, count(*), sum(slots) FROM attempt GROUP BY dag, pool")
                .fetch_all(&mut *connection)
                .await
                .map_err(failed)?;
            self.count(0);
            for row in held {
                if let Some(room) = room.get_mut(&(true, row.get(0))) {
                    room.1 -= row.get::<i64, _>(2);
                }
                if let Some(room) = room.get_mut(&(false, row.get(1))) {
                    room.1 -= row.get::<i64, _>(3);
                }
            }
            let mut admitted = Admitted::default();
            for (verdict, transition) in verdicts.iter_mut().zip(&batch.transitions) {
                let Change::Admit(admission) = &transition.change else { continue };
                if *verdict != Verdict::Done {
                    continue;
                }
                let Some(version) = runs.get(&transition.run).and_then(|run| self.version(run.2)) else { continue };
                let dag = &version.view.dag;
                let slots = i64::from(dag.tasks[admission.key.task.index()].pool_slots);
                let (is_paused, of_dag) = room.get(&(true, version.dag)).copied().unwrap_or_default();
                let of_pool = room.get(&(false, 1)).map_or(0, |room| room.1);
                if is_paused || of_dag < 1 || of_pool < slots {
                    *verdict = Verdict::NoRoom(match (is_paused, of_dag) {
                        (true, _) => Limit::Paused(dag.dag_id.clone()),
                        (_, ..1) => Limit::ActiveTasks(dag.dag_id.clone()),
                        _ => Limit::Pool(DEFAULT_POOL.into()),
                    });
                    continue;
                }
                for (key, taken) in [((true, version.dag), 1), ((false, 1), slots)] {
                    if let Some(room) = room.get_mut(&key) {
                        room.1 -= taken;
                    }
                }
                admitted.push(transition.run, admission, version.dag, int(slots));
                log.push(transition.run, admission.key, admission.try_number, TaskState::Running);
            }
            let rows = admitted.tokens.len() as u64;
            sqlx::query(
                "INSERT INTO attempt SELECT token, run, task, map_index, try, 1, $8, false, dag, 1, slots, $9, $9
                 FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::int[], $5::int[], $6::int[], $7::int[])
                 AS a (token, run, task, map_index, try, dag, slots)",
            )
            .bind(admitted.tokens)
            .bind(admitted.runs)
            .bind(admitted.tasks)
            .bind(admitted.map_indexes)
            .bind(admitted.tries)
            .bind(admitted.dags)
            .bind(admitted.slots)
            .bind(batch.session.id.0)
            .bind(batch.now)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
            self.count(rows);
        }
        // 5. Instances that ended without an attempt, or that are shown as scheduled.
        if !changes.settled.is_empty() {
            let settled = &changes.settled;
            sqlx::query(
                "UPDATE task_instance t SET state = s.state, start_date = $5, end_date = $5
                 FROM unnest($1::bigint[], $2::int[], $3::int[], $4::smallint[]) AS s (run, task, map_index, state)
                 WHERE t.run = s.run AND t.task = s.task AND t.map_index = s.map_index",
            )
            .bind(settled.iter().map(|(run, ..)| run.0).collect::<Vec<_>>())
            .bind(settled.iter().map(|(_, key, _)| int(key.task.0)).collect::<Vec<_>>())
            .bind(settled.iter().map(|(_, key, _)| key.map_index).collect::<Vec<_>>())
            .bind(settled.iter().map(|(.., state)| task_number(*state)).collect::<Vec<_>>())
            .bind(batch.now)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
            self.count(settled.len() as u64);
        }
        // 6. Runs that start or end.
        if !changes.runs.is_empty() {
            let states = changes.runs.values().map(|state| run_number(*state));
            sqlx::query(
                "UPDATE dag_run r SET state = s.state, start_date = coalesce(r.start_date, $3),
                    end_date = CASE WHEN s.state > 1 THEN $3 END, owner = CASE WHEN s.state > 1 THEN NULL ELSE r.owner END
                 FROM unnest($1::bigint[], $2::smallint[]) AS s (id, state) WHERE r.id = s.id",
            )
            .bind(changes.runs.keys().map(|run| run.0).collect::<Vec<_>>())
            .bind(states.collect::<Vec<_>>())
            .bind(batch.now)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
            self.count(changes.runs.len() as u64);
        }
        // 7. The event log: one row a batch.
        if !log.runs.is_empty() && batch.event_log == TaskEventLog::On {
            sqlx::query(
                "INSERT INTO event_log (at, runs, tasks, map_indexes, tries, events) VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(batch.now)
            .bind(log.runs)
            .bind(log.tasks)
            .bind(log.map_indexes)
            .bind(log.tries)
            .bind(log.events)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
            self.count(1);
        }
        transaction.commit().await.map_err(failed)?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(verdicts)
    }
}

/// The changes of a batch by what they touch.
#[derive(Default)]
struct Changes {
    ends: Vec<Arc<Ended>>,
    admissions: Vec<AttemptToken>,
    settled: Vec<(RunId, InstanceKey, TaskState)>,
    runs: BTreeMap<RunId, RunState>,
}

impl Changes {
    fn sort(&mut self, transition: &Transition, log: &mut Log) {
        let run = transition.run;
        match &transition.change {
            Change::StartRun => drop(self.runs.insert(run, RunState::Running)),
            Change::EndRun(state) => drop(self.runs.insert(run, *state)),
            Change::Admit(admission) => self.admissions.push(admission.token),
            Change::Ended(ended) => {
                log.push(run, ended.key, 1, ended.state);
                self.ends.push(Arc::clone(ended));
            }
            Change::Settle(key, state) => self.settled.push((run, *key, *state)),
            Change::Schedule(keys) => self.settled.extend(keys.iter().map(|key| (run, *key, TaskState::Scheduled))),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Admitted {
    tokens: Vec<Uuid>,
    runs: Vec<i64>,
    tasks: Vec<i32>,
    map_indexes: Vec<i32>,
    tries: Vec<i32>,
    dags: Vec<i32>,
    slots: Vec<i32>,
}

impl Admitted {
    fn push(&mut self, run: RunId, admission: &Admission, dag: i32, slots: i32) {
        self.tokens.push(admission.token.0);
        self.runs.push(run.0);
        self.tasks.push(int(admission.key.task.0));
        self.map_indexes.push(admission.key.map_index);
        self.tries.push(int(admission.try_number));
        self.dags.push(dag);
        self.slots.push(slots);
    }
}

#[derive(Default)]
struct Log {
    runs: Vec<i64>,
    tasks: Vec<i32>,
    map_indexes: Vec<i32>,
    tries: Vec<i32>,
    events: Vec<i16>,
}

impl Log {
    fn push(&mut self, run: RunId, key: InstanceKey, try_number: u32, event: TaskState) {
        self.runs.push(run.0);
        self.tasks.push(int(key.task.0));
        self.map_indexes.push(key.map_index);
        self.tries.push(int(try_number));
        self.events.push(task_number(event));
    }
}

#[async_trait]
impl PoolStorage for PostgresProof {
    async fn pool(&self, name: &str) -> Result<PoolUsage, StorageError> {
        Err(StorageError::NotFound(Subject::Pool(name.into())))
    }

    async fn pools(&self, _: Option<OrderBy<PoolOrder>>, _: PageRequest) -> Result<Page<PoolUsage>, StorageError> {
        let pool = Pool { id: 1, name: DEFAULT_POOL.into(), slots: 10_000, description: None, include_deferred: false };
        let usage = PoolUsage { pool, running: 0, queued: 0, scheduled: 0, deferred: 0 };
        Ok(Page { items: vec![usage], total: 1 })
    }

    async fn create_pool(&self, pool: Pool, _: Option<AuditEntry>) -> Result<PoolUsage, StorageError> {
        PoolStorage::pool(self, &pool.name).await
    }

    async fn update_pool(&self, name: &str, _: PoolUpdate, _: Option<AuditEntry>) -> Result<PoolUsage, StorageError> {
        PoolStorage::pool(self, name).await
    }

    async fn delete_pool(&self, _: &str, _: Option<AuditEntry>) -> Result<(), StorageError> {
        Ok(())
    }
}

#[async_trait]
impl SchedulerStorage for PostgresProof {
    async fn now(&self) -> Result<DateTime<Utc>, StorageError> {
        Ok(self.clock.now())
    }

    async fn register_scheduler(&self, name: &str, lease: Duration, _: &Host) -> Result<SchedulerSession, StorageError> {
        let row = sqlx::query(
            "WITH s AS (INSERT INTO scheduler (name, epoch) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE
                SET epoch = scheduler.epoch + 1 RETURNING id, epoch),
             l AS (INSERT INTO lane SELECT id, 0, epoch, 0 FROM s ON CONFLICT (scheduler, lane) DO UPDATE
                SET epoch = excluded.epoch, seq = 0)
             SELECT id, epoch FROM s",
        )
        .bind(name)
        .fetch_one(&self.pool)
        .await
        .map_err(failed)?;
        let epoch = u64::try_from(row.get::<i64, _>(1)).unwrap_or(0);
        Ok(SchedulerSession { id: SchedulerId(row.get(0)), epoch, lease })
    }

    async fn heartbeat(&self, _: &SchedulerSession) -> Result<(), StorageError> {
        Ok(())
    }

    async fn unregister_scheduler(&self, _: &SchedulerSession) -> Result<(), StorageError> {
        Ok(())
    }

    async fn versions_after(&self, after: Option<DagVersionId>, limit: usize) -> Result<Vec<DagVersion>, StorageError> {
        let versions = self.versions.read().expect("nobody panics with the lock");
        let newer = versions.values().filter(|version| after.is_none_or(|after| version.view.id > after));
        Ok(newer.take(limit).map(|version| version.view.clone()).collect())
    }

    async fn claim_runs(
        &self,
        session: &SchedulerSession,
        versions: &[DagVersionId],
        limit: usize,
    ) -> Result<Vec<RunSnapshot>, StorageError> {
        let versions = versions.iter().map(|version| version.0).collect();
        self.claim(session, versions, i64::try_from(limit).unwrap_or(i64::MAX)).await.map_err(failed)
    }

    async fn owned_runs(&self, _: &SchedulerSession) -> Result<Vec<RunId>, StorageError> {
        Ok(Vec::new())
    }

    async fn reload_runs(&self, _: &SchedulerSession, _: &[RunId]) -> Result<Vec<RunSnapshot>, StorageError> {
        Ok(Vec::new())
    }

    async fn changed_runs(&self, _: &SchedulerSession) -> Result<Vec<RunId>, StorageError> {
        Ok(Vec::new())
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Verdict>, StorageError> {
        self.write(batch).await
    }

    async fn announcement(&self, seen: u64) -> u64 {
        let mut announcements = self.announcements.subscribe();
        announcements.wait_for(|&count| count > seen).await.map_or(seen, |count| *count)
    }
}
