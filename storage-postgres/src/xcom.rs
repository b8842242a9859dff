//! XComs.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::types::Json;
use sqlx::{Postgres, Row, SqlStr};
use updraft_core::id::{AttemptToken, DagId, InstanceKey, RunId, TaskIx};
use updraft_core::model::XCom;
use updraft_core::storage::{Page, Range, Result, XComEntry, XComQuery, XComStorage};

use crate::PostgresStorage;
use crate::code::unsigned;
use crate::dag_run::{RunFilter, is_storable, read_run, runs_by_key, texts};
use crate::error::{storage_error, unreadable};
use crate::page::{limit_and_offset, total};
use crate::sql::sql;

fn read_xcom(row: &PgRow) -> sqlx::Result<(String, XCom)> {
    let Json(value) = row.try_get("value")?;
    let instance =
        InstanceKey { task: TaskIx(unsigned(row.try_get::<i32, _>("task")?)), map_index: row.try_get("map_index")? };
    let xcom = XCom {
        run: RunId(row.try_get("run")?),
        instance,
        key: row.try_get("key")?,
        value,
        timestamp: row.try_get("timestamp")?,
    };
    Ok((row.try_get("task_id")?, xcom))
}

/// What names one XCom: DAG, run, task, map index and key.
type Name<'q> = (&'q str, &'q str, &'q str, i32, &'q str);

/// The only XCom that is asked for, if the query names it.
fn one_xcom(query: &XComQuery) -> Option<Name<'_>> {
    let task_id = query.task_ids.as_ref().filter(|ids| ids.len() == 1)?.first()?;
    let is_first = query.readable.is_none() && query.page.offset == 0 && query.page.limit > 0;
    let name =
        (query.dag_id.as_deref()?, query.run_id.as_deref()?, task_id.as_str(), query.map_index?, query.key.as_deref()?);
    let is_name = [name.0, name.1, name.2, name.4].into_iter().all(is_storable);
    (is_first && is_name).then_some(name)
}

impl PostgresStorage {
    async fn xcom(&self, name: Name<'_>) -> Result<Page<XComEntry>> {
        let statement = || {
            let statement = sqlx::query(self.inner.schema.sql(sql!("xcom/by_key")));
            statement.bind(name.0).bind(name.1).bind(name.2).bind(name.3).bind(name.4)
        };
        let row = self.inner.readers.optional(statement).await.map_err(storage_error)?;
        let read = |row: PgRow| {
            let (task_id, xcom) = read_xcom(&row).map_err(storage_error)?;
            Ok(XComEntry { run: Arc::new(read_run(&row)?), task_id, xcom })
        };
        let items: Vec<XComEntry> = row.map(read).transpose()?.into_iter().collect();
        Ok(Page { total: items.len() as u64, items })
    }
}

#[async_trait]
impl XComStorage for PostgresStorage {
    async fn xcoms(&self, query: &XComQuery) -> Result<Page<XComEntry>> {
        let schema = &self.inner.schema;
        let mut page = Page { items: Vec::new(), total: 0 };
        if query.key.as_ref().is_some_and(|key| !is_storable(key)) {
            return Ok(page);
        }
        if let Some(name) = one_xcom(query) {
            return self.xcom(name).await;
        }
        let mut tx = self.snapshot().await?;
        let dags = query.dag_id.as_deref().map(|id| BTreeSet::from([DagId::from(id)]));
        let run_ids = texts(query.run_id.clone().map(|id| [id].into()).as_ref());
        let readable = query.readable.as_deref();
        let runs = RunFilter::find(&mut tx, schema, dags.as_ref(), readable, run_ids, Range::default()).await?;
        let Some(runs) = runs else {
            return Ok(page);
        };
        let task_ids = texts(query.task_ids.as_ref());
        let bind = |statement: SqlStr| -> Query<'_, Postgres, PgArguments> {
            runs.bind(sqlx::query(statement)).bind(task_ids.as_deref()).bind(query.map_index).bind(query.key.as_deref())
        };
        let row = bind(schema.sql(sql!("xcom/count"))).fetch_one(&mut *tx).await.map_err(storage_error)?;
        page.total = row.try_get(0).map(total).map_err(storage_error)?;
        let (limit, offset) = limit_and_offset(query.page);
        let rows = bind(schema.sql(sql!("xcom/page")))
            .bind(limit)
            .bind(offset)
            .fetch_all(&mut *tx)
            .await
            .map_err(storage_error)?;
        let found: Vec<_> = rows.iter().map(read_xcom).collect::<sqlx::Result<_>>().map_err(storage_error)?;
        let runs = runs_by_key(&mut tx, schema, found.iter().map(|(_, xcom)| xcom.run.0)).await?;
        tx.commit().await.map_err(storage_error)?;
        for (task_id, xcom) in found {
            let run = runs.get(&xcom.run.0).map(Arc::clone);
            let run = run.ok_or_else(|| unreadable(format!("the run {} has XComs but no row", xcom.run)))?;
            page.items.push(XComEntry { run, task_id, xcom });
        }
        Ok(page)
    }

    async fn set_xcom(&self, now: DateTime<Utc>, token: AttemptToken, key: &str, value: Value) -> Result<()> {
        let statement = sqlx::query(self.inner.schema.sql(sql!("xcom/set")));
        self.write_of_attempt(statement.bind(token.0).bind(key).bind(value.to_string()).bind(now)).await
    }
}
