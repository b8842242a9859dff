//! The embedded storage has the properties of every storage.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use updraft_core::clock::SimulatedClock;
use updraft_core::storage::Storage;
use updraft_core::storage::conformance::{Trial, random_history};
use updraft_storage_memory::MemoryStorage;

struct Embedded {
    storage: Arc<MemoryStorage>,
    clock: SimulatedClock,
}

#[async_trait]
impl Trial for Embedded {
    fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage) as _
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

async fn open() -> Embedded {
    let clock = SimulatedClock::new("2026-01-01T00:00:00Z".parse().expect("a date"));
    Embedded { storage: Arc::new(MemoryStorage::new(Arc::new(clock.clone()))), clock }
}

updraft_core::storage_conformance!(open);

#[tokio::test]
async fn a_history_is_deterministic() {
    for seed in 0..20 {
        let first = random_history(&open().await, seed, 400).await;
        let second = random_history(&open().await, seed, 400).await;
        assert!(first == second, "seed {seed}");
        assert!(first.len() > 10_000, "the history says something");
    }
}
