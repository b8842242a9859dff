//! What clearing, marking and annotating does to runs and task instances, and what logs and the event log show of them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::BTreeMap;

use common::World;
use serde_json::{Value, json};
use updraft_core::log::{LogKey, LogStore};
use updraft_core::model::{RunState, TaskState};
use updraft_core::storage::{EventLogQuery, EventLogStorage};

use TaskState::{Failed, Success, UpstreamFailed};

/// a → b → c, and a → d; `b` has failed.
async fn failed_run(world: &World, run_id: &str, date: &str) {
    world.register("d", false, &[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &["a"])]).await;
    let body = json!({"dag_run_id": run_id, "logical_date": date});
    assert_eq!(world.call("POST", "/dags/d/dagRuns", body).await.status, 200);
    let steps = [
        ("a", Some(Success), json!(1)),
        ("b", Some(Failed), Value::Null),
        ("c", Some(UpstreamFailed), Value::Null),
        ("d", Some(Success), Value::Null),
    ];
    world.play("d", run_id, &steps, Some(RunState::Failed)).await;
}

async fn states(world: &World, run_id: &str) -> BTreeMap<String, Value> {
    let list = world.get(&format!("/dags/d/dagRuns/{run_id}/taskInstances")).await.json();
    let list = list["task_instances"].as_array().unwrap().clone();
    list.into_iter().map(|item| (item["task_id"].as_str().unwrap().to_owned(), item["state"].clone())).collect()
}

async fn run_state(world: &World, run_id: &str) -> Value {
    world.get(&format!("/dags/d/dagRuns/{run_id}")).await.json()["state"].clone()
}

fn tasks(answer: &Value) -> Vec<String> {
    let list = answer["task_instances"].as_array().unwrap();
    list.iter()
        .map(|item| format!("{}.{}", item["dag_run_id"].as_str().unwrap(), item["task_id"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn marking_success_lets_what_failed_after_it_run_again() {
    let world = World::new().await;
    failed_run(&world, "r", "2024-01-01T00:00:00Z").await;
    let body = json!({
        "task_id": "b", "dag_run_id": "r", "new_state": "success", "dry_run": false, "include_upstream": false,
        "include_downstream": false, "include_future": false, "include_past": false,
    });
    let answer = world.call("POST", "/dags/d/updateTaskInstancesState", body).await;
    assert_eq!(tasks(&answer.json()), ["r.b"]);
    let expected = [("a", json!("success")), ("b", json!("success")), ("c", Value::Null), ("d", json!("success"))];
    assert_eq!(states(&world, "r").await, expected.map(|(task, state)| (task.to_owned(), state)).into());
    assert_eq!(run_state(&world, "r").await, "queued");
}

#[tokio::test]
async fn marking_failed_with_what_follows_leaves_that_without_state() {
    let world = World::new().await;
    failed_run(&world, "r", "2024-01-01T00:00:00Z").await;
    let body = json!({
        "task_id": "a", "dag_run_id": "r", "new_state": "failed", "dry_run": false, "include_upstream": false,
        "include_downstream": true, "include_future": false, "include_past": false,
    });
    let answer = world.call("POST", "/dags/d/updateTaskInstancesState", body).await;
    assert_eq!(tasks(&answer.json()), ["r.a", "r.c", "r.d"]);
    let expected = [("a", json!("failed")), ("b", Value::Null), ("c", Value::Null), ("d", Value::Null)];
    assert_eq!(states(&world, "r").await, expected.map(|(task, state)| (task.to_owned(), state)).into());
}

#[tokio::test]
async fn past_and_future_reach_other_runs() {
    let world = World::new().await;
    for (run, date) in [("r1", "2024-01-01"), ("r2", "2024-01-02"), ("r3", "2024-01-03")] {
        failed_run(&world, run, &format!("{date}T00:00:00Z")).await;
    }
    let body = |past: bool, future: bool| {
        json!({
            "task_id": "b", "execution_date": "2024-01-02T00:00:00Z", "new_state": "success", "include_upstream": false,
            "include_downstream": false, "include_future": future, "include_past": past,
        })
    };
    for (past, future, expected) in [
        (false, false, vec!["r2.b"]),
        (true, false, vec!["r1.b", "r2.b"]),
        (false, true, vec!["r2.b", "r3.b"]),
        (true, true, vec!["r1.b", "r2.b", "r3.b"]),
    ] {
        let answer = world.call("POST", "/dags/d/updateTaskInstancesState", body(past, future)).await;
        assert_eq!(tasks(&answer.json()), expected, "{past} {future}");
    }
    let clear = |past: bool, future: bool| json!({"dag_run_id": "r2", "include_past": past, "include_future": future});
    for (past, future, expected) in [(false, false, 2), (true, false, 4), (true, true, 6)] {
        let answer = world.call("POST", "/dags/d/clearTaskInstances", clear(past, future)).await;
        assert_eq!(tasks(&answer.json()).len(), expected, "{past} {future}");
    }
}

#[tokio::test]
async fn clearing_keeps_the_run_unless_told_otherwise() {
    let world = World::new().await;
    failed_run(&world, "r", "2024-01-01T00:00:00Z").await;
    let body = |reset: bool| {
        json!({
            "dag_run_id": "r", "task_ids": ["b"], "only_failed": false, "include_downstream": true, "dry_run": false,
            "reset_dag_runs": reset,
        })
    };
    let answer = world.call("POST", "/dags/d/clearTaskInstances", body(false)).await;
    assert_eq!(tasks(&answer.json()), ["r.b", "r.c"]);
    assert_eq!(run_state(&world, "r").await, "failed");
    let b = world.get("/dags/d/dagRuns/r/taskInstances/b").await.json();
    assert_eq!((&b["state"], &b["try_number"], &b["max_tries"]), (&Value::Null, &json!(1), &json!(1)));
    world.call("POST", "/dags/d/clearTaskInstances", body(true)).await;
    assert_eq!(run_state(&world, "r").await, "queued");
    let running = json!({"dag_run_id": "r", "only_failed": false, "only_running": true});
    assert_eq!(tasks(&world.call("POST", "/dags/d/clearTaskInstances", running).await.json()), [""; 0]);
}

#[tokio::test]
async fn a_failed_run_stops_what_runs_and_skips_the_rest() {
    let world = World::new().await;
    world.register("d", false, &[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])]).await;
    world.call("POST", "/dags/d/dagRuns", json!({"dag_run_id": "r"})).await;
    world.play("d", "r", &[("d", Some(Success), Value::Null), ("a", None, Value::Null)], None).await;
    assert_eq!(states(&world, "r").await["a"], "running");
    let answer = world.call("PATCH", "/dags/d/dagRuns/r", json!({"state": "failed"})).await;
    assert_eq!(answer.json()["state"], "failed");
    let expected = [("a", "failed"), ("b", "skipped"), ("c", "skipped"), ("d", "success")];
    assert_eq!(states(&world, "r").await, expected.map(|(task, state)| (task.to_owned(), json!(state))).into());
    let end = answer.json()["end_date"].clone();
    let answer = world.call("PATCH", "/dags/d/dagRuns/r", json!({"state": "failed"})).await;
    assert_eq!(answer.json()["end_date"], end);
}

#[tokio::test]
async fn a_waiting_task_says_what_it_waits_for() {
    let world = World::new().await;
    world.register("d", false, &[("a", &[]), ("b", &["a"])]).await;
    world.call("POST", "/dags/d/dagRuns", json!({"dag_run_id": "r"})).await;
    world.play("d", "r", &[("a", None, Value::Null)], None).await;
    let answer = world.get("/dags/d/dagRuns/r/taskInstances/b/dependencies").await.json();
    let names: Vec<_> = answer["dependencies"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
    assert_eq!(names, ["Task Instance State", "Trigger Rule"]);
    assert_eq!(
        answer["dependencies"][1]["reason"],
        "Task's trigger rule 'all_success' requires all upstream tasks to have succeeded, but found 1 non-success(es). \
         upstream_states=_UpstreamTIStates(success=0, skipped=0, failed=0, upstream_failed=0, removed=0, done=0, \
         success_setup=0, skipped_setup=0), upstream_task_ids={'a'}"
    );
}

#[tokio::test]
async fn a_log_is_read_in_parts_while_it_grows() {
    let world = World::new().await;
    world.register("d", false, &[("a", &[])]).await;
    world.call("POST", "/dags/d/dagRuns", json!({"dag_run_id": "r"})).await;
    world.play("d", "r", &[("a", None, Value::Null)], None).await;
    let key = LogKey { dag_id: "d".into(), run_id: "r".into(), task_id: "a".into(), map_index: -1, try_number: 1 };
    world.logs.append(&key, "it's\nönly \"one\"\n".as_bytes());
    let path = "/dags/d/dagRuns/r/taskInstances/a/logs/1";
    let host = world.get("/dags/d/dagRuns/r/taskInstances/a").await.json()["hostname"].as_str().unwrap().to_owned();
    let heading = " INFO - ::group::Log message source details\n*** Found local files:\n***   * \
                   dag_id=d/run_id=r/task_id=a/attempt=1.log\n INFO - ::endgroup::\n";
    let text = world.send("GET", &format!("/api/v1{path}"), &[("accept", "text/plain")], "").await;
    assert_eq!(text.text, format!("{host}\n{heading}it's\nönly \"one\"\n"));
    assert_eq!(text.content_type.as_deref(), Some("text/plain"));

    let first = world.get(path).await.json();
    let shown = format!("{heading}it\\'s\nönly \"one\"").replace('\n', "\\n");
    assert_eq!(first["content"], format!("[('{host}', '{shown}')]"));
    let token = first["continuation_token"].as_str().unwrap();
    let second = world.get(&format!("{path}?token={token}")).await.json();
    assert_eq!(second["content"], format!("[('{host}', '')]"));
    world.logs.append(&key, b"more\n");
    let third = world.get(&format!("{path}?token={token}")).await.json();
    assert_eq!(third["content"], format!("[('{host}', '\\nmore')]"));
    let refused = world.get(&format!("{path}?token={token}x")).await;
    assert_eq!(refused.json()["title"], "Bad Signature. Please use only the tokens provided by the API.");
}

#[tokio::test]
async fn the_event_log_says_who_asked_for_what() {
    let world = World::new().await;
    failed_run(&world, "r", "2024-01-01T00:00:00Z").await;
    world.call("PATCH", "/dags/d/dagRuns/r/setNote", json!({"note": "é"})).await;
    world.call("PATCH", "/dags/d/dagRuns/r/taskInstances/a/setNote", json!({"note": "n"})).await;
    world.call("PATCH", "/dags/d/dagRuns/r/taskInstances/a", json!({"new_state": "skipped", "dry_run": false})).await;
    world.call("POST", "/dags/d/clearTaskInstances", json!({"dag_run_id": "r", "dry_run": false})).await;
    world.call("POST", "/dags/d/dagRuns/r/clear", json!({"dry_run": false})).await;
    world.call("PATCH", "/dags/d/dagRuns/r", json!({"state": "success"})).await;
    world.send("DELETE", "/api/v1/dags/d/dagRuns/r", &[], "").await;
    let entries = world.storage.events(&EventLogQuery::default()).await.unwrap().items;
    let mine: Vec<_> = entries
        .iter()
        .filter(|entry| entry.event.starts_with("api."))
        .map(|entry| {
            assert_eq!(entry.owner.as_deref(), Some("admin"));
            (entry.event.as_str(), entry.run_id.as_deref(), entry.task_id.as_deref(), entry.extra.as_deref().unwrap())
        })
        .collect();
    let run = Some("r");
    let expected = [
        ("api.post_dag_run", None, None, r#"{"dag_run_id": "r", "logical_date": "2024-01-01T00:00:00Z"}"#),
        ("api.set_dag_run_note", run, None, r#"{"note": "\u00e9"}"#),
        ("api.set_task_instance_note", run, Some("a"), r#"{"note": "n"}"#),
        ("api.patch_task_instance", run, Some("a"), r#"{"new_state": "skipped", "dry_run": false}"#),
        ("api.post_clear_task_instances", None, None, r#"{"dag_run_id": "r", "dry_run": false}"#),
        ("api.clear_dag_run", run, None, r#"{"dry_run": false}"#),
        ("api.update_dag_run_state", run, None, r#"{"state": "success"}"#),
        ("api.delete_dag_run", run, None, "{}"),
    ];
    assert_eq!(mine, expected);
}

#[tokio::test]
async fn notes_and_single_instances() {
    let world = World::new().await;
    failed_run(&world, "r", "2024-01-01T00:00:00Z").await;
    let long = "x".repeat(1001);
    let path = "/dags/d/dagRuns/r/taskInstances/a/setNote";
    assert_eq!(world.call("PATCH", path, json!({"note": long})).await.status, 400);
    assert_eq!(world.call("PATCH", path, json!({"note": "x", "map_index": -1})).await.json()["note"], "x");
    let path = "/dags/d/dagRuns/r/taskInstances/b";
    let dry = world.call("PATCH", path, json!({"new_state": "success"})).await.json();
    assert_eq!(dry["task_id"], "b");
    assert_eq!(world.get(path).await.json()["state"], "failed");
    assert_eq!(world.call("PATCH", path, json!({"new_state": "success", "dry_run": false})).await.json(), json!({}));
    assert_eq!(world.get(path).await.json()["state"], "success");
    assert_eq!(states(&world, "r").await["c"], Value::Null);
}

#[tokio::test]
async fn what_is_unknown_is_named_before_what_is_missing() {
    let world = World::new().await;
    failed_run(&world, "r", "2024-01-01T00:00:00Z").await;
    for (path, missing) in [("/dags/d/dagRuns/r", "state"), ("/dags/d/dagRuns/r/setNote", "note")] {
        let refused = |body| async {
            let answer = world.call("PATCH", path, body).await;
            assert_eq!(answer.status, 400);
            answer.json()["detail"].clone()
        };
        assert_eq!(refused(json!({"nope": 1})).await, "{'nope': ['Unknown field.']}");
        assert_eq!(refused(json!({})).await, format!("{{'{missing}': ['Missing data for required field.']}}"));
    }
    let answer = world.call("PATCH", "/dags?dag_id_pattern=d&limit=-1", json!({"nope": 1})).await;
    assert_eq!(answer.json()["title"], "Page limit must be a positive integer");
}
