//! Celery Director's API over a real engine, a real socket and real Python tasks; on the embedded storage and in PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "director/client.rs"]
mod client;
#[path = "director/recording.rs"]
mod recording;
#[path = "director/server.rs"]
mod server;

use std::path::Path;
use std::time::Duration;

use client::Answer;
use serde_json::{Value, json};
use server::Server;
use updraft::model::RunState;
use updraft::storage::RunQuery;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/director");

fn project() -> std::path::PathBuf {
    Path::new(DATA).join("project")
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_requests_get_the_recorded_answers() {
    let server = Server::in_memory(&project()).await;
    recording::replay(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_requests_get_the_recorded_answers_on_postgres() {
    let server = Server::on_postgres(&project()).await;
    recording::replay(&server).await;
    server.stop().await;
}

/// A project in a folder of its own: its definitions, and one file of tasks.
fn project_of(workflows: &str, tasks: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tasks")).unwrap();
    std::fs::write(folder.path().join("workflows.yml"), workflows).unwrap();
    std::fs::write(folder.path().join("tasks/all.py"), tasks).unwrap();
    folder
}

/// The keys of a workflow's tasks with their statuses and results.
fn tasks(answer: &Answer) -> Vec<(String, String, Value)> {
    let text = |task: &Value, name: &str| task[name].as_str().unwrap().to_owned();
    let tasks = answer.json()["tasks"].as_array().cloned().unwrap();
    tasks.iter().map(|task| (text(task, "key"), text(task, "status"), task["result"].clone())).collect()
}

fn task(key: &str, status: &str, result: Value) -> (String, String, Value) {
    (key.into(), status.into(), result)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_as_director_makes_it_runs_unchanged() {
    let folder = project_of(
        "---\n# comments\nexample.ETL:\n  tasks:\n    - EXTRACT\n    - TRANSFORM\n    - LOAD\n\nexample.RANDOMS:\n  tasks:\n    - GROUP_RANDOMS:\n        type: group\n        tasks:\n          - RANDOM\n          - RANDOM\n    - ADD\n",
        "import random\nfrom director import task\n\n\n@task(name=\"EXTRACT\")\ndef extract(*args, **kwargs):\n    print(\"Extracting\")\n\n\n@task(name=\"TRANSFORM\")\ndef transform(*args, **kwargs):\n    print(\"Transforming\")\n\n\n@task(name=\"LOAD\")\ndef load(*args, **kwargs):\n    print(\"Loading\")\n\n\n@task(name=\"RANDOM\")\ndef draw(*args, **kwargs):\n    payload = kwargs[\"payload\"]\n    return random.randint(payload.get(\"start\", 0), payload.get(\"end\", 10))\n\n\n@task(name=\"ADD\")\ndef add(*args, **kwargs):\n    return sum(args[0])\n",
    );
    let server = Server::in_memory(folder.path()).await;
    let etl = server.launch("example", "ETL", json!({})).await;
    let ended = server.until(&etl, "success").await;
    let nothing = |key: &str| task(key, "success", Value::Null);
    assert_eq!(tasks(&ended), ["EXTRACT", "TRANSFORM", "LOAD"].map(nothing));
    let randoms = server.launch("example", "RANDOMS", json!({"start": 4, "end": 4})).await;
    let ended = server.until(&randoms, "success").await;
    let four = |key: &str| task(key, "success", json!(4));
    assert_eq!(tasks(&ended), [four("RANDOM"), four("RANDOM"), task("ADD", "success", json!(8))]);
    // The same through Airflow's eyes.
    let run = server.updraft.service().dag_run_by_uid(etl.parse().unwrap()).await.unwrap();
    assert_eq!((run.dag_id.as_str(), run.state.as_str()), ("example.ETL", "success"));
    let log = server.log_of("example.ETL", &run.run_id, "EXTRACT").await;
    assert!(log.contains("INFO - Extracting"), "{log}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_hold_chains() {
    let folder = project_of(
        "a.NESTED:\n  tasks:\n    - START\n    - FAN:\n        type: group\n        tasks:\n          - LEAF\n          - BRANCH:\n              type: chain\n              tasks:\n                - LEAF\n                - INNER:\n                    type: group\n                    tasks: [LEAF, LEAF]\n          - ONE: {type: chain, tasks: [LEAF, LEAF]}\n    - PAIR: {type: group, tasks: [ECHO, ECHO]}\n",
        "from director import task\n@task(name='START')\ndef start(*args, **kwargs):\n    return 's'\n@task(name='LEAF')\ndef leaf(*args, **kwargs):\n    return ['leaf', args[0]]\n@task(name='ECHO')\ndef echo(*args, **kwargs):\n    return list(args)\n",
    );
    let server = Server::in_memory(folder.path()).await;
    let id = server.launch("a", "NESTED", json!({})).await;
    let ended = server.until(&id, "success").await;
    let leaf = json!(["leaf", "s"]);
    let second = json!(["leaf", leaf]);
    let all = json!([[leaf, [second, second], second]]);
    assert_eq!(tasks(&ended).last().unwrap(), &task("ECHO", "success", all));
    let shown = ended.json();
    let by_id =
        |id: &Value| shown["tasks"].as_array().unwrap().iter().find(|task| task["id"] == *id).unwrap()["key"].clone();
    let last = shown["tasks"].as_array().unwrap().last().unwrap().clone();
    let previous: Vec<_> = last["previous"].as_array().unwrap().iter().map(by_id).collect();
    assert_eq!(previous, ["LEAF", "LEAF", "LEAF", "LEAF"], "the ends of all three members");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_workflow_ends_and_stays_so() {
    let server = Server::on_postgres(&project()).await;
    let id = server.launch("cancel", "SLEEP", json!({})).await;
    server.until_task(&id, "SLEEP_8", "progress").await;
    let canceled = server.send("POST", &format!("/api/workflows/{id}/cancel"), &[], "").await;
    assert_eq!((canceled.status, &canceled.json()["status"]), (201, &json!("canceled")));
    let shown = server.get(&format!("/api/workflows/{id}")).await;
    let nothing = |key: &str| task(key, "canceled", Value::Null);
    assert_eq!(tasks(&shown), ["SLEEP_8", "RET_A"].map(nothing));
    let listed = server.get("/api/workflows").await.json();
    assert_eq!((&listed[0]["id"], &listed[0]["status"]), (&json!(id), &json!("canceled")));
    // A server that starts later knows no less.
    let other = server.restarted().await;
    assert_eq!(other.get(&format!("/api/workflows/{id}")).await.text, shown.text);
    assert_eq!(other.get("/api/workflows").await.json()[0]["status"], "canceled");
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_workflow_is_cancelled_without_a_lie_about_its_tasks() {
    let server = Server::in_memory(&project()).await;
    let id = server.launch("hooks", "BOTH_KO", json!({})).await;
    server.until_task(&id, "ON_FAILURE", "success").await;
    let before = tasks(&server.until(&id, "error").await);
    let statuses: Vec<_> = before.iter().map(|(key, status, _)| (key.as_str(), status.as_str())).collect();
    let expected = [
        ("RET_A", "success"),
        ("BOOM", "error"),
        ("RET_B", "canceled"),
        ("ON_SUCCESS", "canceled"),
        ("ON_FAILURE", "success"),
    ];
    assert_eq!(statuses, expected);
    server.send("POST", &format!("/api/workflows/{id}/cancel"), &[], "").await;
    assert_eq!(tasks(&server.until(&id, "canceled").await), before, "what has ended stays as it ended");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_told_before_its_siblings_end() {
    let folder = project_of(
        "a.SLOW: {tasks: [{G: {type: group, tasks: [BOOM, WAIT]}}, LAST]}\n",
        "import os, time\nfrom director import task\n@task(name='BOOM')\ndef boom(*args, **kwargs):\n    raise KeyError('x')\n@task(name='WAIT')\ndef wait(*args, **kwargs):\n    while not os.path.exists(kwargs['payload']['until']):\n        time.sleep(0.01)\n    return 'waited'\n@task(name='LAST')\ndef last(*args, **kwargs):\n    pass\n",
    );
    let server = Server::in_memory(folder.path()).await;
    let file = folder.path().join("go");
    let id = server.launch("a", "SLOW", json!({"until": file})).await;
    server.until_task(&id, "BOOM", "error").await;
    server.until_task(&id, "WAIT", "progress").await;
    let shown = server.get(&format!("/api/workflows/{id}")).await;
    assert_eq!(shown.json()["status"], "error");
    assert_eq!(server.get("/api/workflows").await.json()[0]["status"], "error", "the list says the same");
    std::fs::write(&file, "").unwrap();
    server.until_task(&id, "WAIT", "success").await;
    server.until_task(&id, "LAST", "canceled").await;
    let error = &shown.json()["tasks"][0]["result"];
    assert_eq!(error["exception"], "'x'");
    let trace = error["traceback"].as_str().unwrap();
    assert!(
        trace.starts_with("Traceback (most recent call last):\n  File \"") && trace.ends_with("KeyError: 'x'\n"),
        "{trace}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_and_tasks_are_reloaded() {
    let folder = project_of(
        "a.ONE: {tasks: [T]}\n",
        "from director import task\n@task(name='T')\ndef t(*args, **kwargs):\n    return 1\n",
    );
    let server = Server::in_memory(folder.path()).await;
    let first = server.launch("a", "ONE", json!({})).await;
    assert_eq!(tasks(&server.until(&first, "success").await), [task("T", "success", json!(1))]);
    let missing = server.post("/api/workflows", &json!({"project": "a", "name": "TWO", "payload": {}})).await;
    assert_eq!((missing.status, missing.text.as_str()), (404, "{\"error\":\"Workflow a.TWO not found\"}\n"));
    // A wrong definition holds no other back, and its reason can be read.
    let text = "a.ONE: {tasks: [T, U]}\na.TWO: {tasks: [T, NOPE]}\na.THREE: {tasks: [U]}\n";
    std::fs::write(folder.path().join("workflows.yml"), text).unwrap();
    let tasks_py = "from director import task\n@task(name='T')\ndef t(*args, **kwargs):\n    return 2\n@task(name='U')\ndef u(*args, **kwargs):\n    return 'u'\n";
    std::fs::write(folder.path().join("tasks/all.py"), tasks_py).unwrap();
    server.until_defined("a.THREE").await;
    let errors = server.import_errors().await;
    assert!(errors.iter().any(|error| error.contains("no task is registered as 'NOPE'")), "{errors:?}");
    let second = server.launch("a", "ONE", json!({})).await;
    let expected = [task("T", "success", json!(2)), task("U", "success", json!("u"))];
    assert_eq!(tasks(&server.until(&second, "success").await), expected, "with the tasks as they are now");
    assert_eq!(tasks(&server.until(&first, "success").await), [task("T", "success", json!(1))], "as it was launched");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_workflows_in_one_go() {
    let folder = project_of("many.RUST: {tasks: [A, B, C]}\n", "");
    let server = Server::with_rust_tasks(folder.path()).await;
    many(&server, 10_000).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_workflows_in_one_go_on_postgres() {
    let folder = project_of("many.RUST: {tasks: [A, B, C]}\n", "");
    let server = Server::with_rust_tasks_on_postgres(folder.path()).await;
    many(&server, 2_000).await;
    server.stop().await;
}

async fn many(server: &Server, count: usize) {
    let launches: Vec<_> = (0..8)
        .map(|_| {
            let client = server.client();
            tokio::spawn(async move {
                let body = json!({"project": "many", "name": "RUST", "payload": {"n": 1}});
                for _ in 0..count / 8 {
                    assert_eq!(client.post("/api/workflows", &body).await.status, 201);
                }
            })
        })
        .collect();
    for launch in launches {
        launch.await.unwrap();
    }
    let query = RunQuery { states: Some(vec![RunState::Queued, RunState::Running]), ..RunQuery::default() };
    let all_ended = || async {
        let left = server.updraft.service().dag_runs(&query).await.unwrap().total;
        (left == 0).then_some(())
    };
    server.eventually(Duration::from_secs(300), all_ended).await;
    let listed = server.get(&format!("/api/workflows?per_page={count}&with_payload=false")).await.json();
    let listed = listed.as_array().cloned().unwrap();
    assert_eq!(listed.len(), count);
    assert!(listed.iter().all(|workflow| workflow["status"] == "success"));
    let listed = server.get("/api/workflows?per_page=1").await.json();
    let one = server.get(&format!("/api/workflows/{}", listed[0]["id"].as_str().unwrap())).await;
    let results = [task("A", "success", json!([null, 1])), task("B", "success", json!([[null, 1], 1]))];
    assert_eq!(tasks(&one)[..2], results);
    let last = count / 50;
    let page = server.get(&format!("/api/workflows?per_page=50&page={last}")).await.json();
    assert_eq!(page.as_array().unwrap().len(), 50);
    assert_eq!(server.get(&format!("/api/workflows?per_page=50&page={}", last + 1)).await.status, 404);
}

async fn periodic_workflows_are_launched(server: Server) {
    let query = RunQuery { dag_ids: Some(["beat.TICK".into()].into()), ..RunQuery::default() };
    let launched = async {
        loop {
            let runs = server.updraft.service().dag_runs(&query).await.unwrap().items;
            if runs.len() >= 2 {
                return runs;
            }
            server.updraft.clock().sleep(Duration::from_millis(20)).await;
        }
    };
    let runs = tokio::time::timeout(Duration::from_secs(60), launched).await.expect("two launches");
    // Each a second after the one before, and none at the start.
    assert_eq!(runs[1].data_interval_start, runs[0].data_interval_end);
    assert!(runs[0].queued_at >= runs[0].data_interval_end);
    for run in &runs[..2] {
        let ended = server.until(&run.uid.to_string(), "success").await;
        assert_eq!(ended.json()["periodic"], true);
        assert_eq!(ended.json()["payload"], json!({"n": 7}));
        assert_eq!(tasks(&ended), [task("A", "success", json!([Value::Null, 7]))]);
    }
    server.stop().await;
}

const TICK: &str = "beat.TICK: {tasks: [A], periodic: {interval: 1, payload: {n: 7}}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn periodic_workflows_are_launched_in_memory() {
    let folder = project_of(TICK, "");
    periodic_workflows_are_launched(Server::with_rust_tasks(folder.path()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn periodic_workflows_are_launched_on_postgres() {
    let folder = project_of(TICK, "");
    periodic_workflows_are_launched(Server::with_rust_tasks_on_postgres(folder.path()).await).await;
}
