//! Pools.

use std::collections::BTreeMap;

use async_trait::async_trait;
use updraft_core::model::{AuditEntry, DEFAULT_POOL, Pool, PoolUsage, TaskState};
use updraft_core::storage::{
    OrderBy, Page, PageRequest, PoolOrder, PoolStorage, PoolUpdate, Result, StorageError, Subject,
};

use crate::MemoryStorage;
use crate::dag::TaskPlace;
use crate::instance::Instance;
use crate::list::{NoneLast, page, sort};
use crate::state::{Serial, State};

/// A name that tasks use, and the pool of that name if there is one.
#[derive(Debug)]
struct Entry {
    name: String,
    pool: Option<Pool>,
    /// Slots of scheduled instances.
    scheduled: u64,
}

#[derive(Debug)]
pub(crate) struct Pools {
    entries: Vec<Entry>,
    places: BTreeMap<String, u32>,
    serial: Serial,
}

impl Pools {
    pub(crate) fn new() -> Self {
        let mut pools = Self { entries: Vec::new(), places: BTreeMap::new(), serial: Serial::default() };
        let default = Pool {
            id: pools.serial.next(),
            name: DEFAULT_POOL.into(),
            slots: 128,
            description: Some("Default pool".into()),
            include_deferred: false,
        };
        pools.set(default);
        pools
    }

    /// The place of a name; places never change.
    pub(crate) fn place(&mut self, name: &str) -> u32 {
        if let Some(&place) = self.places.get(name) {
            return place;
        }
        let place = u32::try_from(self.entries.len()).expect("fewer than 2^32 pools");
        self.entries.push(Entry { name: name.into(), pool: None, scheduled: 0 });
        self.places.insert(name.into(), place);
        place
    }

    /// Slots of the pool at a place: none if it does not exist, `Pool::UNBOUNDED` if it has no bound.
    pub(crate) fn slots(&self, place: u32) -> i32 {
        self.entries.get(place as usize).and_then(|entry| entry.pool.as_ref()).map_or(0, |pool| pool.slots)
    }

    /// The pools that exist.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Pool> {
        self.entries.iter().filter_map(|entry| entry.pool.as_ref())
    }

    pub(crate) fn name(&self, place: u32) -> &str {
        self.entries.get(place as usize).map_or("", |entry| &entry.name)
    }

    /// Changes the state of an instance, which may wait for slots before or after.
    pub(crate) fn set_state(&mut self, instance: &mut Instance, place: TaskPlace, state: TaskState) {
        let was = std::mem::replace(&mut instance.state, state);
        if (was == TaskState::Scheduled) != (state == TaskState::Scheduled)
            && let Some(entry) = self.entries.get_mut(place.pool as usize)
        {
            let slots = u64::from(place.pool_slots);
            if state == TaskState::Scheduled {
                entry.scheduled += slots;
            } else {
                entry.scheduled -= slots;
            }
        }
    }

    fn find(&self, name: &str) -> Option<(usize, &Entry, &Pool)> {
        let place = *self.places.get(name)? as usize;
        let entry = self.entries.get(place)?;
        Some((place, entry, entry.pool.as_ref()?))
    }

    fn set(&mut self, pool: Pool) {
        let place = self.place(&pool.name) as usize;
        self.entries[place].pool = Some(pool);
    }
}

impl State {
    fn pool_usage(&self, name: &str) -> Result<PoolUsage> {
        let (place, entry, pool) =
            self.pools.find(name).ok_or_else(|| StorageError::NotFound(Subject::Pool(name.into())))?;
        let slots = self.attempts.slots().of_pool(place);
        Ok(PoolUsage {
            pool: pool.clone(),
            running: slots.running,
            queued: slots.queued,
            scheduled: entry.scheduled,
            deferred: 0,
        })
    }

    fn list_pools(&self, order_by: Option<OrderBy<PoolOrder>>, request: PageRequest) -> Page<PoolUsage> {
        let mut pools: Vec<&Pool> = self.pools.all().collect();
        sort(&mut pools, false, |pool| pool.id);
        if let Some(order) = order_by {
            let down = order.descending;
            match order.field {
                PoolOrder::Name => sort(&mut pools, down, |pool| pool.name.clone()),
                PoolOrder::Slots => sort(&mut pools, down, |pool| pool.slots),
                PoolOrder::Description => sort(&mut pools, down, |pool| NoneLast(pool.description.clone())),
                PoolOrder::IncludeDeferred => sort(&mut pools, down, |pool| pool.include_deferred),
                _ => sort(&mut pools, down, |pool| pool.id),
            }
        }
        page(pools.into_iter().filter_map(|pool| self.pool_usage(&pool.name).ok()), request)
    }

    fn update_pool(&mut self, name: &str, update: PoolUpdate) -> Result<PoolUsage> {
        let mut pool = self.pool_usage(name)?.pool;
        if let Some(new) = update.name.filter(|new| new != name) {
            if name == DEFAULT_POOL {
                return Err(StorageError::Conflict(
                    Subject::Pool(name.into()),
                    "the default pool keeps its name".into(),
                ));
            }
            if self.pools.find(&new).is_some() {
                return Err(StorageError::AlreadyExists(Subject::Pool(new)));
            }
            let old = self.pools.place(name) as usize;
            self.pools.entries[old].pool = None;
            pool.name = new;
        }
        pool.slots = update.slots.unwrap_or(pool.slots);
        pool.description = update.description.unwrap_or(pool.description);
        pool.include_deferred = update.include_deferred.unwrap_or(pool.include_deferred);
        let name = pool.name.clone();
        self.pools.set(pool);
        self.pool_usage(&name)
    }
}

#[async_trait]
impl PoolStorage for MemoryStorage {
    async fn pool(&self, name: &str) -> Result<PoolUsage> {
        self.lock().pool_usage(name)
    }

    async fn pools(&self, order_by: Option<OrderBy<PoolOrder>>, page: PageRequest) -> Result<Page<PoolUsage>> {
        Ok(self.lock().list_pools(order_by, page))
    }

    async fn create_pool(&self, mut pool: Pool, audit: Option<AuditEntry>) -> Result<PoolUsage> {
        let usage = {
            let mut state = self.lock();
            if state.pools.find(&pool.name).is_some() {
                return Err(StorageError::AlreadyExists(Subject::Pool(pool.name)));
            }
            pool.id = state.pools.serial.next();
            let name = pool.name.clone();
            state.pools.set(pool);
            state.audit(self.clock.now(), audit);
            state.pool_usage(&name)?
        };
        self.announce();
        Ok(usage)
    }

    async fn update_pool(&self, name: &str, update: PoolUpdate, audit: Option<AuditEntry>) -> Result<PoolUsage> {
        let usage = {
            let mut state = self.lock();
            let usage = state.update_pool(name, update)?;
            state.audit(self.clock.now(), audit);
            usage
        };
        self.announce();
        Ok(usage)
    }

    async fn delete_pool(&self, name: &str, audit: Option<AuditEntry>) -> Result<()> {
        let mut state = self.lock();
        let place = state.pools.find(name).map(|(place, ..)| place);
        let place = place.ok_or_else(|| StorageError::NotFound(Subject::Pool(name.into())))?;
        if name == DEFAULT_POOL {
            return Err(StorageError::Conflict(Subject::Pool(name.into()), "the default pool always exists".into()));
        }
        state.pools.entries[place].pool = None;
        state.audit(self.clock.now(), audit);
        Ok(())
    }
}
