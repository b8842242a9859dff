//! Forgetting what is old.

use chrono::{DateTime, Utc};
use sqlx::Row;
use updraft_core::storage::{Result, StorageError};

use crate::PostgresStorage;
use crate::error::{is_collision, storage_error};
use crate::run_write::delete_runs;
use crate::sql::sql;

/// How many runs are looked at at a time. If as many in a row are too young, so are all later ones.
const WINDOW: usize = 10_000;

/// Most task instances of a transaction, unless one run has more.
const INSTANCES: i64 = 50_000;

/// Entries of the event log or updates of datasets that a transaction looks at, for each run that one may delete.
const EVENTS_PER_RUN: usize = 10;

/// What to forget; nothing by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeRequest {
    /// Runs that ended before then, with all that belongs to them: task instances, XComs, notes, logs. The event log keeps
    /// its entries. Runs that go on, or of which a try still occupies a slot, are kept.
    pub runs_ended_before: Option<DateTime<Utc>>,
    /// Entries of the event log from before then.
    pub events_before: Option<DateTime<Utc>>,
    /// Updates of datasets from before then. The datasets stay, and so does what waits for DAGs.
    pub dataset_events_before: Option<DateTime<Utc>>,
    /// Schedulers that have left, or have been silent since before then, and hosts that nothing tells of any more. It reads
    /// all task instances once if there is such a host.
    pub schedulers_silent_since: Option<DateTime<Utc>>,
    /// Most runs that are deleted by one transaction; 1,000 by default. One transaction deletes no more than 50,000 task
    /// instances, unless a single run has more.
    pub batch: usize,
}

impl Default for PurgeRequest {
    fn default() -> Self {
        Self {
            runs_ended_before: None,
            events_before: None,
            dataset_events_before: None,
            schedulers_silent_since: None,
            batch: 1_000,
        }
    }
}

impl PurgeRequest {
    /// All that is older than this.
    pub fn older_than(moment: DateTime<Utc>) -> Self {
        Self {
            runs_ended_before: Some(moment),
            events_before: Some(moment),
            dataset_events_before: Some(moment),
            schedulers_silent_since: Some(moment),
            ..Self::default()
        }
    }
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Purged {
    /// Runs.
    pub runs: u64,
    /// Their task instances.
    pub task_instances: u64,
    /// Entries of the event log.
    pub events: u64,
    /// Updates of datasets.
    pub dataset_events: u64,
    /// Schedulers.
    pub schedulers: u64,
    /// Hosts.
    pub hosts: u64,
}

/// A run that may go.
#[derive(Clone, Copy)]
struct Old {
    id: i64,
    instances: i64,
}

/// Runs, oldest first.
struct Window {
    old: Vec<Old>,
    /// The last one that was looked at.
    last: i64,
    /// Whether nothing old can follow.
    is_last: bool,
}

impl PostgresStorage {
    /// Forgets what is old, in transactions of bounded size, beside schedulers and clients at work. It may be stopped and
    /// called again at any time, also by several processes at once; what one transaction deleted stays deleted.
    ///
    /// Runs are looked at in the order of their creation, and the search ends where 10,000 in a row were queued too late:
    /// runs that were cleared long after their creation may stay until those before them are old, too.
    ///
    /// # Errors
    /// `Unavailable`: some of it may have been done.
    pub async fn purge(&self, request: PurgeRequest) -> Result<Purged> {
        let mut purged = Purged::default();
        let batch = request.batch.max(1);
        // First, so that entries need not take over the names of runs.
        if let Some(before) = request.events_before {
            purged.events = self.purge_events(before, batch.saturating_mul(EVENTS_PER_RUN)).await?;
        }
        if let Some(before) = request.dataset_events_before {
            purged.dataset_events = self.purge_dataset_events(before, batch.saturating_mul(EVENTS_PER_RUN)).await?;
        }
        if let Some(before) = request.runs_ended_before {
            self.purge_runs(before, batch, &mut purged).await?;
        }
        if let Some(before) = request.schedulers_silent_since {
            purged.schedulers =
                self.purge_locked(sql!("purge/lock_schedulers"), sql!("purge/schedulers"), Some(before)).await?;
            purged.hosts = self.purge_locked(sql!("purge/lock_hosts"), sql!("purge/hosts"), None).await?;
        }
        Ok(purged)
    }

    async fn purge_events(&self, before: DateTime<Utc>, limit: usize) -> Result<u64> {
        let mut purged = 0;
        let mut last: i64 = 0;
        loop {
            let row = sqlx::query(self.inner.schema.sql(sql!("purge/events")))
                .bind(last)
                .bind(before)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_one(&self.inner.writers)
                .await
                .map_err(storage_error)?;
            last = row.try_get(0).map_err(storage_error)?;
            let (seen, old): (i64, i64) =
                (row.try_get(1).map_err(storage_error)?, row.try_get(2).map_err(storage_error)?);
            purged += u64::try_from(old).unwrap_or(0);
            // The log is in the order of time, but for moments.
            if old == 0 || usize::try_from(seen).is_ok_and(|seen| seen < limit) {
                return Ok(purged);
            }
        }
    }

    async fn purge_dataset_events(&self, before: DateTime<Utc>, limit: usize) -> Result<u64> {
        let mut purged = 0;
        loop {
            let deleted = sqlx::query(self.inner.schema.sql(sql!("purge/dataset_events")))
                .bind(before)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .execute(&self.inner.writers)
                .await
                .map_err(storage_error)?
                .rows_affected();
            purged += deleted;
            // Fewer than that: others delete them, or there are no more.
            if usize::try_from(deleted).is_ok_and(|deleted| deleted < limit) {
                return Ok(purged);
            }
        }
    }

    async fn purge_runs(&self, before: DateTime<Utc>, batch: usize, purged: &mut Purged) -> Result<()> {
        let mut last = 0;
        loop {
            let window = self.look_for_old(last, before).await?;
            last = window.last;
            let mut rest = window.old.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(within_bounds(rest, batch));
                let deleted = self.delete_old(now, before).await?;
                purged.runs += deleted.len() as u64;
                let instances = deleted.iter().filter_map(|id| now.iter().find(|old| old.id == *id));
                purged.task_instances += instances.map(|old| u64::try_from(old.instances).unwrap_or(0)).sum::<u64>();
                rest = later;
            }
            if window.is_last {
                break;
            }
        }
        sqlx::query(self.inner.schema.sql(sql!("purge/logs")))
            .bind(last)
            .execute(&self.inner.writers)
            .await
            .map_err(storage_error)?;
        Ok(())
    }

    async fn look_for_old(&self, after: i64, before: DateTime<Utc>) -> Result<Window> {
        let rows = sqlx::query(self.inner.schema.sql(sql!("purge/runs")))
            .bind(after)
            .bind(before)
            .bind(i64::try_from(WINDOW).unwrap_or(i64::MAX))
            .fetch_all(&self.inner.writers)
            .await
            .map_err(storage_error)?;
        let mut window = Window { old: Vec::new(), last: after, is_last: true };
        for row in &rows {
            let read = || -> sqlx::Result<(Old, bool, DateTime<Utc>)> {
                let old = Old { id: row.try_get(0)?, instances: row.try_get(2)? };
                Ok((old, row.try_get::<Option<bool>, _>(1)?.unwrap_or(false), row.try_get(3)?))
            };
            let (run, is_old, queued_at) = read().map_err(storage_error)?;
            window.last = run.id;
            window.is_last &= queued_at >= before;
            if is_old {
                window.old.push(run);
            }
        }
        window.is_last |= rows.len() < WINDOW;
        Ok(window)
    }

    /// Deletes those that still may go; which these were.
    async fn delete_old(&self, old: &[Old], before: DateTime<Utc>) -> Result<Vec<i64>> {
        let schema = &self.inner.schema;
        let ids: Vec<i64> = old.iter().map(|old| old.id).collect();
        let mut collisions = 0;
        loop {
            let mut transaction = self.begin_write().await?;
            let deleted = async {
                let locked: Vec<i64> = sqlx::query_scalar(schema.sql(sql!("purge/lock_runs")))
                    .bind(&ids)
                    .bind(before)
                    .fetch_all(&mut *transaction)
                    .await?;
                delete_runs(&mut transaction, schema, &locked).await?;
                Ok::<_, sqlx::Error>(locked)
            };
            match deleted.await {
                Ok(deleted) => {
                    transaction.commit().await.map_err(storage_error)?;
                    return Ok(deleted);
                }
                Err(error) if is_collision(&error, collisions) => {
                    collisions += 1;
                    drop(transaction);
                    self.pause_after_collision(collisions).await;
                }
                Err(error) => return Err(storage_error(error)),
            }
        }
    }

    /// Deletes rows after they are locked: what is then read of others is not from before.
    async fn purge_locked(
        &self,
        lock: &'static str,
        delete: &'static str,
        before: Option<DateTime<Utc>>,
    ) -> Result<u64, StorageError> {
        let schema = &self.inner.schema;
        let mut transaction = self.begin().await?;
        let mut locking = sqlx::query_scalar(schema.sql(lock));
        if let Some(before) = before {
            locking = locking.bind(before);
        }
        let rows: Vec<i64> = locking.fetch_all(&mut *transaction).await.map_err(storage_error)?;
        if rows.is_empty() {
            return Ok(0);
        }
        let mut deleting = sqlx::query(schema.sql(delete)).bind(rows);
        if let Some(before) = before {
            deleting = deleting.bind(before);
        }
        let deleted = deleting.execute(&mut *transaction).await.map_err(storage_error)?;
        transaction.commit().await.map_err(storage_error)?;
        Ok(deleted.rows_affected())
    }
}

/// How many of them a transaction takes: one at least.
fn within_bounds(old: &[Old], batch: usize) -> usize {
    let mut instances = 0;
    let fits = old.iter().take(batch).take_while(|old| {
        instances += old.instances;
        instances <= INSTANCES
    });
    fits.count().max(1)
}
