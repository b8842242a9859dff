//! Raw tokio on a graph: each task is spawned when its upstreams have reported through a channel. No state is kept, nothing
//! is checked: the floor that an engine can be held against.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use updraft_core::clock::Clock;

use crate::graph::Graph;

/// Walks the graph; returns how long it took.
pub async fn walk(graph: &Graph, clock: Arc<dyn Clock>) -> Duration {
    let downstream = graph.downstream();
    let mut missing: Vec<_> = graph.upstream.iter().map(Vec::len).collect();
    let (report, mut reports) = mpsc::unbounded_channel();
    let start = clock.monotonic();
    let spawn = |task: u32| {
        let report = report.clone();
        tokio::spawn(async move {
            // The receiver outlives the walk.
            report.send(task).ok();
        });
    };
    for (task, missing) in (0u32..).zip(&missing) {
        if *missing == 0 {
            spawn(task);
        }
    }
    for _ in 0..graph.len() {
        let Some(task) = reports.recv().await else { break };
        for &down in &downstream[task as usize] {
            missing[down as usize] -= 1;
            if missing[down as usize] == 0 {
                spawn(down);
            }
        }
    }
    clock.monotonic() - start
}
