//! The example DAGs do what their comments say.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use updraft::operators::OperatorsConfig;
use updraft::storage::{TaskInstanceQuery, XComQuery};
use updraft::{TriggerRequest, Updraft};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dags");

fn updraft() -> Updraft {
    Updraft::builder()
        .builtin_operators(OperatorsConfig::default())
        .dag_folder(FOLDER)
        .build()
        .expect("an orchestrator")
}

/// Runs a DAG; returns how the run and its tasks ended, and their results.
async fn run(dag_id: &str, conf: Value) -> (String, BTreeMap<String, String>, BTreeMap<String, Value>) {
    let updraft = updraft();
    let running = updraft.start().await.expect("a start");
    let conf = conf.as_object().cloned().unwrap_or_default();
    let run = updraft.trigger(dag_id, TriggerRequest { conf, ..TriggerRequest::default() }).await.expect("a run");
    let ended = tokio::time::timeout(Duration::from_secs(120), updraft.wait_for_run(dag_id, &run.run_id));
    let ended = ended.await.expect("the run ends in time").expect("the run exists");
    let instances = updraft.service().task_instances(&TaskInstanceQuery::default()).await.expect("instances").items;
    let state = |instance: &updraft::model::TaskInstance| {
        (instance.task().expect("a task").task_id.to_string(), instance.state.to_string())
    };
    let states = instances.iter().map(state).collect();
    let query = XComQuery { key: Some("return_value".into()), ..XComQuery::default() };
    let xcoms = updraft.storage().xcoms(&query).await.expect("XComs").items;
    let results = xcoms.into_iter().map(|entry| (entry.task_id, entry.xcom.value)).collect();
    running.shutdown(Duration::from_secs(5)).await;
    (ended.state.to_string(), states, results)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_etl_writes_its_report() {
    let output = std::env::temp_dir().join(format!("updraft-report-{}", std::process::id()));
    let (state, states, results) = run("orders_etl", json!({"output": output, "top": 2})).await;
    assert_eq!(state, "success", "{states:?}");
    assert_eq!(results["prepare.clean"]["dropped"], 1);
    assert_eq!(results["prepare.clean"]["kept"], 239);
    assert_eq!(results["by_product"].as_object().map(serde_json::Map::len), Some(2));
    let report = results["report"].as_str().expect("the report's path");
    let text = std::fs::read_to_string(Path::new(report)).expect("the report");
    assert!(text.contains("Sales as of ") && text.contains("By country") && text.contains("DE"), "{text}");
    std::fs::remove_dir_all(output).expect("the report's folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_diamonds_tasks_care_differently() {
    let (state, states, _) = run("diamond", json!({})).await;
    let expected = [
        ("fails", "failed"),
        ("has_nothing_to_do", "skipped"),
        ("if_all_went_well", "upstream_failed"),
        ("if_something_failed", "success"),
        ("if_something_worked", "success"),
        ("in_any_case", "success"),
        ("needs_two_tries", "success"),
        ("start", "success"),
        ("works", "success"),
    ];
    assert_eq!(states, expected.map(|(task, state)| (task.to_owned(), state.to_owned())).into());
    assert_eq!(state, "failed", "a leaf is upstream_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fan_adds_its_parts_up() {
    let (state, states, results) = run("fan_out", json!({})).await;
    assert_eq!(state, "success", "{states:?}");
    assert_eq!(states.len(), 58);
    assert_eq!(results["total"], "240", "each order is counted once");
}
