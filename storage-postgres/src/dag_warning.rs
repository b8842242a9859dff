//! Warnings about DAGs.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgRow;
use updraft_core::model::DagWarning;
use updraft_core::storage::{DagWarningOrder, DagWarningQuery, DagWarningStorage, Page, Result};

use crate::PostgresStorage;
use crate::dag::texts;
use crate::error::storage_error;
use crate::page::{Orders, limit_and_offset, order, read_page};
use crate::sql::sql;

/// Orders of `dag_warning/list`.
pub(crate) const ORDERS: &Orders<DagWarningOrder> = &[
    (DagWarningOrder::DagId, ["dag_id,", "dag_id DESC,"]),
    (DagWarningOrder::Timestamp, ["", "last_parsed_time DESC,"]),
];

fn read(row: &PgRow) -> sqlx::Result<DagWarning> {
    Ok(DagWarning {
        dag_id: row.try_get::<String, _>("dag_id")?.into(),
        missing_pools: row.try_get("pools")?,
        timestamp: row.try_get("last_parsed_time")?,
    })
}

#[async_trait]
impl DagWarningStorage for PostgresStorage {
    async fn dag_warnings(&self, query: &DagWarningQuery) -> Result<Page<DagWarning>> {
        let (limit, offset) = limit_and_offset(query.page);
        let rows = sqlx::query(self.inner.schema.ordered(sql!("dag_warning/list"), order(ORDERS, query.order_by)))
            .bind(&query.dag_id)
            .bind(query.readable.as_deref().map(texts))
            .bind(limit)
            .bind(offset)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        read_page(&rows, read)
    }
}
