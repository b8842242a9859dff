//! What schedulers do, batches and claims apart.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection, Row};
use updraft_core::id::{DagVersionId, RunId, SchedulerId};
use updraft_core::model::{DagRun, DagVersion, Host};
use updraft_core::storage::{
    Batch, NewDatasetRun, PastQuery, PreviousRun, Result, RunSnapshot, SchedulerSession, SchedulerStorage,
    StorageError, Verdict, WaitingConsumer,
};

use crate::PostgresStorage;
use crate::claim::read_snapshots;
use crate::error::storage_error;
use crate::hint::{News, ReadAt};
use crate::sql::sql;
use crate::version::read_version;

/// A session that was registered through this storage.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) epoch: u64,
    pub(crate) host: i32,
    pub(crate) pid: Option<i32>,
    /// The versions that it last claimed runs of, sorted.
    pub(crate) versions: Vec<DagVersionId>,
    /// Runs that were created as its own, which it has not been given yet.
    pub(crate) created: Vec<RunSnapshot>,
    /// Whether a run may be its own that it was not given, because an answer was lost.
    pub(crate) has_lost_runs: bool,
    /// When a claim last found all that there was to claim.
    pub(crate) claimed_all: Option<ReadAt>,
    /// When no run of its had changed.
    nothing_changed: Option<ReadAt>,
}

/// A session's epoch, as it is stored.
pub(crate) fn epoch_of(session: &SchedulerSession) -> i64 {
    i64::try_from(session.epoch).unwrap_or(i64::MAX)
}

impl PostgresStorage {
    async fn register_session(
        &self,
        connection: &mut PgConnection,
        name: &str,
        lease: Duration,
        host: &Host,
    ) -> Result<(SchedulerSession, i32, DateTime<Utc>), sqlx::Error> {
        let schema = &self.inner.schema;
        let mut transaction = connection.begin().await?;
        let host: i32 = sqlx::query(schema.sql(sql!("scheduler/host")))
            .bind(&host.hostname)
            .bind(&host.unixname)
            .fetch_one(&mut *transaction)
            .await?
            .try_get(0)?;
        let row = sqlx::query(schema.sql(sql!("scheduler/register")))
            .bind(name)
            .bind(host)
            .fetch_one(&mut *transaction)
            .await?;
        let (id, epoch): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        sqlx::query(schema.sql(sql!("scheduler/fence_lanes"))).bind(id).bind(epoch).execute(&mut *transaction).await?;
        sqlx::query(schema.sql(sql!("scheduler/disown"))).bind(id).execute(&mut *transaction).await?;
        let now = sqlx::query(schema.sql(sql!("scheduler/first_heartbeat")))
            .bind(id)
            .bind(epoch)
            .bind(lease.as_secs_f64())
            .fetch_one(&mut *transaction)
            .await?
            .try_get(0)?;
        transaction.commit().await?;
        let session = SchedulerSession { id: SchedulerId(id), epoch: u64::try_from(epoch).unwrap_or(0), lease };
        Ok((session, host, now))
    }

    /// # Errors
    /// `Fenced` if the session is not the current one of its scheduler.
    async fn check_session(&self, connection: &mut PgConnection, session: &SchedulerSession) -> Result<()> {
        let is_current: bool = sqlx::query(self.inner.schema.sql(sql!("scheduler/is_current")))
            .bind(session.id.0)
            .bind(epoch_of(session))
            .fetch_one(connection)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(storage_error)?;
        if is_current { Ok(()) } else { Err(StorageError::Fenced) }
    }

    /// Changes what is remembered of a session, if it is still the current one.
    pub(crate) fn with_session<T>(
        &self,
        session: &SchedulerSession,
        change: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        self.sessions().get_mut(&session.id).filter(|known| known.epoch == session.epoch).map(change)
    }

    async fn run_ids(
        &self,
        connection: &mut PgConnection,
        text: &'static str,
        session: &SchedulerSession,
    ) -> Result<Vec<RunId>> {
        let rows = sqlx::query(self.inner.schema.sql(text))
            .bind(session.id.0)
            .fetch_all(connection)
            .await
            .map_err(storage_error)?;
        rows.iter().map(|row| row.try_get(0).map(RunId)).collect::<Result<_, _>>().map_err(storage_error)
    }
}

#[async_trait]
impl SchedulerStorage for PostgresStorage {
    async fn now(&self) -> Result<DateTime<Utc>> {
        if let Some(now) = self.fresh_time() {
            return Ok(now);
        }
        let now = sqlx::query(self.inner.schema.sql(sql!("scheduler/now")))
            .fetch_one(&self.inner.schedulers)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(storage_error)?;
        self.note_time(now);
        Ok(self.known_time().unwrap_or(now))
    }

    async fn register_scheduler(&self, name: &str, lease: Duration, host: &Host) -> Result<SchedulerSession> {
        // On a connection of a lane: what it does must be durable when it returns.
        let mut connection = self.connect_pinned().await?;
        let (session, host_id, now) =
            self.register_session(&mut connection, name, lease, host).await.map_err(storage_error)?;
        // The server ends the session in any case.
        drop(connection.close().await);
        self.note_time(now);
        self.inner.lanes.forget(session.id).await;
        let known = Session {
            epoch: session.epoch,
            host: host_id,
            pid: host.pid.and_then(|pid| i32::try_from(pid).ok()),
            versions: Vec::new(),
            created: Vec::new(),
            has_lost_runs: false,
            claimed_all: None,
            nothing_changed: None,
        };
        self.sessions().insert(session.id, known);
        self.announce(News::RUNS);
        Ok(session)
    }

    async fn heartbeat(&self, session: &SchedulerSession) -> Result<()> {
        let row = sqlx::query(self.inner.schema.sql(sql!("scheduler/heartbeat")))
            .bind(session.id.0)
            .bind(epoch_of(session))
            .fetch_optional(&self.inner.schedulers)
            .await
            .map_err(storage_error)?;
        let now = row.ok_or(StorageError::Fenced)?.try_get(0).map_err(storage_error)?;
        self.note_time(now);
        Ok(())
    }

    async fn unregister_scheduler(&self, session: &SchedulerSession) -> Result<()> {
        let schema = &self.inner.schema;
        let mut transaction = self.begin_scheduler().await?;
        let left = sqlx::query(schema.sql(sql!("scheduler/leave")))
            .bind(session.id.0)
            .bind(epoch_of(session))
            .execute(&mut *transaction)
            .await
            .map_err(storage_error)?;
        // Whoever was replaced has left already.
        if left.rows_affected() > 0 {
            sqlx::query(schema.sql(sql!("scheduler/fence_lanes")))
                .bind(session.id.0)
                .bind(epoch_of(session).saturating_add(1))
                .execute(&mut *transaction)
                .await
                .map_err(storage_error)?;
            sqlx::query(schema.sql(sql!("scheduler/disown")))
                .bind(session.id.0)
                .execute(&mut *transaction)
                .await
                .map_err(storage_error)?;
        }
        transaction.commit().await.map_err(storage_error)?;
        let is_own = self.with_session(session, |_| ()).is_some();
        if is_own {
            self.sessions().remove(&session.id);
            self.inner.lanes.forget(session.id).await;
        }
        self.announce(News::RUNS);
        Ok(())
    }

    async fn pool_slots(&self) -> Result<Vec<(String, i32)>> {
        let read = self.read_at(News::LIMITS);
        if let Some(slots) = self.inner.hints.known_slots(read) {
            return Ok(slots);
        }
        let rows = sqlx::query(self.inner.schema.sql(sql!("scheduler/pool_slots")))
            .fetch_all(&self.inner.schedulers)
            .await
            .map_err(storage_error)?;
        let slots: Vec<(String, i32)> = rows
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, sqlx::Error>>()
            .map_err(storage_error)?;
        self.inner.hints.learn_slots(read, slots.clone());
        Ok(slots)
    }

    async fn versions_after(&self, after: Option<DagVersionId>, limit: usize) -> Result<Vec<DagVersion>> {
        let read = self.read_at(News::VERSIONS);
        if self.inner.hints.knows_none_after(after, read) {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(self.inner.schema.sql(sql!("scheduler/versions_after")))
            .bind(after.map_or(0, |after| after.0))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.inner.schedulers)
            .await
            .map_err(storage_error)?;
        let mut versions = Vec::with_capacity(rows.len());
        for row in &rows {
            let version = read_version(row).map_err(storage_error)?;
            versions.push(self.inner.versions.remember(version).view.clone());
        }
        if versions.is_empty() {
            self.inner.hints.learn_none_after(after, read);
        }
        Ok(versions)
    }

    async fn claim_runs(
        &self,
        session: &SchedulerSession,
        versions: &[DagVersionId],
        limit: usize,
    ) -> Result<Vec<RunSnapshot>> {
        self.claim(session, versions, limit).await
    }

    async fn owned_runs(&self, session: &SchedulerSession) -> Result<Vec<RunId>> {
        let mut connection = self.inner.schedulers.acquire().await.map_err(storage_error)?;
        self.check_session(&mut connection, session).await?;
        self.run_ids(&mut connection, sql!("scheduler/owned_runs"), session).await
    }

    async fn reload_runs(&self, session: &SchedulerSession, runs: &[RunId]) -> Result<Vec<RunSnapshot>> {
        let schema = &self.inner.schema;
        let ids: Vec<i64> = runs.iter().map(|run| run.0).collect();
        let mut transaction = self.begin_scheduler().await?;
        self.check_session(&mut transaction, session).await?;
        // Acknowledged before they are read: what changes in between is told again.
        sqlx::query(schema.sql(sql!("scheduler/acknowledge")))
            .bind(session.id.0)
            .bind(&ids)
            .execute(&mut *transaction)
            .await
            .map_err(storage_error)?;
        // Locked, so that they do not change while they are read.
        let rows = sqlx::query(schema.sql(sql!("scheduler/own_of")))
            .bind(session.id.0)
            .bind(&ids)
            .fetch_all(&mut *transaction)
            .await
            .map_err(storage_error)?;
        let own: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(storage_error)?;
        let snapshots = read_snapshots(self, &mut transaction, &own, &BTreeSet::new()).await?;
        transaction.commit().await.map_err(storage_error)?;
        Ok(snapshots)
    }

    async fn changed_runs(&self, session: &SchedulerSession) -> Result<Vec<RunId>> {
        let read = self.read_at(News::CHANGES);
        let hints = &self.inner.hints;
        let is_known = self.with_session(session, |known| known.nothing_changed).flatten();
        if is_known.is_some_and(|before| hints.is_fresh(News::CHANGES, before, read.time())) {
            return Ok(Vec::new());
        }
        let mut connection = self.inner.schedulers.acquire().await.map_err(storage_error)?;
        self.check_session(&mut connection, session).await?;
        let changed = self.run_ids(&mut connection, sql!("scheduler/changed_runs"), session).await?;
        self.with_session(session, |known| known.nothing_changed = changed.is_empty().then_some(read));
        Ok(changed)
    }

    async fn previous_runs(&self, queries: &[PastQuery]) -> Result<Vec<Option<PreviousRun>>> {
        self.read_previous_runs(queries).await
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Verdict>> {
        self.commit_batch(batch).await
    }

    async fn waiting_consumers(&self, versions: &[DagVersionId]) -> Result<Vec<WaitingConsumer>> {
        self.read_waiting_consumers(versions).await
    }

    async fn create_dataset_run(&self, now: DateTime<Utc>, run: &NewDatasetRun) -> Result<Option<DagRun>> {
        self.write_dataset_run(now, run).await
    }

    async fn announcement(&self, seen: u64) -> u64 {
        self.news(seen).await
    }
}
