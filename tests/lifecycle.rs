//! Starting and stopping, as a host does.

use std::time::Duration;

use updraft::dag::{DagBuilder, chain};
use updraft::engine::SchedulerState;
use updraft::model::{RunState, TaskState};
use updraft::operator::{Outcome, TaskContext, TaskError};
use updraft::storage::TaskInstanceQuery;
use updraft::{TriggerRequest, Updraft};

fn greeting() -> DagBuilder {
    let dag = DagBuilder::new("greeting");
    let hello = dag.task("hello", |_: TaskContext| async { Ok(Outcome::value("hello")) });
    let world = dag.task("world", |cx: TaskContext| async move {
        let hello = cx.xcom_pull("hello").await.map_err(|error| TaskError::failed(error.to_string()))?;
        assert_eq!(hello, Some("hello".into()));
        Ok(Outcome::success())
    });
    chain([&hello, &world]);
    dag
}

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
    let updraft = Updraft::builder().dag(greeting()).build().expect("an orchestrator");
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

#[tokio::test]
async fn a_shutdown_ends_what_runs_as_a_failed_try() {
    let dag = DagBuilder::new("endless");
    dag.task("sleeps", |cx: TaskContext| async move {
        cx.cancellation().cancelled().await;
        Err(TaskError::failed("told to end"))
    });
    let updraft = Updraft::builder().dag(dag).build().expect("an orchestrator");
    let running = updraft.start().await.expect("a start");
    updraft.trigger("endless", TriggerRequest::default()).await.expect("a run");
    let state = || async {
        let page = updraft.service().task_instances(&TaskInstanceQuery::default()).await.expect("instances");
        page.items[0].state
    };
    while state().await != TaskState::Running {
        tokio::task::yield_now().await;
    }
    running.shutdown(Duration::ZERO).await;
    assert_eq!(state().await, TaskState::Failed);
}

#[tokio::test]
async fn dropping_the_handle_stops_everything() {
    let updraft = Updraft::builder().dag(greeting()).build().expect("an orchestrator");
    let running = updraft.start().await.expect("a start");
    while running.health().scheduler != SchedulerState::Healthy {
        tokio::task::yield_now().await;
    }
    drop(running);
    no_task_is_left().await;
}

#[tokio::test]
async fn a_panic_in_a_task_fails_its_try_and_nothing_else() {
    let dag = DagBuilder::new("panics");
    dag.task("bad", |_: TaskContext| async { panic!("on purpose") });
    let updraft = Updraft::builder().dag(dag).dag(greeting()).build().expect("an orchestrator");
    let running = updraft.start().await.expect("a start");
    let bad = updraft.trigger("panics", TriggerRequest::default()).await.expect("a run");
    let good = updraft.trigger("greeting", TriggerRequest::default()).await.expect("a run");
    assert_eq!(updraft.wait_for_run("panics", &bad.run_id).await.expect("the run").state, RunState::Failed);
    assert_eq!(updraft.wait_for_run("greeting", &good.run_id).await.expect("the run").state, RunState::Success);
    assert!(running.health().is_healthy());
    running.shutdown(Duration::from_secs(5)).await;
}
