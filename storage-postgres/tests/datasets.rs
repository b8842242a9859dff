//! What the tables of datasets hold, also where no storage wrote it.

#[path = "support/runs.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod runs;

use std::sync::Arc;

use runs::Runs;
use updraft_core::dag::content_hash;
use updraft_core::model::{Dag, DatasetCondition, OperatorRef, Schedule, Task};
use updraft_core::storage::{
    DagRegistration, DagStorage, DatasetEventQuery, DatasetStorage, RunQuery, RunStorage, SchedulerStorage,
};

fn registration() -> DagRegistration {
    let mut dag = Dag::new("uses_datasets");
    dag.schedule = Schedule::Datasets { condition: DatasetCondition::all(["s3://in".to_owned()]) };
    let mut task = Task::new("t", OperatorRef::from_path("airflow.operators.bash.BashOperator"));
    task.outlets = vec!["s3://out".into()];
    dag.tasks.push(task);
    DagRegistration { content_hash: content_hash(&dag), dag: Arc::new(dag), paused_upon_creation: false, source: None }
}

#[tokio::test]
async fn dags_that_were_there_before_datasets_make_theirs_known() {
    let runs = Runs::open().await;
    let now = runs.storage.now().await.expect("a time");
    let first = runs.storage.register_dags(now, vec![registration()]).await.expect("a version");
    // As an upgrade leaves it.
    runs.execute(
        "UPDATE updraft.dag SET datasets_version = NULL; DELETE FROM updraft.dataset_consumer;
        DELETE FROM updraft.dataset_producer; DELETE FROM updraft.dataset",
    )
    .await;
    let second = runs.storage.register_dags(now, vec![registration()]).await.expect("a version");
    assert_eq!(first[0].id, second[0].id, "nothing of the DAG changed");
    let input = runs.storage.dataset("s3://in").await.expect("it is known");
    assert_eq!(input.consuming_dags[0].dag_id.as_str(), "uses_datasets");
    let output = runs.storage.dataset("s3://out").await.expect("it is known");
    assert_eq!(output.producing_tasks[0].task_id.as_str(), "t");
    runs.storage.register_dags(now, vec![registration()]).await.expect("a version");
    assert_eq!(runs.storage.dataset("s3://in").await.expect("it is known"), input);
}

#[tokio::test]
async fn updates_and_the_runs_that_they_caused_are_linked() {
    let runs = Runs::open().await;
    runs.create(0..3).await;
    let all = runs.storage.dag_runs(&RunQuery::default()).await.expect("runs").items;
    runs.execute(
        "INSERT INTO updraft.dataset (uri, extra, created_at, updated_at) VALUES ('s3://a', '{}', now(), now());
        INSERT INTO updraft.dataset_event (dataset, \"timestamp\", source_map_index, extra)
            SELECT 1, '2026-01-01T00:00:00Z'::timestamptz - n * interval '1 hour', -1, '{}' FROM generate_series(1, 3) n;
        INSERT INTO updraft.dag_run_dataset_event VALUES (1, 1), (1, 2), (2, 2), (3, 3)",
    )
    .await;
    let caused = DatasetEventQuery { caused: Some(all[0].id), ..DatasetEventQuery::default() };
    let found = runs.storage.dataset_events(&caused).await.expect("events");
    assert_eq!(found.items.iter().map(|event| event.id).collect::<Vec<_>>(), [2, 1], "the oldest comes first");
    assert_eq!((found.total, &found.items[0].created_dag_runs[..]), (2, &all[..2]));
    runs.storage.delete_run(all[0].id, None).await.expect("it is there");
    let left = runs.storage.dataset_events(&DatasetEventQuery::default()).await.expect("events");
    assert_eq!(left.items.iter().map(|event| event.created_dag_runs.len()).collect::<Vec<_>>(), [1, 1, 0]);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.dag_run_dataset_event WHERE run = 1").await, 0);
}
