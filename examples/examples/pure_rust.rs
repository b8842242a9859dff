//! A DAG in pure Rust, without HTTP: one task fails once and is retried, two others wait for it.
//!
//!     cargo run --example pure_rust

use std::error::Error;
use std::time::Duration;

use updraft::dag::{DagBuilder, chain};
use updraft::model::TriggerRule;
use updraft::operator::{Outcome, TaskContext, TaskError};
use updraft::storage::TaskInstanceQuery;
use updraft::{TriggerRequest, Updraft};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dag = DagBuilder::new("numbers");
    let flaky = dag
        .task("flaky", |cx: TaskContext| async move {
            match cx.attempt().try_number {
                1 => Err(TaskError::failed("not yet")),
                try_number => Ok(Outcome::value(try_number * 10)),
            }
        })
        .retries(2)
        .retry_delay(Duration::from_millis(100));
    let double = dag.task("double", |cx: TaskContext| async move {
        let number = cx.xcom_pull("flaky").await.ok().flatten().and_then(|value| value.as_i64()).unwrap_or(0);
        Ok(Outcome::value(number * 2))
    });
    let goodbye =
        dag.task("goodbye", |_: TaskContext| async { Ok(Outcome::success()) }).trigger_rule(TriggerRule::AllDone);
    chain([&flaky, &double, &goodbye]);

    let updraft = Updraft::builder().dag(dag).build()?;
    let running = updraft.start().await?;
    let run = updraft.trigger("numbers", TriggerRequest::default()).await?;
    let run = updraft.wait_for_run("numbers", &run.run_id).await?;
    println!("{} ended as {}", run.run_id, run.state);
    for instance in updraft.service().task_instances(&TaskInstanceQuery::default()).await?.items {
        let task_id = instance.task().map_or("", |task| task.task_id.as_str());
        println!("  {task_id:<8} {} after {} tries", instance.state, instance.try_number);
    }
    running.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
