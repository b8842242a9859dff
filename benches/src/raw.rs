//! Raw tokio on a graph: each task is spawned when its upstreams have reported through a channel. No state is kept, nothing
//! is checked: the floor that an engine can be held against.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use updraft_core::clock::Clock;

use crate::graph::Graph;

/// Walks the graph; returns how long it took and, if asked, when each task ran.
///
/// # Panics
/// If not every task ran once: then nothing would have been measured.
pub async fn walk(graph: Arc<Graph>, clock: Arc<dyn Clock>, stamp: bool) -> (Duration, Vec<Duration>) {
    let downstream = graph.downstream();
    let mut missing: Vec<_> = graph.upstream.iter().map(Vec::len).collect();
    let mut ran = vec![0_u8; graph.len()];
    let mut stamps = Vec::with_capacity(if stamp { graph.len() } else { 0 });
    let (report, mut reports) = mpsc::unbounded_channel();
    let start = clock.monotonic();
    let spawn = |task: u32| {
        let report = report.clone();
        let clock = stamp.then(|| Arc::clone(&clock));
        tokio::spawn(async move {
            // The receiver outlives the walk.
            report.send((task, clock.map(|clock| clock.monotonic()))).ok();
        });
    };
    for (task, missing) in (0u32..).zip(&missing) {
        if *missing == 0 {
            spawn(task);
        }
    }
    for _ in 0..graph.len() {
        let Some((task, at)) = reports.recv().await else { break };
        ran[task as usize] += 1;
        stamps.extend(at);
        for &down in &downstream[task as usize] {
            missing[down as usize] -= 1;
            if missing[down as usize] == 0 {
                spawn(down);
            }
        }
    }
    let time = clock.monotonic() - start;
    assert!(ran.iter().all(|&times| times == 1), "every task runs once");
    (time, stamps)
}
