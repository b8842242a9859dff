//! Updates of datasets by tasks that succeed, written with the batch that says so.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use updraft_core::id::{DagId, TaskId};

use crate::image::Place;
use crate::sql::{Schema, sql};

/// An update of a dataset by a task instance.
pub(crate) struct Update {
    uri: String,
    /// A JSON object.
    extra: String,
    place: Place,
    dag_id: String,
    task_id: String,
}

impl Update {
    pub(crate) fn new(uri: String, extra: Map<String, Value>, place: Place, dag_id: &DagId, task_id: &TaskId) -> Self {
        let extra = Value::Object(extra).to_string();
        Self { uri, extra, place, dag_id: dag_id.to_string(), task_id: task_id.to_string() }
    }
}

/// Writes updates, in this order, and queues them for the DAGs that wait for them. Returns whether one waits that did not wait
/// before.
pub(crate) async fn write_updates(
    connection: &mut PgConnection,
    schema: &Schema,
    now: DateTime<Utc>,
    updates: &[Update],
) -> Result<bool, sqlx::Error> {
    if updates.is_empty() {
        return Ok(false);
    }
    let queued: i64 = sqlx::query_scalar(schema.sql(sql!("commit/update_datasets")))
        .bind(now)
        .bind(updates.iter().map(|update| update.uri.as_str()).collect::<Vec<_>>())
        .bind(updates.iter().map(|update| update.dag_id.as_str()).collect::<Vec<_>>())
        .bind(updates.iter().map(|update| update.task_id.as_str()).collect::<Vec<_>>())
        .bind(updates.iter().map(|update| update.place.0.0).collect::<Vec<_>>())
        .bind(updates.iter().map(|update| update.place.1.map_index).collect::<Vec<_>>())
        .bind(updates.iter().map(|update| update.extra.as_str()).collect::<Vec<_>>())
        .fetch_one(connection)
        .await?;
    Ok(queued > 0)
}
