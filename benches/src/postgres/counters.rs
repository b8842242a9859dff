//! What the engine writes, counted: figures that no load on the machine changes.

use std::sync::Arc;
use std::time::Duration;

use updraft_core::clock::Clock;
use updraft_core::engine::SchedulerSettings;

use super::Bench;
use super::throughput::Measured;
use super::yardstick::{ROWS_OF_A_RUN, ROWS_OF_A_TASK};
use crate::engine::{Limits, Workload};
use crate::graph::Graph;

/// Rows of a scheduler's session, and of the first batch of a lane.
const ROWS_OF_A_SESSION: i64 = 4;

/// A workload, and how many batches it may take.
type Expectation = (&'static str, Graph, usize, u64);

/// Counts what `flat`, `runs` and `chain` write. Returns what is more than it may be.
///
/// # Panics
/// The server or the engine fails, or a workload did not do what it should have.
pub async fn check(clock: Arc<dyn Clock>) -> Vec<String> {
    let bench = Bench::new(Arc::clone(&clock)).await;
    bench.server.stop_autovacuum().await;
    // A hop is one batch, and the end of the last task is one. How many tasks end while a batch is being written is up to
    // the machine; that many do is not.
    let expectations: [Expectation; 3] = [
        ("flat", Graph::flat(10_000), 1, 100),
        ("runs", Graph::chain(3), 1_000, 100),
        ("chain", Graph::chain(100), 1, 101),
    ];
    let mut wrong = Vec::new();
    for (name, graph, runs, most_batches) in expectations {
        let database = bench.server.database().await;
        let workload = Workload::new(name, &graph, runs, false, Arc::clone(&clock));
        // No heartbeat comes in between, and nothing waits so long on a busy machine that it is shown as scheduled.
        let hour = Duration::from_secs(3600);
        let settings = SchedulerSettings { lease: hour, show_scheduled_after: hour, ..SchedulerSettings::default() };
        let Measured { counts, batches, rows, .. } =
            bench.carry_out(&database, &workload, Limits::default(), settings).await;
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let (tasks, runs) = (workload.tasks(), count(runs));
        let all_tasks = count(tasks + bench.warm_up.tasks());
        // Each batch changes the row of its lane.
        let most_rows = ROWS_OF_A_TASK * all_tasks
            + ROWS_OF_A_RUN * (runs + 1)
            + i64::try_from(batches.all).unwrap_or(i64::MAX)
            + ROWS_OF_A_SESSION;
        // One creates the runs; the others are the batches.
        let most_transactions = i64::try_from(batches.of_workload).unwrap_or(i64::MAX) + 1;
        println!(
            "{name}: {tasks} tasks, {} batches (at most {most_batches}), {} transactions (at most {most_transactions}), \
             {} rows with the warm-up (at most {most_rows})",
            batches.of_workload, counts.transactions, rows.written
        );
        if batches.of_workload > most_batches {
            wrong.push(format!("{name}: {} batches, at most {most_batches}", batches.of_workload));
        }
        if counts.transactions > most_transactions {
            wrong.push(format!("{name}: {} transactions, at most {most_transactions}", counts.transactions));
        }
        if rows.written > most_rows {
            wrong.push(format!("{name}: {} rows, at most {most_rows}", rows.written));
        }
    }
    wrong
}
