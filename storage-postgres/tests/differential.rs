//! The PostgreSQL storage answers as the embedded one does, whatever is asked of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
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
    let clock = SimulatedClock::new("2040-01-01T00:00:00Z".parse().expect("a date"));
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

/// Numbers the keys of runs as they first appear: a run that could not be created leaves a gap in PostgreSQL's.
fn renumbered(text: &str) -> String {
    const KEY: &str = "RunId(";
    let mut known = BTreeMap::new();
    let mut parts = text.split(KEY);
    let mut renumbered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (key, rest) = part.split_once(')').expect("a key ends");
        let next = known.len() + 1;
        let number = known.entry(key).or_insert(next);
        renumbered += &format!("{KEY}{number}){rest}");
    }
    renumbered
}

/// Puts `now` in place of times that are the storage's own: those after the year that histories play in.
fn without_clock(text: &str) -> String {
    let is_of_time = |char: char| char.is_ascii_digit() || "-:.TZ".contains(char);
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_of_time) {
        let (before, from) = rest.split_at(at);
        let (word, after) = from.split_at(from.find(|char| !is_of_time(char)).unwrap_or(from.len()));
        let time = word.parse::<DateTime<Utc>>().ok();
        let is_own = time.is_some_and(|time| time > "2026-02-01T00:00:00Z".parse::<DateTime<Utc>>().expect("a date"));
        result += before;
        result += if is_own { "now" } else { word };
        rest = after;
    }
    result + rest
}

async fn history(trial: &impl Trial, seed: u64) -> String {
    without_clock(&renumbered(&random_history(trial, seed, 400).await))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_are_the_same_on_both() {
    for seed in seeds() {
        let memory = history(&in_memory(), seed).await;
        let postgres = history(&support::open().await, seed).await;
        assert!(memory == postgres, "seed {seed} parts at {}", parting(&memory, &postgres));
    }
}
