use async_trait::async_trait;

use super::{OrderBy, Page, PageRequest, Result};
use crate::model::{AuditEntry, Pool, PoolUsage};

/// By what pools are listed; the order of their creation by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolOrder {
    /// The order of creation.
    Id,
    /// The name.
    Name,
    /// The number of slots.
    Slots,
    /// The description.
    Description,
    /// Whether deferred instances count.
    IncludeDeferred,
}

/// What changes in a pool; `None` leaves a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolUpdate {
    /// New name.
    pub name: Option<String>,
    /// New number of slots.
    pub slots: Option<i32>,
    /// New description, or none.
    pub description: Option<Option<String>>,
    /// Whether deferred instances count.
    pub include_deferred: Option<bool>,
}

/// Pools. `default_pool` always exists; new storages give it 128 slots.
#[async_trait]
pub trait PoolStorage {
    /// A pool and what is taken of it.
    ///
    /// # Errors
    /// `NotFound`.
    async fn pool(&self, name: &str) -> Result<PoolUsage>;

    /// A page of pools.
    async fn pools(&self, order_by: Option<OrderBy<PoolOrder>>, page: PageRequest) -> Result<Page<PoolUsage>>;

    /// Makes a pool; its `id` is ignored.
    ///
    /// # Errors
    /// `AlreadyExists`.
    async fn create_pool(&self, pool: Pool, audit: Option<AuditEntry>) -> Result<PoolUsage>;

    /// Changes a pool. A smaller pool ends nothing; nothing new starts until there is room.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` for the new name; `Conflict` for renaming the default pool.
    async fn update_pool(&self, name: &str, update: PoolUpdate, audit: Option<AuditEntry>) -> Result<PoolUsage>;

    /// Removes a pool. Tasks that name it wait until it exists again.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for the default pool.
    async fn delete_pool(&self, name: &str, audit: Option<AuditEntry>) -> Result<()>;
}
