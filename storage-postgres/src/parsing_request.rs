//! Requests to read files of DAGs again.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_core::storage::{ParsingRequestStorage, Result};

use crate::PostgresStorage;
use crate::error::storage_error;
use crate::sql::sql;

#[async_trait]
impl ParsingRequestStorage for PostgresStorage {
    async fn request_parsing(&self, now: DateTime<Utc>, fileloc: &str) -> Result<bool> {
        let done = sqlx::query(self.inner.schema.sql(sql!("parsing_request/request")))
            .bind(fileloc)
            .bind(now)
            .execute(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        Ok(done.rows_affected() == 1)
    }

    async fn parsing_requests(&self) -> Result<Vec<String>> {
        sqlx::query_scalar(self.inner.schema.sql(sql!("parsing_request/list")))
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)
    }

    async fn take_parsing_requests(&self, filelocs: &[String]) -> Result<Vec<String>> {
        let mut taken: Vec<String> = sqlx::query_scalar(self.inner.schema.sql(sql!("parsing_request/take")))
            .bind(filelocs)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        taken.sort();
        Ok(taken)
    }
}
