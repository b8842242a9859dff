//! Who may do what through Director's API, and what it says of requests that are wrong. What it answers to right ones is
//! tested with an engine behind it, by the facade's tests.
#![cfg(feature = "director")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use async_trait::async_trait;
use http::Request;
use http::request::Parts;
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value, json};
use tower::ServiceExt;
use updraft_core::clock::{Clock, SimulatedClock};
use updraft_core::dag::content_hash;
use updraft_core::id::IdSource;
use updraft_core::log::MemoryLogs;
use updraft_core::model::{Dag, OperatorRef, Task, WORKFLOW, Workflow, WorkflowTask};
use updraft_core::operator::Registry;
use updraft_core::service::{Service, Settings};
use updraft_core::storage::{DagRegistration, DagStorage};
use updraft_http_adapter::access::{
    AccessError, Action, Authenticator, Authorizer, Principal, Resource, RoleAuthorizer,
};
use updraft_http_adapter::director::Director;
use updraft_storage_memory::MemoryStorage;

/// Takes the header `x-role` for the caller's role.
#[derive(Debug)]
struct ByHeader;

#[async_trait]
impl Authenticator for ByHeader {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError> {
        let role = head.headers.get("x-role").map(|role| role.to_str().unwrap().to_owned());
        Ok(role.map(|role| Principal::named("ann", [role])))
    }

    fn challenge(&self) -> Option<&str> {
        Some("Basic")
    }
}

/// Lets nobody do anything to one DAG.
#[derive(Debug)]
struct ButSecret(RoleAuthorizer);

#[async_trait]
impl Authorizer for ButSecret {
    async fn permits(
        &self,
        principal: &Principal,
        action: Action,
        resource: Resource,
        dag: Option<&str>,
    ) -> Result<bool, AccessError> {
        Ok(dag != Some("a.SECRET") && self.0.permits(principal, action, resource, dag).await?)
    }
}

fn workflow(name: &str, schema: Option<Value>) -> Dag {
    let mut dag = Dag::new(name);
    let mut task = Task::new("A", OperatorRef::from_path("A"));
    task.extra.insert(WORKFLOW.into(), WorkflowTask::facts("A", false, json!([null])));
    let mut end = Task::new("end", OperatorRef::from_path("EmptyOperator"));
    Registry::default().info("EmptyOperator").unwrap().apply_to(&mut end);
    end.upstream = vec![updraft_core::id::TaskIx(0)];
    dag.tasks = vec![task, end];
    dag.tags = vec![WORKFLOW.into()];
    let mut definition = Map::from_iter([("tasks".to_owned(), json!(["A"]))]);
    definition.extend(schema.map(|schema| ("schema".to_owned(), schema)));
    dag.extra.insert(WORKFLOW.into(), Workflow::facts(definition, None));
    dag
}

async fn director() -> Director {
    let clock = SimulatedClock::new("2026-11-21T13:07:42.100001Z".parse().unwrap());
    let storage = Arc::new(MemoryStorage::new(Arc::new(clock.clone())));
    let schema =
        json!({"required": ["n"], "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}});
    let mut airflows = Dag::new("a.AIRFLOWS");
    airflows.tasks = vec![Task::new("A", OperatorRef::from_path("A"))];
    for dag in [workflow("a.PLAIN", None), workflow("a.SECRET", None), workflow("a.SCHEMA", Some(schema)), airflows] {
        let content_hash = content_hash(&dag);
        let dag = DagRegistration { dag: Arc::new(dag), content_hash, paused_upon_creation: false, source: None };
        storage.register_dags(clock.now(), vec![dag]).await.unwrap();
    }
    let service = Service::new(storage, Arc::new(MemoryLogs::default()), IdSource::from_seed(1), Settings::default());
    let authorizer = RoleAuthorizer::new(service.clone());
    Director::builder(service).authenticator(ByHeader).authorizer(ButSecret(authorizer)).build()
}

async fn send(director: &Director, role: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.header("x-role", role).body(Full::<bytes::Bytes>::from(body.to_owned())).unwrap();
    let response = director.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn launch(name: &str, payload: Value) -> String {
    json!({"project": "a", "name": name, "payload": payload}).to_string()
}

#[tokio::test]
async fn roles_hold_here_as_everywhere() {
    let director = director().await;
    let refused = json!({"error": "forbidden", "message": "You are not allowed to do this.", "status": 403});
    let body = launch("PLAIN", json!({}));
    for (role, method, path, status) in [
        ("Public", "GET", "/api/workflows", 403),
        ("Public", "GET", "/api/definitions", 403),
        ("Public", "GET", "/api/ping", 200),
        ("Viewer", "GET", "/api/workflows", 200),
        ("Viewer", "GET", "/api/definitions", 200),
        ("Viewer", "POST", "/api/workflows", 403),
        ("Viewer", "POST", "/api/workflows/not-even-an-id/cancel", 403),
        ("User", "POST", "/api/workflows", 201),
        ("User", "POST", "/api/workflows/not-even-an-id/cancel", 404),
    ] {
        let (found, answer) = send(&director, role, method, path, &body).await;
        assert_eq!(found, status, "{role} {method} {path}");
        assert!(status != 403 || answer == refused, "{answer}");
    }
    let (_, launched) = send(&director, "User", "POST", "/workflows", &body).await;
    let id = launched["id"].as_str().unwrap();
    assert_eq!(send(&director, "Viewer", "GET", &format!("/api/workflows/{id}"), "").await.0, 200);
    assert_eq!(send(&director, "Viewer", "POST", &format!("/api/workflows/{id}/relaunch"), "").await.0, 403);
    // One DAG alone.
    let secret = launch("SECRET", json!({}));
    assert_eq!(send(&director, "Admin", "POST", "/api/workflows", &secret).await, (403, refused));
}

#[tokio::test]
async fn what_is_wrong_is_said_in_directors_words() {
    let director = director().await;
    let not_valid = |errors: Value| json!({"error": "Payload is not valid", "errors": errors});
    let not_found = |name: &str| json!({"error": format!("Workflow a.{name} not found")});
    let long = json!({"project": "a", "name": "PLAIN", "payload": {}, "comment": "c".repeat(256)}).to_string();
    let malformed = json!({"error": "The browser (or proxy) sent a request that this server could not understand."});
    for (body, status, expected) in [
        (launch("SCHEMA", json!({})), 400, not_valid(json!(["'n' is a required property"]))),
        (launch("SCHEMA", json!({"n": "x"})), 400, not_valid(json!(["'x' is not of type 'integer'"]))),
        (launch("NOPE", json!({})), 404, not_found("NOPE")),
        (launch("AIRFLOWS", json!({})), 404, not_found("AIRFLOWS")),
        (launch("PLAIN", json!({"nul": "\0"})), 400, malformed.clone()),
        (format!("{}1{}", "[".repeat(5000), "]".repeat(5000)), 400, malformed),
    ] {
        assert_eq!(send(&director, "Admin", "POST", "/api/workflows", &body).await, (status, expected), "{body}");
    }
    let (status, answer) = send(&director, "Admin", "POST", "/api/workflows", &long).await;
    assert_eq!((status, answer["errors"][0].as_str().unwrap().ends_with("' is too long")), (400, true));
    assert_eq!(send(&director, "Admin", "GET", "/api/workflows", "").await, (200, json!([])), "nothing is left behind");
    let (_, definitions) = send(&director, "Admin", "GET", "/api/definitions", "").await;
    let names: Vec<_> = definitions.as_array().unwrap().iter().map(|one| one["fullname"].clone()).collect();
    assert_eq!(names, ["a.PLAIN", "a.SCHEMA", "a.SECRET"]);
}
