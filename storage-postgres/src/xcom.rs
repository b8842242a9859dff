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
use crate::dag_run::{RunFilter, is_storable, runs_by_key, texts};
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

#[async_trait]
impl XComStorage for PostgresStorage {
    async fn xcoms(&self, query: &XComQuery) -> Result<Page<XComEntry>> {
        let schema = &self.inner.schema;
        let mut page = Page { items: Vec::new(), total: 0 };
        if query.key.as_ref().is_some_and(|key| !is_storable(key)) {
            return Ok(page);
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
