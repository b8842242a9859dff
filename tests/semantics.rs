//! Random DAGs end as they do in Apache Airflow 2.11.2.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use updraft::clock::SystemClock;
use updraft::operators::OperatorsConfig;
use updraft::storage::{Storage, TaskInstanceQuery};
use updraft::{MemoryStorage, TriggerRequest, Updraft};

#[derive(Debug, PartialEq, Deserialize)]
struct Ended {
    run: String,
    tasks: BTreeMap<String, String>,
}

/// The DAGs and their recorded states; a test without its data fails.
fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/authoring/tests/data/semantics"))
}

async fn ended(updraft: &Updraft, dag_id: &str, run_id: &str) -> Ended {
    let run = updraft.wait_for_run(dag_id, run_id).await.expect("the run exists");
    let query = TaskInstanceQuery { dag_ids: Some([dag_id.into()].into()), ..TaskInstanceQuery::default() };
    let instances = updraft.service().task_instances(&query).await.expect("instances").items;
    let task = |instance: &updraft::model::TaskInstance| instance.task().expect("a task").task_id.to_string();
    let tasks = instances.iter().map(|instance| (task(instance), instance.state.to_string())).collect();
    Ended { run: run.state.to_string(), tasks }
}

/// Runs each DAG once on a storage.
async fn all_end_as_in_airflow(storage: Arc<dyn Storage>) {
    let expected = std::fs::read_to_string(folder().join("expected.json")).expect("the recorded states");
    let expected: BTreeMap<String, Ended> = serde_json::from_str(&expected).expect("recorded states are JSON");
    assert!(expected.len() > 100, "the corpus is whole");
    let updraft = Updraft::builder()
        .storage(storage)
        .builtin_operators(OperatorsConfig::default())
        .dag_folder(folder())
        .parallelism(8)
        .build()
        .expect("an orchestrator");
    let running = updraft.start().await.expect("a start");
    let mut runs = Vec::new();
    for dag_id in expected.keys() {
        let run = updraft.trigger(dag_id, TriggerRequest::default()).await;
        runs.push((dag_id, run.unwrap_or_else(|error| panic!("{dag_id}: {error}")).run_id));
    }
    let mut wrong = Vec::new();
    for (dag_id, run_id) in runs {
        let wait = tokio::time::timeout(Duration::from_secs(300), ended(&updraft, dag_id, &run_id));
        let ended = wait.await.unwrap_or_else(|_| panic!("{dag_id} does not end"));
        if ended != expected[dag_id] {
            wrong.push(format!("{dag_id}: {ended:?}\n  in Airflow: {:?}", expected[dag_id]));
        }
    }
    running.shutdown(Duration::from_secs(5)).await;
    assert!(wrong.is_empty(), "{} DAGs end otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn random_dags_end_as_in_airflow() {
    all_end_as_in_airflow(Arc::new(MemoryStorage::new(Arc::new(SystemClock::new())))).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn random_dags_end_as_in_airflow_on_postgresql() {
    use updraft::postgres::{PostgresSettings, PostgresStorage};
    let database = updraft_test_postgres::Cluster::shared().await.database().await;
    let settings = PostgresSettings::from_options(database.options());
    let storage = PostgresStorage::new(settings, Arc::new(SystemClock::new()));
    all_end_as_in_airflow(Arc::new(storage.clone())).await;
    storage.close().await;
}
