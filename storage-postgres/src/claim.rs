//! Claims of runs, and what schedulers read of the runs that they take.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{PgConnection, Row};
use updraft_core::id::{AttemptToken, DagVersionId, InstanceKey, RunId, SchedulerId, TaskIx, UNMAPPED};
use updraft_core::model::{DagRun, LiveAttempt, TaskState};
use updraft_core::operator::SkipDownstream;
use updraft_core::storage::{InstanceSnapshot, Result, RunSnapshot, SchedulerSession, StorageError};

use crate::PostgresStorage;
use crate::code::{phase, phase_state, task_state, unsigned};
use crate::dag_run::read_run;
use crate::error::{is_collision, storage_error};
use crate::hint::News;
use crate::image::Images;
use crate::scheduler::epoch_of;
use crate::sql::sql;
use crate::version::Version;

/// What a look for work found.
struct Found {
    runs: Vec<i64>,
    has_strays: bool,
}

/// A candidate that is locked.
struct Free {
    id: i64,
    dag: i32,
    is_queued: bool,
    /// By a scheduler that is silent.
    is_owned: bool,
    /// Nobody has touched it since it was created.
    is_new: bool,
}

/// Runs that were taken.
#[derive(Default)]
struct Taken {
    /// Sorted.
    ids: Vec<i64>,
    /// Those that nobody has touched since they were created.
    new: BTreeSet<i64>,
}

impl PostgresStorage {
    pub(crate) async fn claim(
        &self,
        session: &SchedulerSession,
        versions: &[DagVersionId],
        limit: usize,
    ) -> Result<Vec<RunSnapshot>> {
        let read = self.read_at(News::RUNS);
        let given = self.with_session(session, |known| {
            known.versions = versions.to_vec();
            if std::mem::take(&mut known.has_lost_runs) {
                return Err(StorageError::Unavailable("the answer to a trigger was lost".into()));
            }
            let created = known.created.split_off(0);
            let (given, kept): (Vec<_>, Vec<_>) =
                created.into_iter().partition(|created| versions.binary_search(&created.run.dag_version).is_ok());
            known.created = kept;
            let is_all =
                known.claimed_all.is_some_and(|before| self.inner.hints.is_fresh(News::RUNS, before, read.time()));
            Ok((given, is_all))
        });
        let (mut claimed, is_all) = given.ok_or(StorageError::Fenced)??;
        if is_all && !claimed.is_empty() || claimed.len() >= limit {
            return Ok(claimed);
        }
        let room = limit - claimed.len();
        let found = self.look_for_work(session, versions, room).await?;
        if found.has_strays {
            self.end_strays().await?;
        }
        let is_all = found.runs.len() < room;
        if !found.runs.is_empty() {
            claimed.extend(self.take(session, found.runs, room).await?);
        }
        self.with_session(session, |known| known.claimed_all = is_all.then_some(read));
        Ok(claimed)
    }

    async fn look_for_work(
        &self,
        session: &SchedulerSession,
        versions: &[DagVersionId],
        limit: usize,
    ) -> Result<Found> {
        let rows = sqlx::query(self.inner.schema.sql(sql!("claim/candidates")))
            .bind(session.id.0)
            .bind(epoch_of(session))
            .bind(versions.iter().map(|version| version.0).collect::<Vec<_>>())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.inner.schedulers)
            .await
            .map_err(storage_error)?;
        let mut is_current = false;
        let mut found = Found { runs: Vec::new(), has_strays: false };
        for row in &rows {
            match row.try_get::<i16, _>(0).map_err(storage_error)? {
                0 => {
                    is_current = true;
                    self.note_time(row.try_get(2).map_err(storage_error)?);
                }
                1 => found.has_strays = true,
                _ => found.runs.push(row.try_get(1).map_err(storage_error)?),
            }
        }
        if is_current { Ok(found) } else { Err(StorageError::Fenced) }
    }

    /// Makes candidates the session's own, oldest first.
    async fn take(&self, session: &SchedulerSession, candidates: Vec<i64>, limit: usize) -> Result<Vec<RunSnapshot>> {
        let mut collisions = 0;
        loop {
            let mut transaction = self.begin_scheduler().await?;
            match self.take_in(&mut transaction, session, &candidates, limit).await {
                Ok(Some(Taken { ids, new })) => {
                    let snapshots = read_snapshots(self, &mut transaction, &ids, &new).await?;
                    transaction.commit().await.map_err(storage_error)?;
                    return Ok(snapshots);
                }
                Ok(None) => return Err(StorageError::Fenced),
                Err(error) if is_collision(&error, collisions) => {
                    collisions += 1;
                    drop(transaction);
                    self.pause_after_collision(collisions).await;
                }
                Err(error) => return Err(storage_error(error)),
            }
        }
    }

    /// The runs that were taken; nothing if the session is not current.
    async fn take_in(
        &self,
        connection: &mut PgConnection,
        session: &SchedulerSession,
        candidates: &[i64],
        limit: usize,
    ) -> Result<Option<Taken>, sqlx::Error> {
        let schema = &self.inner.schema;
        let fence = sqlx::query(schema.sql(sql!("claim/fence")))
            .bind(session.id.0)
            .bind(epoch_of(session))
            .fetch_optional(&mut *connection)
            .await?;
        if fence.is_none() {
            return Ok(None);
        }
        let locked = sqlx::query(schema.sql(sql!("claim/lock")))
            .bind(session.id.0)
            .bind(candidates)
            .fetch_all(&mut *connection)
            .await?;
        let mut free = Vec::with_capacity(locked.len());
        for row in &locked {
            free.push(Free {
                id: row.try_get(0)?,
                dag: row.try_get(1)?,
                is_queued: row.try_get::<i16, _>(2)? == 0,
                is_owned: row.try_get::<Option<i64>, _>(3)?.is_some(),
                is_new: row.try_get(4)?,
            });
        }
        let mut dags: Vec<i32> = free.iter().filter(|run| run.is_queued).map(|run| run.dag).collect();
        dags.sort_unstable();
        dags.dedup();
        // What queued runs may still be taken, all of them, and of those that somebody has taken before.
        let mut rooms: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
        if !dags.is_empty() {
            let limits =
                sqlx::query(schema.sql(sql!("claim/lock_dags"))).bind(&dags).fetch_all(&mut *connection).await?;
            for row in &limits {
                let most: i64 = if row.try_get(1)? { 0 } else { row.try_get(2)? };
                rooms.insert(row.try_get(0)?, (most, most));
            }
            let counts =
                sqlx::query(schema.sql(sql!("claim/count_runs"))).bind(&dags).fetch_all(&mut *connection).await?;
            for row in &counts {
                if let Some((all, running)) = rooms.get_mut(&row.try_get(0)?) {
                    *running -= row.try_get::<i64, _>(1)?;
                    *all -= row.try_get::<i64, _>(2)?;
                }
            }
        }
        let mut taken = Taken::default();
        for run in free {
            if taken.ids.len() == limit {
                break;
            }
            if run.is_queued {
                let Some((all, running)) = rooms.get_mut(&run.dag) else { continue };
                // One that is claimed already has its place.
                if if run.is_owned { *running < 1 } else { *all < 1 } {
                    continue;
                }
                *all -= i64::from(!run.is_owned);
            }
            taken.ids.push(run.id);
            if run.is_new {
                taken.new.insert(run.id);
            }
        }
        sqlx::query(schema.sql(sql!("claim/take")))
            .bind(session.id.0)
            .bind(&taken.ids)
            .execute(&mut *connection)
            .await?;
        Ok(Some(taken))
    }

    /// Ends attempts that nobody else can end: their run is deleted or finished, their scheduler is gone or silent.
    async fn end_strays(&self) -> Result<()> {
        let schema = &self.inner.schema;
        let now = self.known_time();
        let mut transaction = self.begin_scheduler().await?;
        let rows =
            sqlx::query(schema.sql(sql!("claim/strays"))).fetch_all(&mut *transaction).await.map_err(storage_error)?;
        let mut tokens = Vec::with_capacity(rows.len());
        let mut runs = Vec::with_capacity(rows.len());
        for row in &rows {
            tokens.push(AttemptToken(row.try_get(0).map_err(storage_error)?));
            runs.push(row.try_get::<i64, _>(1).map_err(storage_error)?);
        }
        if tokens.is_empty() {
            return Ok(());
        }
        sqlx::query(schema.sql(sql!("dag_run/lock")))
            .bind(&runs)
            .execute(&mut *transaction)
            .await
            .map_err(storage_error)?;
        let mut images = Images::read(&mut transaction, schema, &[], &tokens).await.map_err(storage_error)?;
        let now = now.unwrap_or_else(|| self.inner.clock.now());
        for token in tokens {
            let Some((place, live)) = images.find(token) else { continue };
            if live.is_some_and(|live| !live.is_obsolete) {
                continue;
            }
            images.release(now, place, token);
        }
        images.write(&mut transaction, schema, now, None).await.map_err(storage_error)?;
        transaction.commit().await.map_err(storage_error)
    }
}

/// A run that nobody has touched since it was created.
pub(crate) fn new_snapshot(run: DagRun, version: &Version) -> RunSnapshot {
    let instances = version.view.dag.tasks().map(|(task, declared)| InstanceSnapshot {
        key: InstanceKey { task, map_index: UNMAPPED },
        state: TaskState::None,
        try_number: 0,
        max_tries: declared.retries,
        due_at: None,
    });
    RunSnapshot { run, instances: instances.collect(), attempts: Vec::new(), skips: Vec::new() }
}

/// Runs with all that a scheduler must know of them, sorted. They must be locked. What nobody has touched since it was
/// created, `new`, need not be read.
pub(crate) async fn read_snapshots(
    storage: &PostgresStorage,
    connection: &mut PgConnection,
    runs: &[i64],
    new: &BTreeSet<i64>,
) -> Result<Vec<RunSnapshot>> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let schema = &storage.inner.schema;
    let rows = sqlx::query(schema.sql(sql!("dag_run/by_key")))
        .bind(runs)
        .fetch_all(&mut *connection)
        .await
        .map_err(storage_error)?;
    let mut snapshots: BTreeMap<RunId, RunSnapshot> = BTreeMap::new();
    for row in &rows {
        let run = read_run(row)?;
        snapshots.insert(run.id, RunSnapshot { run, instances: Vec::new(), attempts: Vec::new(), skips: Vec::new() });
    }
    let versions = snapshots.values().map(|snapshot| snapshot.run.dag_version.0);
    let versions = storage.inner.versions.get(&mut *connection, schema, versions).await?;
    let mut touched = Vec::new();
    for snapshot in snapshots.values_mut() {
        storage.inner.versions.remember_run(snapshot.run.id, snapshot.run.dag_version);
        let version = versions.get(&snapshot.run.dag_version.0);
        match version.filter(|_| new.contains(&snapshot.run.id.0)) {
            Some(version) => *snapshot = new_snapshot(snapshot.run.clone(), version),
            None => touched.push(snapshot.run.id.0),
        }
    }
    if !touched.is_empty() {
        read_instances(storage, connection, &touched, &mut snapshots).await?;
    }
    Ok(snapshots.into_values().collect())
}

/// The key of an instance from the first three columns.
fn read_place(row: &sqlx::postgres::PgRow) -> Result<(RunId, InstanceKey), sqlx::Error> {
    let key = InstanceKey { task: TaskIx(unsigned(row.try_get::<i32, _>(1)?)), map_index: row.try_get(2)? };
    Ok((RunId(row.try_get(0)?), key))
}

async fn read_instances(
    storage: &PostgresStorage,
    connection: &mut PgConnection,
    runs: &[i64],
    snapshots: &mut BTreeMap<RunId, RunSnapshot>,
) -> Result<()> {
    let schema = &storage.inner.schema;
    let all = |text: &'static str| sqlx::query(schema.sql(text)).bind(runs);
    for row in all(sql!("claim/instances")).fetch_all(&mut *connection).await.map_err(storage_error)? {
        let (run, key) = read_place(&row).map_err(storage_error)?;
        let number = |column| row.try_get::<i32, _>(column).map(unsigned).map_err(storage_error);
        let max_tries: i64 = row.try_get(5).map_err(storage_error)?;
        let instance = InstanceSnapshot {
            key,
            state: task_state(row.try_get(3).map_err(storage_error)?)?,
            try_number: number(4)?,
            max_tries: unsigned(max_tries),
            due_at: row.try_get(6).map_err(storage_error)?,
        };
        if let Some(snapshot) = snapshots.get_mut(&run) {
            snapshot.instances.push(instance);
        }
    }
    for row in all(sql!("claim/attempts")).fetch_all(&mut *connection).await.map_err(storage_error)? {
        let (run, key) = read_place(&row).map_err(storage_error)?;
        let attempt = read_attempt(&row, run, key)?;
        let Some(snapshot) = snapshots.get_mut(&run) else { continue };
        if !attempt.is_obsolete
            && let Ok(at) = snapshot.instances.binary_search_by_key(&key, |instance| instance.key)
        {
            let instance = &mut snapshot.instances[at];
            instance.state = phase_state(attempt.phase);
            instance.try_number = attempt.try_number;
            instance.due_at = None;
        }
        snapshot.attempts.push(attempt);
    }
    for row in all(sql!("claim/skips")).fetch_all(&mut *connection).await.map_err(storage_error)? {
        let (run, key) = read_place(&row).map_err(storage_error)?;
        let Json(skip): Json<SkipDownstream> = row.try_get(3).map_err(storage_error)?;
        if let Some(snapshot) = snapshots.get_mut(&run) {
            snapshot.skips.push((key, skip));
        }
    }
    Ok(())
}

fn read_attempt(row: &sqlx::postgres::PgRow, run: RunId, key: InstanceKey) -> Result<LiveAttempt> {
    let token = row.try_get(3).map_err(storage_error)?;
    let queued_when: DateTime<Utc> = row.try_get(8).map_err(storage_error)?;
    Ok(LiveAttempt {
        token: AttemptToken(token),
        run,
        key,
        try_number: unsigned(row.try_get::<i32, _>(4).map_err(storage_error)?),
        phase: phase(row.try_get(5).map_err(storage_error)?)?,
        scheduler: SchedulerId(row.try_get(6).map_err(storage_error)?),
        is_obsolete: row.try_get(7).map_err(storage_error)?,
        queued_when,
        start_date: row.try_get(9).map_err(storage_error)?,
    })
}
