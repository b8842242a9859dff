//! What time and data make of DAGs: each scenario of `tests/data/time`, recorded from Apache Airflow 2.11.2, over the REST API.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "time/accepted.rs"]
mod accepted;
#[path = "time/difference.rs"]
mod difference;
#[path = "time/look.rs"]
mod look;
#[path = "time/player.rs"]
mod player;
#[path = "time/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/time"))
}

macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        const NAMES: &[&str] = &[$(stringify!($name)),+];

        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                player::play(&folder().join(stringify!($name))).await;
            }
        )+
    };
}

scenarios![
    change,
    continuous,
    creation_limit,
    cron,
    datasets,
    dates,
    deltas,
    fail_stop,
    failures,
    latest,
    manual,
    once,
    past,
    pause,
    start_limit,
    task_limits,
    timeout,
    triggers,
];

/// Recorded, and not played yet: what they need is not built.
const UNPLAYED: [&str; 2] = [
    // There is no backfill.
    "backfill", // A run that is cleared keeps its version of the DAG.
    "clear",
];

#[test]
fn all_scenarios_are_played() {
    let named: BTreeSet<_> = NAMES.iter().chain(&UNPLAYED).map(|name| (*name).to_owned()).collect();
    let folders = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let there = folders.filter(|path| path.join("scenario.json").exists());
    let there: BTreeSet<_> = there.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(named, there);
}
