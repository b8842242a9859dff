//! Runs that updates of datasets cause, over a socket, with a scheduler at work.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::World;
use serde_json::{Map, Value, json};
use updraft_core::engine::{Runnable, Scheduler, SchedulerParts, SchedulerSettings, SchedulerStatus};
use updraft_core::executor::{LocalExecutor, LocalExecutorParts};
use updraft_core::id::IdSource;
use updraft_core::mask::SensitiveNames;
use updraft_core::model::{Dag, DagVersion, DatasetCondition, DatasetNode, OperatorRef, Schedule, Task};
use updraft_core::operator::{
    CodeTasks, Operator, OperatorInfo, Outcome, Registry, StorageTaskStore, TaskContext, TaskError,
};

/// Says of each update which DAG made it.
#[derive(Debug)]
struct Produce;

#[async_trait]
impl Operator for Produce {
    async fn execute(&self, context: &TaskContext) -> Result<Outcome, TaskError> {
        let dag_id = context.attempt().dag.dag_id.as_str();
        for outlet in context.task().outlet_datasets() {
            context.outlet_event(&outlet.uri, Map::new());
            context.outlet_event(&outlet.uri, Map::from_iter([("by".to_owned(), dag_id.into())]));
        }
        context.outlet_event("s3://lab/not-an-outlet", Map::new());
        if dag_id == "fails" { Err(TaskError::failed("on purpose")) } else { Ok(Outcome::success()) }
    }
}

#[derive(Debug)]
struct Everything;

impl Runnable for Everything {
    fn can_run(&self, _: &DagVersion) -> bool {
        true
    }
}

/// The API with a scheduler; its time moves with each request.
async fn world() -> World {
    let world = World::new().await;
    let mut registry = Registry::default();
    registry.register(OperatorInfo::new("lab.Produce"), Produce);
    let clock = Arc::new(world.clock.clone());
    let executor = LocalExecutor::new(LocalExecutorParts {
        parallelism: 4,
        registry: Arc::new(registry),
        code: Arc::new(CodeTasks::default()),
        renderer: None,
        store: Arc::new(StorageTaskStore::new(world.storage.clone(), clock.clone())),
        logs: world.logs.clone(),
        sensitive_names: SensitiveNames::default(),
        clock: clock.clone(),
    });
    let parts = SchedulerParts {
        storage: world.storage.clone(),
        executor: Arc::new(executor),
        runnable: Arc::new(Everything),
        timetables: Arc::default(),
        clock,
        ids: IdSource::from_seed(2),
        status: SchedulerStatus::default(),
    };
    tokio::spawn(Scheduler::run(parts, SchedulerSettings::default(), pending()));
    world
}

fn producer(id: &str, outlets: &[&str]) -> Dag {
    let mut task = Task::new("make", OperatorRef::from_path("lab.Produce"));
    task.outlets = outlets.iter().map(|&uri| uri.into()).collect();
    let mut dag = Dag::new(id);
    dag.tasks.push(task);
    dag
}

fn consumer(id: &str, condition: DatasetCondition) -> Dag {
    Dag { schedule: Schedule::Datasets { condition }, ..producer(id, &[]) }
}

fn all(uris: &[&str]) -> DatasetCondition {
    DatasetCondition::all(uris.iter().map(|&uri| uri.to_owned()))
}

impl World {
    async fn trigger(&self, dag_id: &str) -> Value {
        let answer = self.call("POST", &format!("/dags/{dag_id}/dagRuns"), json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    async fn update(&self, uri: &str, extra: Value) {
        let answer = self.call("POST", "/datasets/events", json!({"dataset_uri": uri, "extra": extra})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    async fn runs(&self, dag_id: &str) -> Vec<Value> {
        let answer = self.get(&format!("/dags/{dag_id}/dagRuns")).await.json();
        answer["dag_runs"].as_array().unwrap().clone()
    }

    /// Waits until a DAG has so many runs that have ended.
    async fn ended(&self, dag_id: &str, count: usize) -> Vec<Value> {
        let ended = async {
            loop {
                let runs = self.runs(dag_id).await;
                let has_ended = |run: &Value| run["state"] == "success" || run["state"] == "failed";
                if runs.len() >= count && runs.iter().all(has_ended) {
                    return runs;
                }
            }
        };
        let runs = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the runs end");
        assert_eq!(runs.len(), count, "{runs:?}");
        runs
    }

    /// URI, extra and the source's DAG of what caused a run.
    async fn causes(&self, dag_id: &str, run: &Value) -> Value {
        let run_id = run["dag_run_id"].as_str().unwrap().replace('+', "%2B");
        let answer = self.get(&format!("/dags/{dag_id}/dagRuns/{run_id}/upstreamDatasetEvents")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answer = answer.json();
        let events = answer["dataset_events"].as_array().unwrap().clone();
        assert_eq!(answer["total_entries"], events.len());
        for event in &events {
            let caused = event["created_dagruns"].as_array().unwrap();
            let is_caused = |caused: &Value| caused["dag_id"] == dag_id && caused["dag_run_id"] == run["dag_run_id"];
            assert!(caused.iter().any(is_caused), "{event}");
        }
        events.iter().map(|event| json!([event["dataset_uri"], event["extra"], event["source_dag_id"]])).collect()
    }

    /// What waits for a DAG.
    async fn queued(&self, dag_id: &str) -> Vec<Value> {
        let answer = self.get(&format!("/dags/{dag_id}/datasets/queuedEvent")).await.json();
        let events = answer["queued_events"].as_array().cloned().unwrap_or_default();
        events.iter().map(|event| event["uri"].clone()).collect()
    }
}

#[tokio::test]
async fn a_success_of_a_producer_runs_its_consumers() {
    let world = world().await;
    // Conditions are looked at in the order of the DAGs' ids: once `z` has run, all were.
    world.register_with(consumer("z", all(&["s3://lab/x"])), false).await;
    world.register_with(consumer("c", all(&["s3://lab/x"])), false).await;
    world.register_with(producer("p", &["s3://lab/x"]), false).await;
    world.register_with(producer("fails", &["s3://lab/x"]), false).await;
    world.trigger("fails").await;
    assert_eq!(world.ended("fails", 1).await[0]["state"], "failed");
    let source = world.trigger("p").await;
    world.ended("z", 1).await;
    let run = world.ended("c", 1).await.remove(0);
    assert_eq!((&run["state"], &run["run_type"]), (&json!("success"), &json!("dataset_triggered")));
    assert_eq!((&run["external_trigger"], &run["conf"]), (&json!(false), &json!({})));
    assert_eq!(run["dag_run_id"], format!("dataset_triggered__{}", run["logical_date"].as_str().unwrap()));
    assert_eq!(run["data_interval_start"], source["data_interval_start"]);
    assert_eq!(run["data_interval_end"], source["data_interval_end"]);
    assert_eq!(world.causes("c", &run).await, json!([["s3://lab/x", {"by": "p"}, "p"]]));
    let events = world.get("/datasets/events").await.json();
    let event = &events["dataset_events"][0];
    assert_eq!((&events["total_entries"], &event["source_run_id"]), (&json!(1), &source["dag_run_id"]));
    assert_eq!((&event["source_task_id"], &event["timestamp"]), (&json!("make"), &run["logical_date"]));
    let caused: Vec<_> = event["created_dagruns"].as_array().unwrap().iter().map(|run| &run["dag_id"]).collect();
    assert_eq!(caused, ["c", "z"]);
    assert!(world.queued("c").await.is_empty());
}

#[tokio::test]
async fn a_consumer_of_two_datasets_waits_for_both() {
    let world = world().await;
    world.register_with(consumer("both", all(&["s3://lab/x", "s3://lab/y"])), false).await;
    let uri = |uri: &str| DatasetNode::Uri(uri.into());
    let either = DatasetCondition { postfix: vec![uri("s3://lab/x"), uri("s3://lab/y"), DatasetNode::Any(2)] };
    world.register_with(consumer("either", either), false).await;
    for (id, uri) in [("one", "s3://lab/x"), ("two", "s3://lab/y")] {
        world.register_with(producer(id, &[uri]), false).await;
    }
    world.trigger("one").await;
    world.ended("either", 1).await;
    assert_eq!((world.runs("both").await, world.queued("both").await), (vec![], vec![json!("s3://lab/x")]));
    world.trigger("one").await;
    world.ended("either", 2).await;
    assert!(world.runs("both").await.is_empty(), "the same dataset again is not the other");
    world.trigger("two").await;
    let run = world.ended("both", 1).await.remove(0);
    let expected = json!([["s3://lab/x", {"by": "one"}, "one"], ["s3://lab/x", {"by": "one"}, "one"], ["s3://lab/y", {"by": "two"}, "two"]]);
    assert_eq!(world.causes("both", &run).await, expected);
    assert!(world.queued("both").await.is_empty());
    // What caused a run causes no other.
    world.trigger("two").await;
    world.ended("either", 4).await;
    assert_eq!((world.runs("both").await.len(), world.queued("both").await), (1, vec![json!("s3://lab/y")]));
}

#[tokio::test]
async fn a_paused_consumer_collects_nothing() {
    let world = world().await;
    world.register_with(consumer("paused", all(&["s3://lab/x"])), true).await;
    world.register_with(consumer("z", all(&["s3://lab/x"])), false).await;
    world.update("s3://lab/x", json!({"n": 1})).await;
    world.ended("z", 1).await;
    assert!(world.queued("paused").await.is_empty());
    assert_eq!(world.call("PATCH", "/dags/paused", json!({"is_paused": false})).await.status, 200);
    assert!(world.queued("paused").await.is_empty() && world.runs("paused").await.is_empty());
    world.update("s3://lab/x", json!({"n": 2})).await;
    let run = world.ended("paused", 1).await.remove(0);
    // The updates before are among the causes all the same, as in Airflow.
    let expected = json!([
        ["s3://lab/x", {"n": 1, "from_rest_api": true}, null],
        ["s3://lab/x", {"n": 2, "from_rest_api": true}, null],
    ]);
    assert_eq!(world.causes("paused", &run).await, expected);
    assert_eq!(run["data_interval_end"], run["logical_date"]);
    let z = world.ended("z", 2).await.pop().unwrap();
    assert_eq!(world.causes("z", &z).await, json!([["s3://lab/x", {"n": 2, "from_rest_api": true}, null]]));
}

#[tokio::test]
async fn a_consumer_whose_queue_was_emptied_does_not_run() {
    let world = world().await;
    world.register_with(consumer("both", all(&["s3://lab/x", "s3://lab/y"])), false).await;
    world.register_with(consumer("z", all(&["s3://lab/y"])), false).await;
    world.update("s3://lab/x", json!({})).await;
    assert_eq!(world.queued("both").await, ["s3://lab/x"]);
    let queue = "/dags/both/datasets/queuedEvent/s3:%2F%2Flab%2Fx";
    assert_eq!(world.send("DELETE", &format!("/api/v1{queue}"), &[], "").await.status, 204);
    world.update("s3://lab/y", json!({})).await;
    world.ended("z", 1).await;
    assert_eq!((world.runs("both").await, world.queued("both").await), (vec![], vec![json!("s3://lab/y")]));
    world.update("s3://lab/x", json!({})).await;
    world.ended("both", 1).await;
}

#[tokio::test]
async fn a_consumer_runs_again_once_it_has_room() {
    let world = world().await;
    world.register_with(Dag { max_active_runs: 1, ..consumer("c", all(&["s3://lab/x"])) }, true).await;
    // A queued run of a paused DAG takes the one place, and stays.
    world.trigger("c").await;
    assert_eq!(world.call("PATCH", "/dags/c", json!({"is_paused": false})).await.status, 200);
    for count in 2..5 {
        world.update("s3://lab/x", json!({})).await;
        world.ended("c", count).await;
    }
}

#[tokio::test]
async fn an_empty_task_updates_its_outlets() {
    let world = world().await;
    world.register_with(consumer("c", all(&["s3://lab/x"])), false).await;
    let mut dag = producer("p", &["s3://lab/x"]);
    dag.tasks[0].is_empty = true;
    world.register_with(dag, false).await;
    world.trigger("p").await;
    let run = world.ended("c", 1).await.remove(0);
    assert_eq!(world.causes("c", &run).await, json!([["s3://lab/x", {}, "p"]]));
}
