//! A pool of slots.

/// The pool of tasks that name none. It always exists.
pub const DEFAULT_POOL: &str = "default_pool";

/// A pool of slots that tasks of all DAGs share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The storage's key, in the order of creation.
    pub id: i64,
    /// Unique among pools.
    pub name: String,
    /// How many slots; [`UNBOUNDED`](Self::UNBOUNDED) for any number. A pool with fewer than none has no room.
    pub slots: i32,
    /// For people.
    pub description: Option<String>,
    /// Whether deferred instances keep their slots.
    pub include_deferred: bool,
}

impl Pool {
    /// As many slots as anybody wants.
    pub const UNBOUNDED: i32 = -1;
}

/// A pool and the slots that are taken now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUsage {
    /// The pool.
    pub pool: Pool,
    /// Slots of running attempts.
    pub running: u64,
    /// Slots of queued attempts.
    pub queued: u64,
    /// Slots that scheduled instances wait for.
    pub scheduled: u64,
    /// Slots of deferred instances.
    pub deferred: u64,
}

impl PoolUsage {
    /// Slots in use.
    pub fn occupied(&self) -> u64 {
        self.running + self.queued + if self.pool.include_deferred { self.deferred } else { 0 }
    }

    /// Slots that are left; negative after a pool was made smaller, `None` if it has no bound.
    pub fn open(&self) -> Option<i64> {
        let occupied = i64::try_from(self.occupied()).unwrap_or(i64::MAX);
        (self.pool.slots != Pool::UNBOUNDED).then(|| i64::from(self.pool.slots) - occupied)
    }
}
