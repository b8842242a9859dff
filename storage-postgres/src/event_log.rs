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
use crate::page::{Side, Walk, Walks, limit_and_offset, total};
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

/// How many columns `/* event */` stands for.
const COLUMNS: usize = 11;

/// Reads an entry from the first columns, which are those of `/* event */`.
fn read(row: &PgRow) -> sqlx::Result<EventLogEntry> {
    Ok(EventLogEntry {
        id: row.try_get(0)?,
        when: row.try_get(1)?,
        event: row.try_get(2)?,
        dag_id: row.try_get::<Option<&str>, _>(3)?.map(DagId::from),
        task_id: row.try_get(4)?,
        run_id: row.try_get(5)?,
        map_index: row.try_get(6)?,
        try_number: row.try_get::<Option<i32>, _>(7)?.map(unsigned),
        logical_date: row.try_get(8)?,
        owner: row.try_get(9)?,
        extra: row.try_get(10)?,
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

impl PostgresStorage {
    /// A page of the entries of one DAG, by id.
    async fn events_of_dag(&self, query: &EventLogQuery) -> Result<Page<EventLogEntry>> {
        let is_descending = query.order_by.is_some_and(|order| order.descending);
        let (limit, offset) = limit_and_offset(query.page);
        let down = ("down", if is_descending { "DESC" } else { "" });
        let statement = || {
            let text = self.inner.schema.with(sql!("event_log/of_dag"), &[down]);
            filtered(text, query).bind(limit).bind(offset)
        };
        let rows = self.inner.readers.all(statement).await.map_err(storage_error)?;
        let read = || {
            let mut page = Page { items: Vec::with_capacity(rows.len()), total: 0 };
            for row in &rows {
                page.total = row.try_get(COLUMNS).map(total)?;
                if row.try_get::<Option<i64>, _>(0)?.is_some() {
                    page.items.push(read(row)?);
                }
            }
            Ok(page)
        };
        read().map_err(storage_error)
    }
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
        let by_id = query.order_by.is_none_or(|order| order.field == EventLogOrder::Id);
        if by_id && query.dag_id.is_some() && query.run_id.is_none() {
            return self.events_of_dag(query).await;
        }
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
