//! DAGs, their versions and sources.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use updraft_core::id::{DagId, DagVersionId};
use updraft_core::model::{AuditEntry, DagRecord, DagVersion, DataInterval, NextRun};
use updraft_core::storage::{
    DagOrder, DagQuery, DagRegistration, DagStorage, Page, Result, StorageError, Subject, UNREPORTED,
};

use crate::PostgresStorage;
use crate::audit::write_audit;
use crate::error::{storage_error, unreadable};
use crate::hint::News;
use crate::page::{Orders, limit_and_offset, order, read_page};
use crate::run_write::delete_runs;
use crate::sql::{ALL_DAGS, Schema, sql};

/// Orders of `dag/list`.
pub(crate) const ORDERS: &Orders<DagOrder> = &[
    (DagOrder::DagId, ["", "dag_id DESC,"]),
    (DagOrder::IsPaused, ["is_paused,", "is_paused DESC,"]),
    (DagOrder::IsActive, ["is_active,", "is_active DESC,"]),
    (DagOrder::LastParsedTime, ["last_parsed_time,", "last_parsed_time DESC,"]),
    (DagOrder::Fileloc, ["fileloc,", "fileloc DESC,"]),
    (DagOrder::Description, ["description,", "description DESC,"]),
    (DagOrder::MaxActiveRuns, ["max_active_runs,", "max_active_runs DESC,"]),
    (DagOrder::MaxActiveTasks, ["max_active_tasks,", "max_active_tasks DESC,"]),
    (DagOrder::Owners, ["owners,", "owners DESC,"]),
];

/// How often DAGs are read anew whose newest version was replaced and forgotten between two statements.
const READS: usize = 5;

/// A DAG without its declaration.
#[derive(Debug, Clone, Copy)]
struct DagRow {
    newest_version: i64,
    is_paused: bool,
    is_active: bool,
    has_import_errors: bool,
    last_parsed_time: DateTime<Utc>,
    last_expired: Option<DateTime<Utc>>,
    next_run: Option<NextRun>,
    is_held: bool,
}

pub(crate) fn read_next(row: &PgRow) -> sqlx::Result<Option<NextRun>> {
    let date = |column| row.try_get::<Option<DateTime<Utc>>, _>(column);
    let interval = date("next_dagrun_data_interval_start")?.zip(date("next_dagrun_data_interval_end")?);
    let next = date("next_dagrun")?.zip(date("next_dagrun_create_after")?).zip(interval);
    Ok(next.map(|((logical_date, create_after), (start, end))| NextRun {
        logical_date,
        data_interval: DataInterval { start, end },
        create_after,
    }))
}

fn read(row: &PgRow) -> sqlx::Result<DagRow> {
    Ok(DagRow {
        newest_version: row.try_get("newest_version")?,
        is_paused: row.try_get("is_paused")?,
        is_active: row.try_get("is_active")?,
        has_import_errors: row.try_get("has_import_errors")?,
        last_parsed_time: row.try_get("last_parsed_time")?,
        last_expired: row.try_get("last_expired")?,
        next_run: read_next(row)?,
        is_held: row.try_get("is_held")?,
    })
}

fn not_found(dag_id: &str) -> StorageError {
    StorageError::NotFound(Subject::Dag(dag_id.into()))
}

pub(crate) fn texts<'a>(ids: impl IntoIterator<Item = &'a DagId>) -> Vec<&'a str> {
    ids.into_iter().map(DagId::as_str).collect()
}

/// The ids in the first column.
fn dag_ids_of(rows: &[PgRow]) -> Result<Vec<DagId>> {
    let ids = rows.iter().map(|row| row.try_get::<String, _>(0).map(DagId::from));
    ids.collect::<Result<_, _>>().map_err(storage_error)
}

/// The pattern of `ILIKE` that finds `pattern` anywhere.
pub(crate) fn anywhere(pattern: &str) -> String {
    let backslashes = pattern.chars().rev().take_while(|&char| char == '\\').count();
    // One that has nothing to take the meaning from stands for itself.
    let last = if backslashes % 2 == 1 { "\\" } else { "" };
    format!("%{pattern}{last}%")
}

/// Locks the runs of a DAG, and gives their keys.
async fn lock_runs(connection: &mut PgConnection, schema: &Schema, dag: i32) -> Result<Vec<i64>> {
    let runs = sqlx::query_scalar(schema.sql(sql!("dag/lock_runs"))).bind(dag).fetch_all(connection).await;
    runs.map_err(storage_error)
}

impl PostgresStorage {
    /// Adds the declarations; nothing if one has been forgotten since the rows were read, because two newer ones came.
    async fn with_versions(&self, rows: &[DagRow]) -> Result<Option<Vec<DagRecord>>> {
        let Self { inner } = self;
        let ids = rows.iter().map(|row| row.newest_version);
        let versions = inner.versions.get(&inner.clients, &inner.schema, ids).await?;
        let record = |row: &DagRow| {
            Some(DagRecord {
                version: versions.get(&row.newest_version)?.view.clone(),
                is_paused: row.is_paused,
                is_active: row.is_active,
                has_import_errors: row.has_import_errors,
                last_parsed_time: row.last_parsed_time,
                last_expired: row.last_expired,
                next_run: row.next_run,
                is_held: row.is_held,
            })
        };
        Ok(rows.iter().map(record).collect())
    }

    async fn list_dags(&self, query: &DagQuery) -> Result<Page<DagRow>> {
        let (limit, offset) = limit_and_offset(query.page);
        // Other orders need all rows, which the way by an index would make dear.
        let is_whole = query.order_by.is_none_or(|order| order.field == DagOrder::DagId)
            && query.tags.is_empty()
            && query.dag_id_pattern.is_none()
            && query.dag_ids.is_none()
            && query.readable.is_none()
            && query.filelocs.is_none();
        let statement = || {
            let parts = [("order", order(ORDERS, query.order_by)), ALL_DAGS];
            let parts = if is_whole { &parts[..] } else { &parts[..1] };
            sqlx::query(self.inner.schema.with(sql!("dag/list"), parts))
                .bind(query.is_active)
                .bind(query.is_paused)
                .bind((!query.tags.is_empty()).then_some(&query.tags))
                .bind(query.dag_id_pattern.as_deref().map(anywhere))
                .bind(query.dag_ids.as_ref().map(texts))
                .bind(query.readable.as_deref().map(texts))
                .bind(query.filelocs.as_ref().map(Vec::from_iter))
                .bind(limit)
                .bind(offset)
        };
        let read_all = async {
            if is_whole {
                return self.inner.readers.all(statement).await;
            }
            statement().fetch_all(&self.inner.clients).await
        };
        read_page(&read_all.await.map_err(storage_error)?, read)
    }
}

#[async_trait]
impl DagStorage for PostgresStorage {
    async fn register_dags(&self, now: DateTime<Utc>, dags: Vec<DagRegistration>) -> Result<Vec<DagVersion>> {
        self.register(now, dags).await
    }

    async fn report_dags(&self, now: DateTime<Utc>, dag_ids: &[DagId]) -> Result<Vec<DagId>> {
        let rows = sqlx::query(self.inner.schema.sql(sql!("dag/report")))
            .bind(texts(dag_ids))
            .bind(now)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        // One may be active again.
        self.inner.hints.note(News::SCHEDULES);
        dag_ids_of(&rows)
    }

    async fn deactivate_dags(&self, now: DateTime<Utc>, dag_ids: &[DagId]) -> Result<Vec<DagId>> {
        let rows = sqlx::query(self.inner.schema.sql(sql!("dag/deactivate")))
            .bind(texts(dag_ids))
            .bind(now)
            .bind(now - UNREPORTED)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        dag_ids_of(&rows)
    }

    async fn dag(&self, dag_id: &str) -> Result<DagRecord> {
        for _ in 0..READS {
            let statement = || sqlx::query(self.inner.schema.sql(sql!("dag/by_id"))).bind(dag_id);
            let row = self.inner.readers.optional(statement).await.map_err(storage_error)?;
            let row = read(&row.ok_or_else(|| not_found(dag_id))?).map_err(storage_error)?;
            if let Some(record) = self.with_versions(&[row]).await?.and_then(|mut records| records.pop()) {
                return Ok(record);
            }
        }
        Err(unreadable(format!("the newest version of the DAG '{dag_id}' is missing")))
    }

    async fn dags(&self, query: &DagQuery) -> Result<Page<DagRecord>> {
        for _ in 0..READS {
            let Page { items, total } = self.list_dags(query).await?;
            if let Some(items) = self.with_versions(&items).await? {
                return Ok(Page { items, total });
            }
        }
        Err(unreadable("the newest version of a DAG is missing"))
    }

    async fn dag_version(&self, id: DagVersionId) -> Result<DagVersion> {
        let version = self.inner.versions.one(&self.inner.clients, &self.inner.schema, id).await?;
        Ok(version.view.clone())
    }

    async fn set_paused(
        &self,
        now: DateTime<Utc>,
        dag_ids: &[DagId],
        is_paused: bool,
        audit: Option<AuditEntry>,
    ) -> Result<()> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        sqlx::query(schema.sql(sql!("dag/set_paused")))
            .bind(texts(dag_ids))
            .bind(is_paused)
            .execute(&mut *tx)
            .await
            .map_err(storage_error)?;
        write_audit(&mut tx, schema, Some(now), audit).await?;
        tx.commit().await.map_err(storage_error)?;
        self.announce(News::LIMITS.and(News::RUNS));
        Ok(())
    }

    async fn delete_dag(&self, now: DateTime<Utc>, dag_id: &str, audit: Option<AuditEntry>) -> Result<()> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        let key: Option<i32> = sqlx::query_scalar(schema.sql(sql!("dag/key")))
            .bind(dag_id)
            .fetch_optional(&mut *tx)
            .await
            .map_err(storage_error)?;
        let key = key.ok_or_else(|| not_found(dag_id))?;
        // As schedulers lock: runs first, then what limits them. Runs that came between the two are locked last; with the
        // DAG's row, no more can come.
        lock_runs(&mut tx, schema, key).await?;
        let fileloc: Option<String> = sqlx::query_scalar(schema.sql(sql!("dag/lock_for_deletion")))
            .bind(key)
            .fetch_optional(&mut *tx)
            .await
            .map_err(storage_error)?;
        let fileloc = fileloc.ok_or_else(|| not_found(dag_id))?;
        let runs = lock_runs(&mut tx, schema, key).await?;
        let is_live: bool = sqlx::query_scalar(schema.sql(sql!("dag/is_live")))
            .bind(key)
            .fetch_one(&mut *tx)
            .await
            .map_err(storage_error)?;
        if is_live {
            let reason = "one of its task instances is being run".into();
            return Err(StorageError::Conflict(Subject::Dag(dag_id.into()), reason));
        }
        delete_runs(&mut tx, schema, &runs).await.map_err(storage_error)?;
        let versions: Vec<i64> = sqlx::query_scalar(schema.sql(sql!("dag/delete_versions")))
            .bind(key)
            .fetch_all(&mut *tx)
            .await
            .map_err(storage_error)?;
        sqlx::query(schema.sql(sql!("dag/delete_tasks")))
            .bind(&versions)
            .execute(&mut *tx)
            .await
            .map_err(storage_error)?;
        sqlx::query(schema.sql(sql!("dag/delete"))).bind(key).execute(&mut *tx).await.map_err(storage_error)?;
        for statement in [sql!("import_error/delete"), sql!("dag/delete_source")] {
            sqlx::query(schema.sql(statement)).bind(&fileloc).execute(&mut *tx).await.map_err(storage_error)?;
        }
        write_audit(&mut tx, schema, Some(now), audit).await?;
        tx.commit().await.map_err(storage_error)?;
        self.inner.versions.forget(&versions);
        self.announce(News::CHANGES.and(News::LIMITS));
        Ok(())
    }

    async fn dag_source(&self, fileloc: &str) -> Result<Arc<str>> {
        let content: Option<String> = sqlx::query_scalar(self.inner.schema.sql(sql!("dag/source")))
            .bind(fileloc)
            .fetch_optional(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        content.map(Arc::from).ok_or_else(|| StorageError::NotFound(Subject::DagSource(fileloc.into())))
    }

    async fn dags_of_file(&self, fileloc: &str) -> Result<Vec<DagId>> {
        let rows = sqlx::query(self.inner.schema.sql(sql!("dag/of_file")))
            .bind(fileloc)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        dag_ids_of(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::anywhere;

    #[test]
    fn patterns_end_as_they_are_meant() {
        for (pattern, expected) in
            [("", "%%"), ("a_b", "%a_b%"), ("a\\", "%a\\\\%"), ("a\\\\", "%a\\\\%"), ("a\\%", "%a\\%%")]
        {
            assert_eq!(anywhere(pattern), expected);
        }
    }
}
