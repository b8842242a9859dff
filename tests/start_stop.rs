//! Starting and stopping a hundred times. Alone in its process, because it counts the process's threads and files.

use std::time::Duration;

use updraft::dag::DagBuilder;
use updraft::model::RunState;
use updraft::operator::{Outcome, TaskContext};
use updraft::{TriggerRequest, Updraft};

/// How many threads and open files this process has.
fn threads_and_files() -> (usize, usize) {
    let count = |folder: &str| std::fs::read_dir(folder).map_or(0, Iterator::count);
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// Waits until the runtime has no task; the one that just said that it has ended may still be on its way out.
async fn no_task_is_left() {
    let gone = async {
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("a task is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_starts_and_stops_leave_nothing_behind() {
    let greeting = DagBuilder::new("greeting");
    greeting.task("hello", |_: TaskContext| async { Ok(Outcome::value("hello")) });
    let updraft = Updraft::builder().dag(greeting).build().expect("an orchestrator");
    let mut before = None;
    for round in 0..100 {
        let running = updraft.start().await.expect("a start");
        let run = updraft.trigger("greeting", TriggerRequest::default()).await.expect("a run");
        let run = updraft.wait_for_run("greeting", &run.run_id).await.expect("the run");
        assert_eq!(run.state, RunState::Success);
        assert!(running.health().is_healthy());
        running.shutdown(Duration::from_secs(5)).await;
        no_task_is_left().await;
        if round == 10 {
            before = Some(threads_and_files());
        }
    }
    assert_eq!(before, Some(threads_and_files()));
}
