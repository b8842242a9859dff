//! Logs of tries that still run, and of logs that are too long for one piece.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::time::Duration;

use common::World;
use serde_json::{Value, json};
use updraft_core::id::UNMAPPED;
use updraft_core::log::{LogKey, LogStore};
use updraft_core::model::TaskState;

const PATH: &str = "/api/v1/dags/d/dagRuns/r/taskInstances/t/logs/1";
const TEXT: &[(&str, &str)] = &[("accept", "text/plain")];
const JSON: &[(&str, &str)] = &[("accept", "application/json")];

fn key() -> LogKey {
    LogKey { dag_id: "d".into(), run_id: "r".into(), task_id: "t".into(), map_index: UNMAPPED, try_number: 1 }
}

/// A world with one try, which runs or has succeeded.
async fn world(state: Option<TaskState>) -> World {
    let world = World::new().await;
    world.register("d", false, &[("t", &[])]).await;
    world.call("POST", "/dags/d/dagRuns", json!({"dag_run_id": "r"})).await;
    world.play("d", "r", &[("t", state, Value::Null)], None).await;
    world
}

async fn page(world: &World, token: Option<&str>) -> (String, String) {
    let token = token.map(|token| format!("?token={token}")).unwrap_or_default();
    let answer = world.send("GET", &format!("{PATH}{token}"), JSON, "").await.json();
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("content"), text("continuation_token"))
}

#[tokio::test]
async fn the_log_of_a_running_try_is_read_on_with_its_token() {
    let world = world(None).await;
    world.logs.append(&key(), b"one\ntwo\n");
    let (content, token) = page(&world, None).await;
    assert!(content.ends_with("INFO - ::endgroup::\\none\\ntwo')]"), "{content}");
    assert_eq!(page(&world, Some(&token)).await.0, "[('', '')]", "nothing new");
    world.logs.append(&key(), b"three\n");
    let (content, later) = page(&world, Some(&token)).await;
    assert_eq!(content, "[('', '\\nthree')]");
    assert_eq!(page(&world, Some(&later)).await.0, "[('', '')]");
}

#[tokio::test]
async fn text_is_what_a_running_try_has_written_so_far() {
    let world = world(None).await;
    world.logs.append(&key(), b"one\n");
    for query in ["", "?full_content=true"] {
        let path = format!("{PATH}{query}");
        let answer = tokio::time::timeout(Duration::from_secs(30), world.send("GET", &path, TEXT, "")).await.unwrap();
        assert_eq!(answer.content_type.as_deref(), Some("text/plain"));
        assert!(answer.text.ends_with("INFO - ::endgroup::\none\n"), "{}", answer.text);
        assert_eq!(answer.headers["content-length"], answer.text.len().to_string().as_str());
        let head = world.send("HEAD", &path, TEXT, "").await;
        assert_eq!((&head.headers["content-length"], head.text.as_str()), (&answer.headers["content-length"], ""));
    }
    // A token says nothing to those who want text: they get all of it.
    let (_, token) = page(&world, None).await;
    let answer = world.send("GET", &format!("{PATH}?token={token}"), TEXT, "").await;
    assert!(answer.text.ends_with("\none\n"), "{}", answer.text);
}

#[tokio::test]
async fn a_long_log_comes_whole() {
    let world = world(Some(TaskState::Success)).await;
    let mut log = String::new();
    for index in 0..300_000 {
        log.push_str(&format!("line {index:08} of a log that is longer\n"));
    }
    assert!(log.len() > 10 << 20);
    world.logs.append(&key(), log.as_bytes());

    let answer = world.send("GET", PATH, TEXT, "").await;
    assert!(answer.headers.get("content-length").is_none(), "it is sent as it is read");
    let (_, lines) = answer.text.split_once("INFO - ::endgroup::\n").unwrap();
    assert!(lines == log, "all lines, in order");
    let head = world.send("HEAD", PATH, TEXT, "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));

    let (first, mut token) = page(&world, None).await;
    assert!(first.len() < 6 << 20, "one part");
    let mut parts = first.split_once("::endgroup::\\n").unwrap().1.trim_end_matches("')]").to_owned();
    loop {
        let (content, next) = page(&world, Some(&token)).await;
        let part = content.strip_prefix("[('', '").unwrap().strip_suffix("')]").unwrap();
        if part.is_empty() {
            break;
        }
        parts.push_str(part);
        token = next;
    }
    assert!(parts.replace("\\n", "\n") + "\n" == log, "the parts make the log");
}
