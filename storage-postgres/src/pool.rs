//! Pools.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row};
use updraft_core::model::{AuditEntry, DEFAULT_POOL, Pool, PoolUsage};
use updraft_core::storage::{
    OrderBy, Page, PageRequest, PoolOrder, PoolStorage, PoolUpdate, Result, StorageError, Subject,
};

use crate::PostgresStorage;
use crate::audit::write_audit;
use crate::error::{is_duplicate, storage_error};
use crate::hint::News;
use crate::page::{Orders, limit_and_offset, order, read_page, total};
use crate::sql::sql;

/// Orders of `pool/list`.
pub(crate) const ORDERS: &Orders<PoolOrder> = &[
    (PoolOrder::Id, ["", "id DESC,"]),
    (PoolOrder::Name, ["name,", "name DESC,"]),
    (PoolOrder::Slots, ["slots,", "slots DESC,"]),
    (PoolOrder::Description, ["description,", "description DESC,"]),
    (PoolOrder::IncludeDeferred, ["include_deferred,", "include_deferred DESC,"]),
];

fn read_pool(row: &PgRow) -> sqlx::Result<Pool> {
    Ok(Pool {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        slots: row.try_get("slots")?,
        description: row.try_get("description")?,
        include_deferred: row.try_get("include_deferred")?,
    })
}

fn read_usage(row: &PgRow) -> sqlx::Result<PoolUsage> {
    Ok(PoolUsage {
        pool: read_pool(row)?,
        running: total(row.try_get("running")?),
        queued: total(row.try_get("queued")?),
        scheduled: total(row.try_get("scheduled")?),
        deferred: 0,
    })
}

fn not_found(name: &str) -> StorageError {
    StorageError::NotFound(Subject::Pool(name.into()))
}

impl PostgresStorage {
    async fn pool_usage(&self, executor: impl PgExecutor<'_>, name: &str) -> Result<PoolUsage> {
        let query = sqlx::query(self.inner.schema.sql(sql!("pool/by_name"))).bind(name);
        let row = query.fetch_optional(executor).await.map_err(storage_error)?;
        read_usage(&row.ok_or_else(|| not_found(name))?).map_err(storage_error)
    }
}

#[async_trait]
impl PoolStorage for PostgresStorage {
    async fn pool(&self, name: &str) -> Result<PoolUsage> {
        let statement = || sqlx::query(self.inner.schema.sql(sql!("pool/by_name"))).bind(name);
        let row = self.inner.readers.optional(statement).await.map_err(storage_error)?;
        read_usage(&row.ok_or_else(|| not_found(name))?).map_err(storage_error)
    }

    async fn pools(&self, order_by: Option<OrderBy<PoolOrder>>, page: PageRequest) -> Result<Page<PoolUsage>> {
        let (limit, offset) = limit_and_offset(page);
        let statement = self.inner.schema.ordered(sql!("pool/list"), order(ORDERS, order_by));
        let query = sqlx::query(statement).bind(limit).bind(offset);
        let rows = query.fetch_all(&self.inner.clients).await.map_err(storage_error)?;
        read_page(&rows, read_usage)
    }

    async fn create_pool(&self, pool: Pool, audit: Option<AuditEntry>) -> Result<PoolUsage> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        let inserted = sqlx::query(schema.sql(sql!("pool/insert")))
            .bind(&pool.name)
            .bind(pool.slots)
            .bind(&pool.description)
            .bind(pool.include_deferred)
            .execute(&mut *tx)
            .await
            .map_err(storage_error)?;
        if inserted.rows_affected() == 0 {
            return Err(StorageError::AlreadyExists(Subject::Pool(pool.name)));
        }
        write_audit(&mut tx, schema, None, audit).await?;
        let usage = self.pool_usage(&mut *tx, &pool.name).await?;
        tx.commit().await.map_err(storage_error)?;
        self.announce(News::LIMITS);
        Ok(usage)
    }

    async fn update_pool(&self, name: &str, update: PoolUpdate, audit: Option<AuditEntry>) -> Result<PoolUsage> {
        let schema = &self.inner.schema;
        let new_name = update.name.filter(|new| new != name);
        let mut tx = self.begin().await?;
        // One row only: whoever locks several has an order that renaming would disturb.
        let row = sqlx::query(schema.sql(sql!("pool/lock")))
            .bind(name)
            .fetch_optional(&mut *tx)
            .await
            .map_err(storage_error)?;
        let mut pool = read_pool(&row.ok_or_else(|| not_found(name))?).map_err(storage_error)?;
        if let Some(new) = new_name {
            if name == DEFAULT_POOL {
                let reason = "the default pool keeps its name".into();
                return Err(StorageError::Conflict(Subject::Pool(name.into()), reason));
            }
            let is_taken: bool = sqlx::query_scalar(schema.sql(sql!("pool/exists")))
                .bind(&new)
                .fetch_one(&mut *tx)
                .await
                .map_err(storage_error)?;
            if is_taken {
                return Err(StorageError::AlreadyExists(Subject::Pool(new)));
            }
            pool.name = new;
        }
        pool.slots = update.slots.unwrap_or(pool.slots);
        pool.description = update.description.unwrap_or(pool.description);
        pool.include_deferred = update.include_deferred.unwrap_or(pool.include_deferred);
        let updated = sqlx::query(schema.sql(sql!("pool/update")))
            .bind(pool.id)
            .bind(&pool.name)
            .bind(pool.slots)
            .bind(&pool.description)
            .bind(pool.include_deferred)
            .execute(&mut *tx)
            .await;
        match updated {
            Ok(_) => {}
            Err(error) if is_duplicate(&error) => return Err(StorageError::AlreadyExists(Subject::Pool(pool.name))),
            Err(error) => return Err(storage_error(error)),
        }
        write_audit(&mut tx, schema, None, audit).await?;
        let usage = self.pool_usage(&mut *tx, &pool.name).await?;
        tx.commit().await.map_err(storage_error)?;
        self.announce(News::LIMITS);
        Ok(usage)
    }

    async fn delete_pool(&self, name: &str, audit: Option<AuditEntry>) -> Result<()> {
        if name == DEFAULT_POOL {
            let reason = "the default pool always exists".into();
            return Err(StorageError::Conflict(Subject::Pool(name.into()), reason));
        }
        self.delete_named(sql!("pool/delete"), name, Subject::Pool, audit).await?;
        self.announce(News::LIMITS);
        Ok(())
    }
}
