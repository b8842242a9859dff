//! Clearing and marking leave runs and task instances as Airflow 2.11.2 leaves them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::BTreeMap;

use common::{World, dag};
use serde_json::{Map, Value, json};
use updraft_core::model::Schedule;

#[tokio::test]
async fn clears_and_marks_do_what_airflow_does() {
    let recordings: Vec<Value> = serde_json::from_str(include_str!("data/clears_and_marks.json")).unwrap();
    let world = World::new().await;
    let mut diamond = dag("diamond", &[("a", &[]), ("b", &["a"]), ("c", &["a"]), ("d", &["b", "c"]), ("e", &["d"])]);
    diamond.tasks.last_mut().unwrap().operator.class_name = "EmptyOperator".into();
    world.register_with(diamond, true).await;
    let mut daily = dag("daily", &[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
    daily.schedule = Schedule::Cron { expression: "0 0 * * *".into() };
    world.register_with(daily, true).await;

    let mut states: BTreeMap<String, Value> = BTreeMap::new();
    let mut differences = Vec::new();
    for recording in &recordings {
        let (name, path) = (recording["name"].as_str().unwrap(), recording["path"].as_str().unwrap());
        let answer = world.call(recording["method"].as_str().unwrap(), path, recording["body"].clone()).await;
        let mut differ = |what: &str, expected: &Value, found: &Value| {
            if expected != found {
                differences.push(format!("{path} {name}: {what}\n  airflow {expected}\n  here    {found}"));
            }
        };
        differ("status", &recording["status"], &json!(answer.status));
        if let Some(expected) = recording.get("answer") {
            differ("answer", &comparable(expected.clone()), &comparable(answer.json()));
        }
        for (run, expected) in recording["states"].as_object().into_iter().flatten() {
            states.insert(run.clone(), expected.clone());
        }
        for (run, expected) in &states {
            if path.contains(dag_of(run)) {
                differ(run, expected, &state_of(&world, run).await);
            }
        }
    }
    assert!(differences.is_empty(), "{}:\n{}", differences.len(), differences.join("\n"));
}

fn dag_of(run_id: &str) -> &str {
    run_id.split('_').nth(1).unwrap()
}

/// Lists of task instances have no order of their own; moments and users differ.
fn comparable(mut answer: Value) -> Value {
    if let Some(list) = answer.get_mut("task_instances").and_then(Value::as_array_mut) {
        list.sort_by_key(|item| format!("{} {}", item["dag_run_id"], item["task_id"]));
    }
    if let Some(members) = answer.as_object_mut() {
        members.remove("unixname");
    }
    for date in ["start_date", "end_date", "last_scheduling_decision"] {
        if let Some(value) = answer.get_mut(date) {
            *value = json!(*value != json!(false) && !value.is_null());
        }
    }
    answer
}

async fn state_of(world: &World, run_id: &str) -> Value {
    let path = format!("/dags/{}/dagRuns/{run_id}", dag_of(run_id));
    let run = world.get(&path).await.json();
    let instances = world.get(&format!("{path}/taskInstances")).await.json();
    let has = |value: &Value| !value.is_null();
    let instances: Map<String, Value> = instances["task_instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let is_instant = item["duration"].as_f64().map(|duration| duration == 0.0);
            let (start, end) = (has(&item["start_date"]), has(&item["end_date"]));
            let tries = (&item["state"], &item["try_number"], &item["max_tries"]);
            let shown = json!([tries.0, tries.1, tries.2, start, end, is_instant, has(&item["queued_when"])]);
            (item["task_id"].as_str().unwrap().to_owned(), shown)
        })
        .collect();
    json!([run["state"], {"end_date": has(&run["end_date"]), "start_date": has(&run["start_date"])}, instances])
}
