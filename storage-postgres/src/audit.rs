//! Entries of the event log that are written together with a change.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use updraft_core::model::AuditEntry;
use updraft_core::storage::Result;

use crate::error::storage_error;
use crate::sql::{Schema, sql};

/// Writes an entry in the transaction of its change.
pub(crate) async fn write_audit(
    connection: &mut PgConnection,
    schema: &Schema,
    now: DateTime<Utc>,
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
