//! Runs that updates of datasets cause.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, Row};
use updraft_core::id::DagVersionId;
use updraft_core::model::{DagRun, DataInterval};
use updraft_core::storage::{NewDatasetRun, Result, StorageError, Subject, WaitingConsumer};

use crate::PostgresStorage;
use crate::commit::Failure;
use crate::error::{is_collision, storage_error};
use crate::hint::News;
use crate::run_write::{Heir, KnownVersions};
use crate::sql::{Schema, sql};

/// What decides which DAGs wait: with no news of it, what was read before holds.
const CONCERNS: News = News::DATASETS.and(News::LIMITS).and(News::CHANGES).and(News::VERSIONS);

impl PostgresStorage {
    pub(crate) async fn read_waiting_consumers(&self, versions: &[DagVersionId]) -> Result<Vec<WaitingConsumer>> {
        let read = self.read_at(CONCERNS);
        if self.inner.hints.knows_none_waiting(versions, CONCERNS, read) {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(self.inner.schema.sql(sql!("dataset/waiting_consumers")))
            .bind(versions.iter().map(|version| version.0).collect::<Vec<_>>())
            .fetch_all(&self.inner.schedulers)
            .await
            .map_err(storage_error)?;
        let mut waiting: Vec<WaitingConsumer> = Vec::new();
        for row in &rows {
            let dag_version = row.try_get(0).map(DagVersionId).map_err(storage_error)?;
            let uri = row.try_get(1).map_err(storage_error)?;
            match waiting.last_mut().filter(|consumer| consumer.dag_version == dag_version) {
                Some(consumer) => consumer.uris.push(uri),
                None => waiting.push(WaitingConsumer { dag_version, uris: vec![uri] }),
            }
        }
        if waiting.is_empty() {
            self.inner.hints.learn_none_waiting(versions, read);
        }
        Ok(waiting)
    }

    pub(crate) async fn write_dataset_run(&self, now: DateTime<Utc>, new: &NewDatasetRun) -> Result<Option<DagRun>> {
        let heir = self.heir();
        let mut collisions = 0;
        loop {
            // Nothing of it need survive a crash of the server before the run's first batch: what was queued is queued then.
            let mut transaction = self.begin_scheduler().await?;
            match self.create_dataset_run_in(&mut transaction, now, new, heir.as_ref()).await {
                Ok(None) => return Ok(None),
                Ok(Some((run, versions))) => {
                    self.commit_created(transaction, heir.as_ref(), &[Ok(run.clone())], &versions).await?;
                    return Ok(Some(run));
                }
                Err(Failure::Database(error)) if is_collision(&error, collisions) => {
                    collisions += 1;
                    drop(transaction);
                    self.pause_after_collision(collisions).await;
                }
                Err(Failure::Database(error)) => return Err(storage_error(error)),
                Err(Failure::Storage(error)) => return Err(error),
            }
        }
    }

    async fn create_dataset_run_in(
        &self,
        connection: &mut PgConnection,
        now: DateTime<Utc>,
        new: &NewDatasetRun,
        heir: Option<&Heir>,
    ) -> Result<Option<(DagRun, KnownVersions)>, Failure> {
        let schema = &self.inner.schema;
        let version = match self.inner.versions.one(&mut *connection, schema, new.dag_version).await {
            Err(StorageError::NotFound(_)) => return Ok(None),
            version => version?,
        };
        let is_newest = sqlx::query(schema.sql(sql!("dataset/lock_consumer")))
            .bind(version.dag)
            .bind(new.dag_version.0)
            .fetch_optional(&mut *connection)
            .await?
            .is_some();
        let Some(until) = take_queued(connection, schema, version.dag, &new.uris).await?.filter(|_| is_newest) else {
            return Ok(None);
        };
        let causes: Vec<(i64, DateTime<Utc>, DateTime<Utc>)> = sqlx::query_as(schema.sql(sql!("dataset/causes")))
            .bind(version.dag)
            .bind(until)
            .fetch_all(&mut *connection)
            .await?;
        let updates = causes.iter().map(|&(_, start, end)| DataInterval { start, end });
        let data = NewDatasetRun::data(until, updates);
        let mut date = until;
        let (run, versions) = loop {
            let (created, versions) = self.create_in(connection, now, &[new.run(date, data)], heir).await?;
            match created.into_iter().next() {
                Some(Ok(run)) => break (run, versions),
                Some(Err(StorageError::AlreadyExists(Subject::LogicalDate(..) | Subject::DagRun(..)))) => {
                    date += TimeDelta::microseconds(1);
                }
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(None),
            }
        };
        sqlx::query(schema.sql(sql!("dataset/link_events")))
            .bind(run.id.0)
            .bind(causes.iter().map(|(event, ..)| *event).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        Ok(Some((run, versions)))
    }
}

/// Takes what is queued for a DAG; when the last of it was queued, if `uris` are among it.
async fn take_queued(
    connection: &mut PgConnection,
    schema: &Schema,
    dag: i32,
    uris: &[String],
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let taken: Vec<(String, DateTime<Utc>)> =
        sqlx::query_as(schema.sql(sql!("dataset/take_queued"))).bind(dag).fetch_all(connection).await?;
    let queued: BTreeSet<&str> = taken.iter().map(|(uri, _)| uri.as_str()).collect();
    let until = taken.iter().map(|(_, created_at)| *created_at).max();
    Ok(until.filter(|_| uris.iter().all(|uri| queued.contains(uri.as_str()))))
}
