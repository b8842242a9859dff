//! Import errors.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use updraft_core::model::ImportError;
use updraft_core::storage::{
    ImportErrorOrder, ImportErrorStorage, OrderBy, Page, PageRequest, Result, StorageError, Subject,
};

use crate::PostgresStorage;
use crate::error::storage_error;
use crate::page::{Orders, limit_and_offset, order, read_page};
use crate::sql::sql;

/// Orders of `import_error/list`.
pub(crate) const ORDERS: &Orders<ImportErrorOrder> = &[
    (ImportErrorOrder::Id, ["", "id DESC,"]),
    (ImportErrorOrder::Timestamp, ["\"timestamp\",", "\"timestamp\" DESC,"]),
    (ImportErrorOrder::Filename, ["filename,", "filename DESC,"]),
    (ImportErrorOrder::StackTrace, ["stack_trace,", "stack_trace DESC,"]),
];

fn read(row: &PgRow) -> sqlx::Result<ImportError> {
    Ok(ImportError {
        id: row.try_get("id")?,
        timestamp: row.try_get("timestamp")?,
        filename: row.try_get("filename")?,
        stack_trace: row.try_get("stack_trace")?,
    })
}

#[async_trait]
impl ImportErrorStorage for PostgresStorage {
    async fn set_import_error(&self, now: DateTime<Utc>, filename: &str, stack_trace: Option<&str>) -> Result<()> {
        let schema = &self.inner.schema;
        let query = match stack_trace {
            Some(text) => sqlx::query(schema.sql(sql!("import_error/set"))).bind(filename).bind(text).bind(now),
            None => sqlx::query(schema.sql(sql!("import_error/delete"))).bind(filename),
        };
        query.execute(&self.inner.clients).await.map_err(storage_error)?;
        Ok(())
    }

    async fn import_error(&self, id: i64) -> Result<ImportError> {
        let row = sqlx::query(self.inner.schema.sql(sql!("import_error/by_id")))
            .bind(id)
            .fetch_optional(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        read(&row.ok_or(StorageError::NotFound(Subject::ImportError(id)))?).map_err(storage_error)
    }

    async fn import_errors(
        &self,
        order_by: Option<OrderBy<ImportErrorOrder>>,
        page: PageRequest,
    ) -> Result<Page<ImportError>> {
        let (limit, offset) = limit_and_offset(page);
        let rows = sqlx::query(self.inner.schema.ordered(sql!("import_error/list"), order(ORDERS, order_by)))
            .bind(limit)
            .bind(offset)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        read_page(&rows, read)
    }
}
