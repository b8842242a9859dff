//! The check that all wire tests make of each answer: that it refuses what the document does not promise.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Answer, World, contract};
use http::HeaderMap;
use serde_json::{Value, json};

fn answer(status: u16, content_type: &str, text: impl ToString) -> Answer {
    Answer { status, headers: HeaderMap::new(), content_type: Some(content_type.to_owned()), text: text.to_string() }
}

fn pool(changes: Value) -> Value {
    let mut pool = json!({
        "name": "p", "slots": 1, "occupied_slots": 0, "used_slots": 0, "queued_slots": 0, "open_slots": 1, "running_slots": 0,
        "deferred_slots": 0, "scheduled_slots": 0, "description": null, "include_deferred": false,
    });
    pool.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    pool
}

#[test]
fn an_answer_is_as_its_schema_says() {
    let check =
        |value: Value| contract::check("GET", "/api/v1/pools/p?x=1", &answer(200, "application/json", value)).is_ok();
    assert!(check(pool(json!({}))));
    assert!(check(pool(json!({"description": "two"}))));
    assert!(!check(pool(json!({"description": 2}))));
    assert!(!check(pool(json!({"name": null}))));
    assert!(!check(pool(json!({"slots": "1"}))));
    assert!(!check(json!([])));
    let list = |value: Value| contract::check("GET", "/api/v1/pools", &answer(200, "application/json", value)).is_ok();
    assert!(list(json!({"pools": [pool(json!({}))], "total_entries": 1})));
    assert!(!list(json!({"pools": [pool(json!({"open_slots": "many"}))], "total_entries": 1})));
}

#[test]
fn a_status_and_a_type_are_documented() {
    let json = |method, target, status, value: Value| {
        contract::check(method, target, &answer(status, "application/json", value)).is_ok()
    };
    assert!(!json("GET", "/api/v1/pools/p", 201, pool(json!({}))));
    assert!(!json("GET", "/api/v1/pools/p", 500, json!({})));
    assert!(!json("GET", "/api/v1/pools/p", 404, json!({"detail": null, "status": 404, "title": null, "type": "t"})));
    assert!(contract::check("DELETE", "/api/v1/pools/p", &answer(204, "application/json", "")).is_ok());
    assert!(contract::check("DELETE", "/api/v1/pools/p", &answer(204, "application/json", "{}")).is_err());
    assert!(contract::check("GET", "/api/v1/pools/p", &answer(200, "text/plain", "p")).is_err());
    assert!(contract::check("GET", "/api/v1/dagSources/t", &answer(200, "text/plain", "p")).is_ok());
}

#[test]
fn a_problem_has_the_form_of_airflow() {
    let check = |status, value: Value| {
        contract::check("POST", "/api/v1/dags/d/dagRuns", &answer(status, "application/problem+json", value)).is_ok()
    };
    assert!(check(409, json!({"detail": "d", "status": 409, "title": "Conflict", "type": "t"})));
    assert!(check(400, json!({"detail": null, "status": 400, "title": "Bad Request", "type": "t"})));
    assert!(check(400, json!({"detail": "d", "status": 400, "title": null, "type": "t"})));
    assert!(!check(400, json!({"detail": "d", "status": 404, "title": "Bad Request", "type": "t"})));
    assert!(!check(400, json!({"status": 400, "title": "Bad Request", "type": "t"})));
    assert!(!check(400, json!({"detail": 1, "status": 400, "title": "Bad Request", "type": "t"})));
    assert!(!check(410, json!({"detail": "d", "status": 410, "title": "Gone", "type": "t"})));
}

#[tokio::test]
async fn every_operation_has_a_handler() {
    let world = World::new().await;
    let mut missing = Vec::new();
    for (method, path) in contract::operations() {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "1" } else { part });
        let target = format!("/api/v1{}", parts.collect::<Vec<_>>().join("/"));
        let answer = world.send("OPTIONS", &target, &[], "").await;
        let allowed = answer.headers.get("allow").map(|value| value.to_str().unwrap()).unwrap_or_default();
        if !allowed.split(", ").any(|allowed| allowed == method) {
            missing.push(format!("{method} {path}"));
        }
    }
    assert!(missing.is_empty(), "{} operations have none: {}", missing.len(), missing.join(", "));
}
