//! Datasets, warnings about DAGs and counts of runs, as Airflow's clients see them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use common::{World, dag};
use http::Request;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tower::ServiceExt;
use updraft_core::clock::Clock;
use updraft_core::id::{DagId, IdSource};
use updraft_core::model::{
    Dag, Dataset, DatasetCondition, DatasetEventSource, DatasetNode, Pool, RunState, Schedule, TaskState,
};
use updraft_core::service::{Service, Settings};
use updraft_core::storage::{
    DatasetStorage, EventLogQuery, EventLogStorage, NewDatasetEvent, PoolStorage, QueuedDatasetEventQuery,
};
use updraft_http_adapter::access::{AccessError, Action, Authenticator, Authorizer, Dags, Principal, Resource};
use updraft_http_adapter::airflow::Airflow;

fn consumer(id: &str, postfix: Vec<DatasetNode>) -> Dag {
    let condition = DatasetCondition { postfix };
    Dag { schedule: Schedule::Datasets { condition }, ..dag(id, &[("consume", &[])]) }
}

/// The DAGs of the recordings.
async fn recorded_world() -> World {
    let world = World::new().await;
    let mut producer = dag("dataset_producer", &[("produce", &[]), ("produce_two", &["produce"])]);
    producer.tasks[0].outlets = vec!["s3://lab/one.csv".into()];
    producer.tasks[1].outlets = vec!["s3://lab/two.csv".into()];
    world.register_with(producer, false).await;
    let uri = |name: &str| DatasetNode::Uri(format!("s3://lab/{name}.csv"));
    world.register_with(consumer("dataset_consumer", vec![uri("one"), uri("two"), DatasetNode::All(2)]), false).await;
    let either = vec![uri("one"), uri("three"), DatasetNode::Any(2)];
    world.register_with(consumer("dataset_consumer_one", either), false).await;
    for id in ["etl_chain", "always_fails"] {
        world.register(id, false, &[("a", &[])]).await;
    }
    let mut pooled = dag("nonexistent_pool", &[("a", &[])]);
    pooled.tasks[0].pool = "no_such_pool".into();
    world.register_with(pooled, false).await;
    for (task, uri) in [("produce", "s3://lab/one.csv"), ("produce_two", "s3://lab/two.csv")] {
        let source = DatasetEventSource {
            dag_id: "dataset_producer".into(),
            task_id: task.into(),
            run_id: "rec_1".into(),
            map_index: -1,
        };
        let event = NewDatasetEvent { uri: uri.into(), extra: Map::new(), source: Some(source) };
        world.clock.advance(std::time::Duration::from_secs(1));
        world.storage.create_dataset_event(world.clock.now(), event, None).await.unwrap();
    }
    // Airflow had made runs of them.
    clear_queue(&world).await;
    world
}

async fn clear_queue(world: &World) {
    let all = QueuedDatasetEventQuery::default();
    world.storage.delete_queued_dataset_events(world.clock.now(), &all, None).await.unwrap();
}

/// Moments, and what is in no order.
fn blur(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                match (name.as_str(), &mut *value) {
                    // Nobody makes runs of updates here.
                    ("created_dagruns", Value::Array(runs)) => runs.clear(),
                    ("consuming_dags", Value::Array(dags)) => {
                        dags.sort_by_key(|dag| dag["dag_id"].to_string());
                        dags.iter_mut().for_each(blur);
                    }
                    (_, Value::String(text)) if text.starts_with("2026-11-21T13:") => *text = "…".into(),
                    _ => blur(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blur),
        _ => {}
    }
}

#[tokio::test]
async fn answers_are_those_of_airflow() {
    let world = recorded_world().await;
    let recorded: Vec<Value> = serde_json::from_str(include_str!("data/datasets.json")).unwrap();
    let mut wrong = Vec::new();
    for exchange in &recorded {
        let text = |name: &str| exchange[name].as_str().unwrap_or_default();
        if text("name") == "datasets.queued.delete_dag" || text("name") == "datasets.queued.delete_uri" {
            let body = json!({"dataset_uri": "s3://lab/two.csv"});
            assert_eq!(world.call("POST", "/datasets/events", body).await.status, 200);
        }
        let target = format!("{}?{}", text("path"), text("query"));
        let target = target.strip_suffix('?').unwrap_or(&target);
        let answer = match exchange.get("body") {
            Some(body) => {
                world.send(text("method"), target, &[("content-type", "application/json")], &body.to_string()).await
            }
            None => world.send(text("method"), target, &[], "").await,
        };
        let (mut ours, mut theirs) = (answer.json(), exchange.get("answer").cloned().unwrap_or_default());
        blur(&mut ours);
        blur(&mut theirs);
        let same_type = answer.content_type.as_deref() == exchange["content_type"].as_str();
        if ours != theirs || u64::from(answer.status) != exchange["status"] || !same_type {
            wrong.push(format!("{}: {} {ours}\n    not {} {theirs}", text("name"), answer.status, exchange["status"]));
        }
    }
    assert_eq!(recorded.len(), 38);
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_dataset_is_found_by_its_uri_however_it_is_written() {
    let world = World::new().await;
    let mut dag = dag("p", &[("t", &[])]);
    dag.tasks[0].outlets =
        ["s3://lab/a b", "events", "queuedEvent/x", "s3://lab//two", "plain"].map(Value::from).to_vec();
    dag.tasks[0].outlets.push(Dataset::new("file:///x").with_extra("rows", 7).into_value());
    world.register_with(dag, false).await;
    for (path, uri) in [
        ("s3:%2F%2Flab%2Fa%20b", "s3://lab/a b"),
        ("s3://lab/a%20b", "s3://lab/a b"),
        ("s3://lab//two", "s3://lab//two"),
        ("plain", "plain"),
        ("file%3A%2F%2F%2Fx", "file:///x"),
    ] {
        let answer = world.get(&format!("/datasets/{path}")).await;
        assert_eq!((answer.status, &answer.json()["uri"]), (200, &json!(uri)), "{path}");
    }
    assert_eq!(world.get("/datasets/file:///x").await.json()["extra"], json!({"rows": 7}));
    // Paths of other operations come first.
    assert!(world.get("/datasets/events").await.json()["dataset_events"].is_array());
    assert_eq!(world.get("/datasets/queuedEvent/x").await.json()["title"], "Queue event not found");
    assert_eq!(world.get("/datasets/queuedEvent").await.json()["title"], "Dataset not found");
}

#[tokio::test]
async fn lists_count_all_datasets_and_show_some() {
    let world = recorded_world().await;
    let uris = async |query: &str| {
        let answer = world.get(&format!("/datasets?{query}")).await.json();
        let uris =
            answer["datasets"].as_array().unwrap().iter().map(|dataset| dataset["uri"].as_str().unwrap().to_owned());
        (uris.collect::<Vec<_>>().join(" ").replace("s3://lab/", ""), answer["total_entries"].as_u64().unwrap())
    };
    assert_eq!(uris("").await, ("one.csv two.csv three.csv".into(), 3));
    assert_eq!(uris("uri_pattern=&dag_ids=&limit=2").await, ("one.csv two.csv".into(), 3));
    assert_eq!(uris("dag_ids=dataset_producer,nope").await, ("one.csv two.csv".into(), 3));
    assert_eq!(uris("dag_ids=nope").await, (String::new(), 3));
    assert_eq!(uris("uri_pattern=T&order_by=-id").await, ("three.csv two.csv".into(), 3));
    assert_eq!(uris("uri_pattern=T%25&dag_ids=dataset_consumer_one").await, ("three.csv".into(), 3));
    let limit = world.get("/datasets?limit=-1&order_by=nope").await;
    assert_eq!(
        (limit.status, limit.json()["title"].as_str().unwrap().to_owned()),
        (400, "Page limit must be a positive integer".into())
    );
}

#[tokio::test]
async fn events_are_filtered_as_in_airflow() {
    let world = recorded_world().await;
    let body = json!({"dataset_uri": "s3://lab/one.csv", "extra": {"z": 1, "from_rest_api": false}});
    let made = world.call("POST", "/datasets/events", body).await.json();
    assert_eq!((&made["extra"], &made["source_map_index"]), (&json!({"z": 1, "from_rest_api": true}), &json!(-1)));
    let ids = async |query: &str| {
        let answer = world.get(&format!("/datasets/events?{query}")).await.json();
        let ids: Vec<_> =
            answer["dataset_events"].as_array().unwrap().iter().map(|event| event["id"].as_i64().unwrap()).collect();
        assert_eq!(answer["total_entries"], ids.len());
        ids
    };
    assert_eq!(ids("").await, [1, 2, 3]);
    assert_eq!(ids("dataset_id=1").await, [1, 3]);
    assert_eq!(ids("dataset_id=0&source_map_index=0&source_dag_id=").await, [1, 2, 3], "zero filters nothing");
    assert!(ids("dataset_id=99").await.is_empty());
    assert_eq!(ids("source_map_index=-1").await, [1, 2, 3]);
    assert!(ids("source_map_index=99999999999999").await.is_empty());
    assert_eq!(ids("source_task_id=produce_two&source_run_id=rec_1").await, [2]);
    assert_eq!(ids("order_by=-source_dag_id").await, [3, 1, 2]);
    let refused = world.get("/datasets/events?order_by=id").await;
    assert_eq!(refused.status, 400);
    let null = world.call("POST", "/datasets/events", json!({"dataset_uri": "s3://lab/one.csv", "extra": null})).await;
    assert_eq!((null.status, &null.json()["detail"]), (400, &json!("{'extra': ['Field may not be null.']}")));
}

#[tokio::test]
async fn only_unpaused_consumers_wait_for_an_event() {
    let world = recorded_world().await;
    let paused = world.call("PATCH", "/dags/dataset_consumer", json!({"is_paused": true})).await;
    assert_eq!(paused.status, 200);
    let body = json!({"dataset_uri": "s3://lab/one.csv"});
    let first = world.call("POST", "/datasets/events", body.clone()).await.json();
    assert_eq!(first["extra"], json!({"from_rest_api": true}));
    world.call("POST", "/datasets/events", body).await;
    let queued = world.get("/datasets/queuedEvent/s3:%2F%2Flab%2Fone.csv").await.json();
    assert_eq!(
        (&queued["total_entries"], &queued["queued_events"][0]["dag_id"]),
        (&json!(1), &json!("dataset_consumer_one"))
    );
    assert_eq!(queued["queued_events"][0]["created_at"], first["timestamp"], "the first one waits");
    assert_eq!(world.get("/dags/dataset_consumer/datasets/queuedEvent").await.status, 404);
    let before = |time: &str| {
        let time = time.replace('+', "%2B");
        format!("/dags/dataset_consumer_one/datasets/queuedEvent/s3:%2F%2Flab%2Fone.csv?before={time}")
    };
    let moment = first["timestamp"].as_str().unwrap();
    assert_eq!(world.send("DELETE", &format!("/api/v1{}", before(moment)), &[], "").await.status, 404);
    assert_eq!(world.get(&before("2026-12-01T00:00:00Z")).await.status, 200);
    let deleted = world.send("DELETE", &format!("/api/v1{}", before("2026-12-01T00:00:00Z")), &[], "").await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    let wrong = world.get("/dags/dataset_consumer_one/datasets/queuedEvent?before=soon").await;
    assert_eq!(wrong.status, 400);
    let log = world.storage.events(&EventLogQuery::default()).await.unwrap().items;
    let events: Vec<_> =
        log.iter().map(|entry| (entry.event.as_str(), entry.dag_id.as_ref().map(DagId::as_str))).collect();
    let one = Some("dataset_consumer_one");
    assert_eq!(
        events[1..],
        [
            ("api.create_dataset_event", None),
            ("api.create_dataset_event", None),
            ("api.delete_dag_dataset_queued_event", one),
            ("api.delete_dag_dataset_queued_event", one),
        ]
    );
}

#[tokio::test]
async fn runs_are_counted_by_state() {
    let world = World::new().await;
    world.register("a", false, &[("t", &[])]).await;
    world.register("b", false, &[("t", &[])]).await;
    for id in ["one", "two"] {
        world.call("POST", "/dags/a/dagRuns", json!({"dag_run_id": id})).await;
    }
    world.play("a", "one", &[("t", Some(TaskState::Success), Value::Null)], Some(RunState::Success)).await;
    let answer = world.get("/dagStats?dag_ids=b,a,b,%20a,nope").await.json();
    let counts = |[queued, running, success, failed]: [u64; 4]| {
        json!([{"state": "queued", "count": queued}, {"state": "running", "count": running},
            {"state": "success", "count": success}, {"state": "failed", "count": failed}])
    };
    let expected = json!([{"dag_id": "b", "stats": counts([0; 4])}, {"dag_id": "a", "stats": counts([1, 0, 1, 0])}]);
    assert_eq!((&answer["dags"], &answer["total_entries"]), (&expected, &json!(2)));
    assert_eq!(world.get("/dagStats?dag_ids=").await.json(), json!({"dags": [], "total_entries": 0}));
}

#[tokio::test]
async fn missing_pools_are_warned_of_until_they_exist() {
    let world = World::new().await;
    for (id, pools) in [("b", ["it's", "a"]), ("a", ["no", "default_pool"])] {
        let mut dag = dag(id, &[("one", &[]), ("two", &[])]);
        for (task, pool) in dag.tasks.iter_mut().zip(pools) {
            task.pool = pool.into();
        }
        world.register_with(dag, false).await;
        world.clock.advance(std::time::Duration::from_secs(1));
    }
    let messages = async |query: &str| {
        let answer = world.get(&format!("/dagWarnings?{query}")).await.json();
        let list = answer["dag_warnings"].as_array().unwrap().clone();
        let messages: Vec<_> = list.iter().map(|warning| warning["message"].as_str().unwrap().to_owned()).collect();
        (messages, answer["total_entries"].as_u64().unwrap())
    };
    let of_a = "Dag 'a' references non-existent pools: ['no']".to_owned();
    let of_b = "Dag 'b' references non-existent pools: ['a', \"it's\"]".to_owned();
    assert_eq!(messages("").await, (vec![of_b.clone(), of_a.clone()], 2));
    assert_eq!(messages("order_by=message").await.0, [of_a.clone(), of_b.clone()]);
    assert_eq!(messages("order_by=-warning_type&limit=1").await, (vec![of_b.clone()], 2));
    assert_eq!(messages("dag_id=a&warning_type=non-existent+pool").await.0, [of_a]);
    let pool = Pool { id: 0, name: "no".into(), slots: 1, description: None, include_deferred: false };
    world.storage.create_pool(pool, None).await.unwrap();
    assert_eq!(messages("").await, (vec![of_b], 1));
    let refused = world.get("/dagWarnings?limit=-1&order_by=nope").await.json();
    assert_eq!(refused["title"], "Page limit must be a positive integer");
}

/// Reads what the name lists, of one DAG.
#[derive(Debug)]
struct OneDag;

#[async_trait]
impl Authenticator for OneDag {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError> {
        let name = head.headers.get(AUTHORIZATION).and_then(|name| name.to_str().ok());
        Ok(name.map(|name| Principal::named(name, [])))
    }
}

#[async_trait]
impl Authorizer for OneDag {
    async fn permits(
        &self,
        principal: &Principal,
        action: Action,
        resource: Resource,
        dag: Option<&str>,
    ) -> Result<bool, AccessError> {
        let asked = format!("{action} {resource}");
        let may = principal.name.iter().flat_map(|name| name.split(", ")).any(|permission| permission == asked);
        Ok(may && (resource != Resource::Dags || dag == Some("dataset_consumer")))
    }

    async fn dags(&self, _: &Principal, _: Action) -> Result<Dags, AccessError> {
        Ok(Dags::Only(Arc::new(BTreeSet::from([DagId::from("dataset_consumer")]))))
    }
}

#[tokio::test]
async fn callers_see_what_they_may() {
    let world = recorded_world().await;
    world.call("POST", "/datasets/events", json!({"dataset_uri": "s3://lab/one.csv"})).await;
    let (clock, ids) = (Arc::new(world.clock.clone()), IdSource::from_seed(2));
    let service = Service::new(world.storage.clone(), world.logs.clone(), ids, Settings::default());
    let airflow = Airflow::builder(service, clock).authenticator(OneDag).authorizer(OneDag).build().unwrap();
    let ask = async |method: &str, path: &str, permissions: &str| {
        let request =
            Request::builder().method(method).uri(format!("/api/v1{path}")).header(AUTHORIZATION, permissions);
        let request = request.header("content-type", "application/json");
        let body = if method == "POST" { r#"{"dataset_uri": "s3://lab/one.csv"}"# } else { "" };
        let response = airflow.clone().oneshot(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Value>(&body).unwrap_or_default())
    };
    let (read, both) = ("can_read Datasets", "can_read Datasets, can_read DAGs");
    let queue = "/dags/dataset_consumer/datasets/queuedEvent";
    for (method, path, permissions, status) in [
        ("GET", "/datasets", read, 200),
        ("GET", "/datasets", "can_read DAGs", 403),
        ("GET", "/datasets/s3:%2F%2Flab%2Fone.csv", read, 200),
        ("GET", "/datasets/events", read, 200),
        ("GET", "/datasets/events", "can_create Datasets", 403),
        ("POST", "/datasets/events", "can_create Datasets", 200),
        ("POST", "/datasets/events", read, 403),
        ("GET", queue, read, 403),
        ("GET", queue, "can_read DAGs", 403),
        ("GET", queue, both, 200),
        ("GET", "/dags/dataset_consumer_one/datasets/queuedEvent", both, 403),
        ("DELETE", queue, both, 403),
        ("DELETE", queue, "can_delete Datasets", 403),
        ("GET", "/dagStats?dag_ids=etl_chain", "can_read DAGs", 403),
        ("GET", "/dagWarnings", read, 403),
        ("GET", "/dagWarnings?dag_id=nonexistent_pool", "can_read DAG Warnings, can_read DAGs", 403),
    ] {
        assert_eq!(ask(method, path, permissions).await.0, status, "{method} {path} {permissions}");
    }
    // What waits for other DAGs is not shown, nor deleted.
    let uri = "/datasets/queuedEvent/s3:%2F%2Flab%2Fone.csv";
    let (_, seen) = ask("GET", uri, read).await;
    assert_eq!((&seen["total_entries"], &seen["queued_events"][0]["dag_id"]), (&json!(1), &json!("dataset_consumer")));
    assert_eq!(ask("DELETE", uri, "can_delete Datasets").await.0, 204);
    assert_eq!(ask("DELETE", uri, "can_delete Datasets").await.0, 404);
    assert_eq!(world.get(uri).await.json()["queued_events"][0]["dag_id"], "dataset_consumer_one");
    let (_, stats) = ask("GET", "/dagStats?dag_ids=etl_chain,dataset_consumer", "can_read DAG Runs").await;
    assert_eq!((&stats["total_entries"], &stats["dags"][0]["dag_id"]), (&json!(1), &json!("dataset_consumer")));
    let (status, warnings) = ask("GET", "/dagWarnings", "can_read DAG Warnings").await;
    assert_eq!((status, warnings), (200, json!({"dag_warnings": [], "total_entries": 0})));
}
