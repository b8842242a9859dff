//! Pools.

use super::{Actor, Result, Service, ServiceError};
use crate::model::{DEFAULT_POOL, Pool, PoolUsage};
use crate::storage::{OrderBy, Page, PageRequest, PoolOrder, PoolUpdate, StorageError, Subject};

/// Longest name of a pool.
const MAX_NAME: usize = 256;

/// A pool that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPool {
    /// Its name.
    pub name: String,
    /// How many slots; −1 for any number.
    pub slots: i64,
    /// For people.
    pub description: Option<String>,
    /// Whether deferred instances keep their slots.
    pub include_deferred: bool,
}

/// What a client changes in a pool; `None` leaves a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolChange {
    /// New name.
    pub name: Option<String>,
    /// New number of slots.
    pub slots: Option<i64>,
    /// New description, or none.
    pub description: Option<Option<String>>,
    /// Whether deferred instances keep their slots.
    pub include_deferred: Option<bool>,
}

impl Service {
    /// A pool and what is taken of it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn pool(&self, name: &str) -> Result<PoolUsage> {
        Ok(self.storage.pool(name).await?)
    }

    /// A page of pools.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn pools(&self, order_by: Option<OrderBy<PoolOrder>>, page: PageRequest) -> Result<Page<PoolUsage>> {
        Ok(self.storage.pools(order_by, page).await?)
    }

    /// Makes a pool.
    ///
    /// # Errors
    /// `Invalid` for a name that is too long or a number of slots that is out of range; `AlreadyExists`.
    pub async fn create_pool(&self, pool: NewPool, actor: &Actor) -> Result<PoolUsage> {
        let pool = Pool {
            id: 0,
            name: check_name(pool.name)?,
            slots: check_slots(pool.slots)?,
            description: pool.description,
            include_deferred: pool.include_deferred,
        };
        Ok(self.storage.create_pool(pool, Some(actor.audit("post_pool"))).await?)
    }

    /// Makes a pool, or gives the one of this name its slots and description; whether deferred instances keep their slots is
    /// settled when it is made.
    ///
    /// # Errors
    /// `Invalid` as when a pool is made.
    pub async fn put_pool(&self, pool: NewPool, actor: &Actor) -> Result<PoolUsage> {
        let name = check_name(pool.name.clone())?;
        let update = PoolUpdate {
            slots: Some(check_slots(pool.slots)?),
            description: Some(pool.description.clone()),
            ..PoolUpdate::default()
        };
        loop {
            match self.storage.update_pool(&name, update.clone(), Some(actor.audit("patch_pool"))).await {
                Err(StorageError::NotFound(_)) => {}
                updated => return Ok(updated?),
            }
            match self.create_pool(pool.clone(), actor).await {
                // Somebody else made it at the same time.
                Err(ServiceError::AlreadyExists(_)) => {}
                created => return created,
            }
        }
    }

    /// Changes a pool. A smaller pool ends nothing; nothing new starts until there is room.
    ///
    /// # Errors
    /// `Conflict` for renaming the default pool; `NotFound`; `Invalid` as when a pool is made; `AlreadyExists` for the
    /// new name.
    pub async fn update_pool(&self, name: &str, change: PoolChange, actor: &Actor) -> Result<PoolUsage> {
        if name == DEFAULT_POOL && change.name.as_deref().is_some_and(|new| new != name) {
            return Err(ServiceError::Conflict(Subject::Pool(name.into()), "the default pool keeps its name".into()));
        }
        let update = PoolUpdate {
            name: change.name.map(check_name).transpose()?,
            slots: change.slots.map(check_slots).transpose()?,
            description: change.description,
            include_deferred: change.include_deferred,
        };
        Ok(self.storage.update_pool(name, update, Some(actor.audit("patch_pool"))).await?)
    }

    /// Removes a pool. Tasks that name it wait until it exists again.
    ///
    /// # Errors
    /// `Conflict` for the default pool; `NotFound`.
    pub async fn delete_pool(&self, name: &str, actor: &Actor) -> Result<()> {
        if name == DEFAULT_POOL {
            return Err(ServiceError::Conflict(Subject::Pool(name.into()), "the default pool always exists".into()));
        }
        Ok(self.storage.delete_pool(name, Some(actor.audit("delete_pool"))).await?)
    }
}

fn check_name(name: String) -> Result<String> {
    if name.chars().count() > MAX_NAME {
        return Err(ServiceError::invalid("name", format!("Longer than maximum length {MAX_NAME}.")));
    }
    Ok(name)
}

fn check_slots(slots: i64) -> Result<i32> {
    i32::try_from(slots).map_err(|_| ServiceError::invalid("slots", "Number is out of range."))
}
