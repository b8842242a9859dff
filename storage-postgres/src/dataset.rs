//! Datasets, their updates, and the updates that wait for DAGs.
//!
//! A page of updates and its total are two statements of one snapshot: the page of a long list is read by index.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, Row, SqlStr};
use updraft_core::id::{DagId, TaskId};
use updraft_core::model::{
    AuditEntry, Dataset, DatasetConsumer, DatasetEvent, DatasetEventSource, DatasetProducer, DatasetRecord,
    QueuedDatasetEvent,
};
use updraft_core::storage::{
    DatasetEventOrder, DatasetEventQuery, DatasetOrder, DatasetQuery, DatasetStorage, NewDatasetEvent, Page,
    QueuedDatasetEventQuery, Result, StorageError, Subject,
};

use crate::PostgresStorage;
use crate::audit::write_audit;
use crate::dag::{anywhere, texts};
use crate::dag_run::runs_by_key;
use crate::error::storage_error;
use crate::hint::News;
use crate::page::{Orders, limit_and_offset, order, read_page, total};
use crate::sql::{Schema, sql};
use crate::version::Version;

/// Orders of `dataset/list`.
pub(crate) const ORDERS: &Orders<DatasetOrder> = &[
    (DatasetOrder::Id, ["", "id DESC,"]),
    (DatasetOrder::Uri, ["uri,", "uri DESC,"]),
    (DatasetOrder::CreatedAt, ["created_at,", "created_at DESC,"]),
    (DatasetOrder::UpdatedAt, ["updated_at,", "updated_at DESC,"]),
];

/// Orders of `dataset/events`.
pub(crate) const EVENT_ORDERS: &Orders<DatasetEventOrder> = &[
    (DatasetEventOrder::Timestamp, ["", "\"timestamp\" DESC,"]),
    (DatasetEventOrder::SourceDagId, ["source_dag_id,", "source_dag_id DESC,"]),
    (DatasetEventOrder::SourceTaskId, ["source_task_id,", "source_task_id DESC,"]),
    (DatasetEventOrder::SourceRunId, ["source_run_id,", "source_run_id DESC,"]),
    (DatasetEventOrder::SourceMapIndex, ["source_map_index,", "source_map_index DESC,"]),
];

/// Enters the datasets that versions use. The rows of their DAGs are locked.
pub(crate) async fn enter_datasets(
    connection: &mut PgConnection,
    schema: &Schema,
    now: DateTime<Utc>,
    versions: &[&Version],
) -> Result<()> {
    if versions.is_empty() {
        return Ok(());
    }
    // Whoever else makes datasets known waits: they could meet in a circle.
    sqlx::query(schema.sql(sql!("dag/lock_versions"))).execute(&mut *connection).await.map_err(storage_error)?;
    let produced: Vec<(i32, &TaskId, Dataset)> = versions
        .iter()
        .flat_map(|version| version.view.dag.tasks.iter().map(|task| (version.dag, task)))
        .flat_map(|(dag, task)| task.outlet_datasets().map(move |dataset| (dag, &task.task_id, dataset)))
        .collect();
    let consumed: BTreeSet<(i32, &str)> =
        versions.iter().flat_map(|version| version.view.dag.consumed_uris().map(|uri| (version.dag, uri))).collect();
    let empty = Map::new();
    let in_schedules = versions.iter().flat_map(|version| version.view.dag.consumed_uris());
    let mut seen = BTreeSet::new();
    let (mut uris, mut extras) = (Vec::new(), Vec::new());
    let used = produced.iter().map(|(_, _, dataset)| (dataset.uri.as_str(), &dataset.extra));
    for (uri, extra) in used.chain(in_schedules.map(|uri| (uri, &empty))) {
        if seen.insert(uri) {
            uris.push(uri);
            extras.push(json_text(extra)?);
        }
    }
    if !uris.is_empty() {
        sqlx::query(schema.sql(sql!("dataset/renew")))
            .bind(&uris)
            .bind(now)
            .execute(&mut *connection)
            .await
            .map_err(storage_error)?;
        sqlx::query(schema.sql(sql!("dataset/enter")))
            .bind(&uris)
            .bind(extras)
            .bind(now)
            .execute(&mut *connection)
            .await
            .map_err(storage_error)?;
    }
    let dags: Vec<i32> = versions.iter().map(|version| version.dag).collect();
    let (waiting, for_uris): (Vec<i32>, Vec<&str>) = consumed.into_iter().unzip();
    sqlx::query(schema.sql(sql!("dataset/enter_consumers")))
        .bind(&dags)
        .bind(waiting)
        .bind(for_uris)
        .bind(now)
        .execute(&mut *connection)
        .await
        .map_err(storage_error)?;
    sqlx::query(schema.sql(sql!("dataset/enter_producers")))
        .bind(&dags)
        .bind(produced.iter().map(|(dag, ..)| *dag).collect::<Vec<_>>())
        .bind(produced.iter().map(|(_, task_id, _)| task_id.as_str()).collect::<Vec<_>>())
        .bind(produced.iter().map(|(_, _, dataset)| dataset.uri.as_str()).collect::<Vec<_>>())
        .bind(versions.iter().map(|version| version.view.id.0).collect::<Vec<_>>())
        .bind(now)
        .execute(connection)
        .await
        .map_err(storage_error)?;
    Ok(())
}

fn json_text(extra: &Map<String, Value>) -> Result<String> {
    serde_json::to_string(extra).map_err(|error| StorageError::Internal(Box::new(error)))
}

fn not_found(uri: &str) -> StorageError {
    StorageError::NotFound(Subject::Dataset(uri.into()))
}

/// A dataset without its uses.
fn read(row: &PgRow) -> sqlx::Result<DatasetRecord> {
    Ok(DatasetRecord {
        id: row.try_get("id")?,
        uri: row.try_get("uri")?,
        extra: row.try_get::<Json<Map<String, Value>>, _>("extra")?.0,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        consuming_dags: Vec::new(),
        producing_tasks: Vec::new(),
    })
}

async fn add_uses(connection: &mut PgConnection, schema: &Schema, datasets: &mut [DatasetRecord]) -> Result<()> {
    let ids: Vec<i64> = datasets.iter().map(|dataset| dataset.id).collect();
    let rows = sqlx::query(schema.sql(sql!("dataset/uses"))).bind(ids).fetch_all(connection).await;
    let mut by_id: BTreeMap<i64, &mut DatasetRecord> =
        datasets.iter_mut().map(|dataset| (dataset.id, dataset)).collect();
    let mut add = |row: &PgRow| -> sqlx::Result<()> {
        let Some(dataset) = by_id.get_mut(&row.try_get("dataset")?) else { return Ok(()) };
        let dag_id: DagId = row.try_get::<String, _>("dag_id")?.into();
        let created_at = row.try_get("created_at")?;
        match row.try_get::<Option<String>, _>("task_id")? {
            Some(task) => {
                dataset.producing_tasks.push(DatasetProducer { dag_id, task_id: task.into(), created_at });
            }
            None => dataset.consuming_dags.push(DatasetConsumer { dag_id, created_at }),
        }
        Ok(())
    };
    rows.map_err(storage_error)?.iter().try_for_each(&mut add).map_err(storage_error)
}

/// An update without the runs that it caused.
fn read_event(row: &PgRow) -> sqlx::Result<DatasetEvent> {
    let text = |name| row.try_get::<Option<String>, _>(name);
    let source = match (text("source_dag_id")?, text("source_task_id")?, text("source_run_id")?) {
        (Some(dag_id), Some(task_id), Some(run_id)) => Some(DatasetEventSource {
            dag_id: dag_id.into(),
            task_id: task_id.into(),
            run_id,
            map_index: row.try_get("source_map_index")?,
        }),
        _ => None,
    };
    Ok(DatasetEvent {
        id: row.try_get("id")?,
        dataset_id: row.try_get("dataset")?,
        dataset_uri: row.try_get("uri")?,
        extra: row.try_get::<Json<Map<String, Value>>, _>("extra")?.0,
        source,
        timestamp: row.try_get("timestamp")?,
        created_dag_runs: Vec::new(),
    })
}

async fn add_runs(connection: &mut PgConnection, schema: &Schema, events: &mut [DatasetEvent]) -> Result<()> {
    let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
    let links: Vec<(i64, i64)> = sqlx::query_as(schema.sql(sql!("dataset/caused_runs")))
        .bind(ids)
        .fetch_all(&mut *connection)
        .await
        .map_err(storage_error)?;
    let runs = runs_by_key(connection, schema, links.iter().map(|(_, run)| *run)).await?;
    let mut by_id: BTreeMap<i64, &mut DatasetEvent> = events.iter_mut().map(|event| (event.id, event)).collect();
    for (event, run) in links {
        if let (Some(event), Some(run)) = (by_id.get_mut(&event), runs.get(&run)) {
            event.created_dag_runs.push(run.as_ref().clone());
        }
    }
    Ok(())
}

/// A statement with the parameters of the filters.
fn filtered(statement: SqlStr, query: &DatasetEventQuery) -> Query<'_, Postgres, PgArguments> {
    sqlx::query(statement)
        .bind(query.dataset_id)
        .bind(&query.source_dag_id)
        .bind(&query.source_task_id)
        .bind(&query.source_run_id)
        .bind(query.source_map_index)
        .bind(query.caused.map(|run| run.0))
}

/// A statement with the parameters of the filters.
fn filtered_queue(statement: SqlStr, query: &QueuedDatasetEventQuery) -> Query<'_, Postgres, PgArguments> {
    sqlx::query(statement)
        .bind(&query.dag_id)
        .bind(&query.uri)
        .bind(query.before)
        .bind(query.readable.as_deref().map(texts))
}

#[async_trait]
impl DatasetStorage for PostgresStorage {
    async fn dataset(&self, uri: &str) -> Result<DatasetRecord> {
        let schema = &self.inner.schema;
        let mut snapshot = self.snapshot().await?;
        let row = sqlx::query(schema.sql(sql!("dataset/by_uri")))
            .bind(uri)
            .fetch_optional(&mut *snapshot)
            .await
            .map_err(storage_error)?;
        let mut dataset = read(&row.ok_or_else(|| not_found(uri))?).map_err(storage_error)?;
        add_uses(&mut snapshot, schema, std::slice::from_mut(&mut dataset)).await?;
        snapshot.commit().await.map_err(storage_error)?;
        Ok(dataset)
    }

    async fn datasets(&self, query: &DatasetQuery) -> Result<Page<DatasetRecord>> {
        let schema = &self.inner.schema;
        let (limit, offset) = limit_and_offset(query.page);
        let mut snapshot = self.snapshot().await?;
        let rows = sqlx::query(schema.ordered(sql!("dataset/list"), order(ORDERS, query.order_by)))
            .bind(query.uri_pattern.as_deref().map(anywhere))
            .bind(query.dag_ids.as_ref().map(texts))
            .bind(limit)
            .bind(offset)
            .fetch_all(&mut *snapshot)
            .await
            .map_err(storage_error)?;
        let mut page = read_page(&rows, read)?;
        add_uses(&mut snapshot, schema, &mut page.items).await?;
        snapshot.commit().await.map_err(storage_error)?;
        Ok(page)
    }

    async fn create_dataset_event(
        &self,
        now: DateTime<Utc>,
        event: NewDatasetEvent,
        audit: Option<AuditEntry>,
    ) -> Result<DatasetEvent> {
        let schema = &self.inner.schema;
        let NewDatasetEvent { uri, extra, source } = event;
        let mut tx = self.begin().await?;
        let row = sqlx::query(schema.sql(sql!("dataset/by_uri")))
            .bind(&uri)
            .fetch_optional(&mut *tx)
            .await
            .map_err(storage_error)?;
        let dataset = read(&row.ok_or_else(|| not_found(&uri))?).map_err(storage_error)?;
        let (id, queued): (i64, i64) = sqlx::query_as(schema.sql(sql!("dataset/create_event")))
            .bind(dataset.id)
            .bind(now)
            .bind(source.as_ref().map(|source| source.dag_id.as_str()))
            .bind(source.as_ref().map(|source| source.task_id.as_str()))
            .bind(source.as_ref().map(|source| source.run_id.as_str()))
            .bind(source.as_ref().map_or(-1, |source| source.map_index))
            .bind(json_text(&extra)?)
            .fetch_one(&mut *tx)
            .await
            .map_err(storage_error)?;
        write_audit(&mut tx, schema, Some(now), audit).await?;
        tx.commit().await.map_err(storage_error)?;
        if queued > 0 {
            self.announce(News::DATASETS);
        }
        Ok(DatasetEvent {
            id,
            dataset_id: dataset.id,
            dataset_uri: uri,
            extra,
            source,
            timestamp: now,
            created_dag_runs: Vec::new(),
        })
    }

    async fn dataset_events(&self, query: &DatasetEventQuery) -> Result<Page<DatasetEvent>> {
        let schema = &self.inner.schema;
        let (limit, offset) = limit_and_offset(query.page);
        let mut snapshot = self.snapshot().await?;
        let rows = filtered(schema.ordered(sql!("dataset/events"), order(EVENT_ORDERS, query.order_by)), query)
            .bind(limit)
            .bind(offset)
            .fetch_all(&mut *snapshot)
            .await
            .map_err(storage_error)?;
        let count = filtered(schema.sql(sql!("dataset/count_events")), query)
            .fetch_one(&mut *snapshot)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(storage_error)?;
        let mut items = rows.iter().map(read_event).collect::<sqlx::Result<Vec<_>>>().map_err(storage_error)?;
        add_runs(&mut snapshot, schema, &mut items).await?;
        snapshot.commit().await.map_err(storage_error)?;
        Ok(Page { items, total: total(count) })
    }

    async fn queued_dataset_events(&self, query: &QueuedDatasetEventQuery) -> Result<Vec<QueuedDatasetEvent>> {
        let rows = filtered_queue(self.inner.schema.sql(sql!("dataset/queued")), query)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        let read = |row: &PgRow| -> sqlx::Result<_> {
            Ok(QueuedDatasetEvent {
                dag_id: row.try_get::<String, _>("dag_id")?.into(),
                uri: row.try_get("uri")?,
                created_at: row.try_get("created_at")?,
            })
        };
        rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(storage_error)
    }

    async fn delete_queued_dataset_events(
        &self,
        now: DateTime<Utc>,
        query: &QueuedDatasetEventQuery,
        audit: Option<AuditEntry>,
    ) -> Result<u64> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        let deleted = filtered_queue(schema.sql(sql!("dataset/delete_queued")), query)
            .execute(&mut *tx)
            .await
            .map_err(storage_error)?
            .rows_affected();
        if deleted > 0 {
            write_audit(&mut tx, schema, Some(now), audit).await?;
        }
        tx.commit().await.map_err(storage_error)?;
        Ok(deleted)
    }
}
