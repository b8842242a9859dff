//! Entries of the event log that are written together with a change.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use updraft_core::model::AuditEntry;
use updraft_core::storage::{Result, StorageError, Subject};

use crate::PostgresStorage;
use crate::error::storage_error;
use crate::sql::{Schema, sql};

/// Writes an entry in the transaction of its change; the time is the database's unless it is given.
pub(crate) async fn write_audit(
    connection: &mut PgConnection,
    schema: &Schema,
    now: Option<DateTime<Utc>>,
    entry: Option<AuditEntry>,
) -> Result<()> {
    let Some(entry) = entry else { return Ok(()) };
    sqlx::query(schema.sql(sql!("event_log/append")))
        .bind(now)
        .bind(entry.event)
        .bind(entry.dag_id.map(|id| id.to_string()))
        .bind(entry.task_id)
        .bind(entry.run_id)
        .bind(entry.map_index)
        .bind(entry.logical_date)
        .bind(entry.owner)
        .bind(entry.extra)
        .execute(connection)
        .await
        .map_err(storage_error)?;
    Ok(())
}

impl PostgresStorage {
    /// Removes the row that a key names.
    pub(crate) async fn delete_named(
        &self,
        statement: &'static str,
        key: &str,
        subject: fn(String) -> Subject,
        audit: Option<AuditEntry>,
    ) -> Result<()> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        let deleted = sqlx::query(schema.sql(statement)).bind(key).execute(&mut *tx).await.map_err(storage_error)?;
        if deleted.rows_affected() == 0 {
            return Err(StorageError::NotFound(subject(key.into())));
        }
        write_audit(&mut tx, schema, None, audit).await?;
        tx.commit().await.map_err(storage_error)
    }
}
