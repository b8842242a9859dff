//! The event log.
//!
//! A page and its total are two statements of one snapshot: the page of a long log is read by index, whatever its length.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row, SqlStr};
use updraft_core::id::DagId;
use updraft_core::model::{AuditEntry, EventLogEntry};
use updraft_core::storage::{EventLogOrder, EventLogQuery, EventLogStorage, Page, Result, StorageError, Subject};

use crate::PostgresStorage;
use crate::audit::write_audit;
use crate::code::unsigned;
use crate::error::storage_error;
use crate::page::{Side, Walk, Walks, total};
use crate::sql::sql;

/// Orders of `event_log/list`.
pub(crate) const ORDERS: &Walks<EventLogOrder> = &[
    (EventLogOrder::Id, &["id"]),
    (EventLogOrder::When, &["\"when\""]),
    (EventLogOrder::DagId, &["dag_id"]),
    (EventLogOrder::TaskId, &["task_id"]),
    (EventLogOrder::RunId, &["run_id"]),
    (EventLogOrder::Event, &["event"]),
    (EventLogOrder::LogicalDate, &["logical_date"]),
    (EventLogOrder::Owner, &["owner"]),
    (EventLogOrder::Extra, &["extra"]),
];

/// The order of entries that are equal otherwise.
pub(crate) const LAST: &str = "id";

fn read(row: &PgRow) -> sqlx::Result<EventLogEntry> {
    Ok(EventLogEntry {
        id: row.try_get("id")?,
        when: row.try_get("when")?,
        event: row.try_get("event")?,
        dag_id: row.try_get::<Option<String>, _>("dag_id")?.map(DagId::from),
        task_id: row.try_get("task_id")?,
        run_id: row.try_get("run_id")?,
        map_index: row.try_get("map_index")?,
        try_number: row.try_get::<Option<i32>, _>("try_number")?.map(unsigned),
        logical_date: row.try_get("logical_date")?,
        owner: row.try_get("owner")?,
        extra: row.try_get("extra")?,
    })
}

/// A statement with the parameters of the filters.
fn filtered(statement: SqlStr, query: &EventLogQuery) -> Query<'_, Postgres, PgArguments> {
    let readable = query.readable.as_deref().map(|ids| ids.iter().map(DagId::as_str).collect::<Vec<_>>());
    sqlx::query(statement)
        .bind(&query.dag_id)
        .bind(&query.run_id)
        .bind(&query.task_id)
        .bind(query.map_index)
        .bind(query.try_number.map(i64::from))
        .bind(&query.event)
        .bind(&query.owner)
        .bind(query.before)
        .bind(query.after)
        .bind(&query.included_events)
        .bind(&query.excluded_events)
        .bind(readable)
}

#[async_trait]
impl EventLogStorage for PostgresStorage {
    async fn append_event(&self, now: DateTime<Utc>, entry: AuditEntry) -> Result<()> {
        let mut connection = self.inner.clients.acquire().await.map_err(storage_error)?;
        write_audit(&mut connection, &self.inner.schema, Some(now), Some(entry)).await
    }

    async fn event(&self, id: i64) -> Result<EventLogEntry> {
        let statement = || sqlx::query(self.inner.schema.sql(sql!("event_log/by_id"))).bind(id);
        let row = self.inner.readers.optional(statement).await.map_err(storage_error)?;
        read(&row.ok_or(StorageError::NotFound(Subject::EventLogEntry(id)))?).map_err(storage_error)
    }

    async fn events(&self, query: &EventLogQuery) -> Result<Page<EventLogEntry>> {
        let schema = &self.inner.schema;
        let mut snapshot = self.snapshot().await?;
        let total = filtered(schema.sql(sql!("event_log/count")), query)
            .fetch_one(&mut *snapshot)
            .await
            .and_then(|row| row.try_get(0).map(total))
            .map_err(storage_error)?;
        let walk = Walk::new(ORDERS, LAST, query.order_by);
        let side = Side::of(query.page, total);
        let rows = filtered(schema.with(sql!("event_log/list"), &walk.texts(side)), query)
            .bind(side.limit)
            .bind(side.offset)
            .fetch_all(&mut *snapshot)
            .await
            .map_err(storage_error)?;
        snapshot.commit().await.map_err(storage_error)?;
        let items = rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(storage_error)?;
        Ok(Page { items, total })
    }
}
