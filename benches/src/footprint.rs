//! `updraft-bench footprint`: memory of a million task instances that wait.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use updraft_core::clock::Clock;
use updraft_core::engine::{Plan, RunMachine};
use updraft_core::id::{DagVersionId, InstanceKey, TaskIx};
use updraft_core::model::{DagRun, DagVersion, TaskState};
use updraft_core::storage::{InstanceSnapshot, RunQuery};

use crate::engine::{Engine, Workload};
use crate::graph::Graph;
use crate::report::{line, resident_bytes};

const TASKS: u32 = 100_000;
const RUNS: usize = 10;
const INSTANCES: usize = TASKS as usize * RUNS;

fn bytes_since(before: u64) -> f64 {
    let grown = resident_bytes().saturating_sub(before);
    (grown as f64 / INSTANCES as f64 * 10.0).round() / 10.0
}

fn report(what: &str, bytes: f64) {
    line("footprint", what, INSTANCES, &[("bytes_an_instance", json!(bytes))]);
}

/// Prints bytes of resident memory for each of a million instances.
///
/// # Panics
/// If the engine does not come up.
pub async fn run(clock: Arc<dyn Clock>) {
    let wait = |time| clock.sleep(time);
    // Never admitted: the first task waits for a pool without slots, the others for the first.
    let chain = Workload::new("chain", &Graph::chain(TASKS), RUNS, false, Arc::clone(&clock));
    let flat = Workload::new("flat", &Graph::flat(TASKS), RUNS, false, Arc::clone(&clock));

    for (workload, what) in [(&chain, "waiting for upstreams"), (&flat, "ready, without room")] {
        let idle = Workload::new("idle", &Graph::chain(1), 1, false, Arc::clone(&clock));
        // Paused at first: what the storage takes is seen alone.
        let mut engine = Engine::start(Arc::clone(&clock), &[&idle, workload], 0).await;
        wait(Duration::from_millis(1500)).await;
        let before = resident_bytes();
        engine.pause(1, true).await;
        engine.create(1, RUNS).await;
        let storage = bytes_since(before);
        report(&format!("storage: {what}"), storage);
        engine.pause(1, false).await;
        while !engine.all_run().await {
            wait(Duration::from_millis(10)).await;
        }
        wait(Duration::from_millis(2500)).await;
        let all = bytes_since(before);
        report(&format!("scheduler and machines: {what}"), ((all - storage) * 10.0).round() / 10.0);
        report(&format!("all: {what}"), all);
        if what == "waiting for upstreams" {
            let run =
                engine.storage().dag_runs(&RunQuery::default()).await.expect("the storage is there").items.remove(0);
            machines(workload, run);
        }
        engine.abort();
        wait(Duration::from_millis(200)).await;
    }
}

/// The state machines alone.
fn machines(workload: &Workload, run: DagRun) {
    let registration = workload.registration();
    let version = DagVersion { id: DagVersionId(1), content_hash: registration.content_hash, dag: registration.dag };
    let plan = Arc::new(Plan::new(&version));
    let run = Arc::new(run);
    let instance = |task| InstanceSnapshot {
        key: InstanceKey::unmapped(TaskIx(task)),
        state: TaskState::None,
        try_number: 0,
        max_tries: 0,
        due_at: None,
    };
    let instances: Vec<_> = (0..TASKS).map(instance).collect();
    let before = resident_bytes();
    let mut decisions = Vec::new();
    let machines: Vec<_> = (0..RUNS)
        .map(|_| {
            let mut machine = RunMachine::new(Arc::clone(&plan), Arc::clone(&run), &instances);
            machine.start(&[], &mut decisions);
            machine
        })
        .collect();
    report("state machines alone", bytes_since(before));
    black_box(machines);
}
