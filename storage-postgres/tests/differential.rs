//! The PostgreSQL storage answers as the embedded one does, whatever is asked of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use updraft_core::clock::SimulatedClock;
use updraft_core::storage::Storage;
use updraft_core::storage::conformance::{Trial, random_history};
use updraft_storage_memory::MemoryStorage;

mod support;

struct InMemory {
    storage: Arc<MemoryStorage>,
    clock: SimulatedClock,
}

#[async_trait]
impl Trial for InMemory {
    fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage) as _
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

fn in_memory() -> InMemory {
    let clock = SimulatedClock::new("2026-01-01T00:00:00Z".parse().expect("a date"));
    InMemory { storage: Arc::new(MemoryStorage::new(Arc::new(clock.clone()))), clock }
}

/// `UPDRAFT_SEEDS=100..200` tries others.
fn seeds() -> std::ops::Range<u64> {
    let Ok(given) = std::env::var("UPDRAFT_SEEDS") else { return 0..12 };
    let bounds = given.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    bounds.unwrap_or_else(|| panic!("UPDRAFT_SEEDS takes FROM..TO, not '{given}'"))
}

/// Where two texts part, with some lines before.
fn parting(one: &str, other: &str) -> String {
    let lines: Vec<_> = one.lines().zip(other.lines()).collect();
    let at = lines.iter().position(|(one, other)| one != other).unwrap_or(lines.len());
    let before: Vec<_> = lines[at.saturating_sub(3)..at].iter().map(|(one, _)| format!("  both: {one}\n")).collect();
    let line = |text: &str| text.lines().nth(at).unwrap_or("(nothing more)").to_owned();
    format!("line {}\n{}  memory: {}\n  PostgreSQL: {}", at + 1, before.concat(), line(one), line(other))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_are_the_same_on_both() {
    for seed in seeds() {
        let memory = random_history(&in_memory(), seed, 400).await;
        let postgres = random_history(&support::open().await, seed, 400).await;
        assert!(memory == postgres, "seed {seed} parts at {}", parting(&memory, &postgres));
    }
}
