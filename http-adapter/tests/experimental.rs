//! Airflow's experimental API, asked through a socket.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{World, dag, param};
use http::header::AUTHORIZATION;
use http::request::Parts;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use regex::Regex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use updraft_core::clock::Clock;
use updraft_core::dag::content_hash;
use updraft_core::id::IdSource;
use updraft_core::model::{Dag, OperatorRef, RunState, TaskState};
use updraft_core::service::{Actor, NewPool, Service, Settings, TriggerRequest};
use updraft_core::storage::{DagRegistration, DagStorage, EventLogQuery, EventLogStorage};
use updraft_http_adapter::access::{AccessError, Authenticator, Principal};
use updraft_http_adapter::airflow_experimental::AirflowExperimental;
use updraft_storage_memory::MemoryStorage;

/// Knows everybody by a token that is the name of the caller's role.
#[derive(Debug)]
struct ByRole;

#[async_trait]
impl Authenticator for ByRole {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError> {
        let given = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Role "));
        Ok(given.map(|role| Principal::named(role.to_lowercase(), [role.to_owned()])))
    }

    fn challenge(&self) -> Option<&str> {
        Some("Basic")
    }
}

/// The API behind a socket, over an embedded storage whose runs are played by hand.
struct Api {
    world: World,
    service: Service,
    address: SocketAddr,
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    #[track_caller]
    fn assert(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text.as_str()), (status, text));
    }

    #[track_caller]
    fn assert_error(&self, status: u16, error: &str) {
        assert_eq!((self.status, self.json()), (status, json!({"error": error})));
    }
}

impl Api {
    async fn new() -> Self {
        Self::with_anonymous(None).await
    }

    async fn with_anonymous(role: Option<&str>) -> Self {
        let world = World::new().await;
        let ids = IdSource::from_seed(2);
        let service = Service::new(world.storage.clone(), world.logs.clone(), ids, Settings::default());
        let mut builder = AirflowExperimental::builder(service.clone(), Arc::new(world.clock.clone()));
        if let Some(role) = role {
            builder = builder.anonymous_role(role);
        }
        let api = builder.authenticator(Arc::new(ByRole)).build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(api.clone());
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move { connection.serve_connection(TokioIo::new(stream), service).await });
            }
        });
        Self { world, service, address }
    }

    async fn register(&self, dag: Dag, paused: bool, source: Option<&str>) {
        let registration = DagRegistration {
            content_hash: content_hash(&dag),
            dag: Arc::new(dag),
            paused_upon_creation: paused,
            source: source.map(Into::into),
        };
        self.world.storage.register_dags(self.world.clock.now(), vec![registration]).await.unwrap();
    }

    /// A DAG of two tasks, with a run of 2024-02-01 that has ended well.
    async fn with_run(self) -> Self {
        self.world.register("d", false, &[("a", &[]), ("b", &["a"])]).await;
        self.run("d", "r", "2024-02-01T00:00:00Z").await;
        let done = |task| (task, Some(TaskState::Success), json!("done"));
        self.world.play("d", "r", &[done("a"), done("b")], Some(RunState::Success)).await;
        self
    }

    async fn run(&self, dag_id: &str, run_id: &str, date: &str) {
        let dag = self.service.dag_to_trigger(dag_id).await.unwrap();
        let logical_date = Some(DateTime::parse_from_rfc3339(date).unwrap());
        let request = TriggerRequest { run_id: Some(run_id.into()), logical_date, ..TriggerRequest::default() };
        self.service.trigger(&dag, request, &Actor::default()).await.unwrap();
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, text) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status, headers, text: text.to_owned() }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, &format!("/api/experimental{path}"), &[("Authorization", "Role Admin")], body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    async fn events(&self) -> Vec<(String, Option<String>)> {
        let events = self.world.storage.events(&EventLogQuery::default()).await.unwrap().items;
        let experimental = events.iter().filter(|event| event.event.starts_with("experimental."));
        experimental.map(|event| (event.event.to_string(), event.owner.clone())).collect()
    }
}

#[tokio::test]
async fn every_answer_says_that_the_api_is_an_old_one() {
    let api = Api::new().await;
    let answer = api.get("/test").await;
    answer.assert(200, r#"{"status": "OK"}"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("content-length"), Some("16"));
    assert_eq!(answer.header("deprecation"), Some("true"));
    assert_eq!(
        answer.header("link"),
        Some(
            "<https://airflow.apache.org/docs/apache-airflow/2.11.2/upgrading-to-2.html#migration-guide-from-experimental-api-to-stable-api-v1>; rel=\"deprecation\"; type=\"text/html\""
        )
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("set-cookie"), None);
    api.get("/info").await.assert(200, r#"{"version": "2.11.2"}"#);
}

#[tokio::test]
async fn methods_and_paths_are_those_of_airflow() {
    let api = Api::new().await;
    for (method, path, status) in [
        ("POST", "/test", 405),
        ("PUT", "/pools", 405),
        ("GET", "/dags/x", 405),
        ("PATCH", "/dags/x/paused", 405),
        ("GET", "/test/", 404),
        ("GET", "", 404),
        ("GET", "/", 404),
        ("GET", "/nope", 404),
        ("OPTIONS", "/nope", 404),
        ("GET", "/dags/x/dag_runs/05%2F06%2F2024", 404),
        ("GET", "/pools/a%00b", 404),
        ("GET", "/pools/%ff", 404),
    ] {
        let answer = api.call(method, path, "").await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}");
        assert_eq!(answer.header("deprecation"), None, "{method} {path}");
    }
    for (path, methods) in [
        ("/test", "GET, HEAD, OPTIONS"),
        ("/pools", "POST, GET, HEAD, OPTIONS"),
        ("/pools/x", "DELETE, GET, HEAD, OPTIONS"),
        ("/dags/x", "DELETE, OPTIONS"),
        ("/dags/x/dag_runs", "POST, GET, HEAD, OPTIONS"),
    ] {
        // As in Airflow, nobody is asked who they are.
        let answer = api.send("OPTIONS", &format!("/api/experimental{path}"), &[], "").await;
        answer.assert(200, "");
        assert_eq!(answer.header("allow"), Some(methods), "{path}");
        assert_eq!(answer.header("deprecation"), Some("true"), "{path}");
    }
    let head = api.call("HEAD", "/pools/nope", "").await;
    assert_eq!((head.status, head.text.as_str(), head.header("content-length")), (404, "", Some("38")));
    let doubled = api.get("//pools?x=1").await;
    assert_eq!((doubled.status, doubled.header("location")), (308, Some("/api/experimental/pools?x=1")));
    // A host that nests services takes the prefix away.
    assert_eq!(api.send("GET", "/test", &[("Authorization", "Role Admin")], "").await.status, 200);
}

#[tokio::test]
async fn nobody_gets_in_without_credentials() {
    let api = Api::new().await;
    for headers in [&[][..], &[("Authorization", "Basic d3Jvbmc6d3Jvbmc=")]] {
        let refused = api.send("GET", "/api/experimental/test", headers, "").await;
        refused.assert(401, "Unauthorized");
        assert_eq!(refused.header("www-authenticate"), Some("Basic"));
        assert_eq!(refused.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(refused.header("deprecation"), Some("true"));
    }
    // The caller is asked before the body is read.
    assert_eq!(api.send("POST", "/api/experimental/pools", &[], "{").await.status, 401);
    let open = Api::with_anonymous(Some("Public")).await;
    assert_eq!(open.send("GET", "/api/experimental/test", &[], "").await.status, 200);
    let wrong = open.send("GET", "/api/experimental/test", &[("Authorization", "Basic x")], "").await;
    assert_eq!(wrong.status, 401, "wrong credentials are worse than none");
    open.send("GET", "/api/experimental/pools", &[], "").await.assert_error(403, "Forbidden");
}

#[tokio::test]
async fn each_route_asks_for_its_permission() {
    let api = Api::new().await.with_run().await;
    let pool = r#"{"name": "p", "slots": 1, "description": ""}"#;
    for (method, path, body, least) in [
        ("GET", "/test", "", "Public"),
        ("GET", "/info", "", "Public"),
        ("GET", "/latest_runs", "", "Viewer"),
        ("GET", "/dags/d/dag_runs", "", "Viewer"),
        ("GET", "/dags/d/dag_runs/2024-02-01", "", "Viewer"),
        ("GET", "/dags/d/dag_runs/2024-02-01/tasks/a", "", "Viewer"),
        ("GET", "/dags/d/tasks/a", "", "Viewer"),
        ("GET", "/dags/d/code", "", "Viewer"),
        ("GET", "/dags/d/paused", "", "Viewer"),
        ("GET", "/lineage/d/2024-02-01", "", "Viewer"),
        ("GET", "/pools", "", "Viewer"),
        ("GET", "/pools/default_pool", "", "Viewer"),
        ("GET", "/dags/d/paused/true", "", "User"),
        ("POST", "/dags/d/dag_runs", "{}", "User"),
        ("DELETE", "/dags/unknown", "", "User"),
        ("POST", "/pools", pool, "Op"),
        ("DELETE", "/pools/p", "", "Op"),
    ] {
        let may = ["Public", "Viewer", "User", "Op", "Admin"].iter().skip_while(|role| **role != least);
        let may: Vec<_> = may.collect();
        for role in ["Public", "Viewer", "User", "Op"] {
            let authorization = format!("Role {role}");
            let path = format!("/api/experimental{path}");
            let answer = api.send(method, &path, &[("Authorization", &authorization)], body).await;
            assert_eq!(answer.status != 403, may.contains(&&role), "{method} {path} as {role}: {}", answer.status);
        }
    }
}

#[tokio::test]
async fn a_run_is_triggered() {
    let api = Api::new().await;
    api.world.register("d", true, &[("a", &[])]).await;
    let trigger = |body: Value| {
        let body = body.to_string();
        let api = &api;
        async move { api.call("POST", "/dags/d/dag_runs", &body).await }
    };
    // The clock stands at 13:07:42.100001.
    let first = trigger(json!({})).await;
    assert_eq!(
        first.json(),
        json!({
            "execution_date": "2026-11-21T13:07:42+00:00",
            "message": "Created <DagRun d @ 2026-11-21 13:07:42+00:00: manual__2026-11-21T13:07:42+00:00, state:queued, queued_at: 2026-11-21 13:07:42.100001+00:00. externally triggered: True>",
            "run_id": "manual__2026-11-21T13:07:42+00:00",
        })
    );
    trigger(json!({"run_id": "other"}))
        .await
        .assert_error(400, "A DAG Run already exists for DAG d at 2026-11-21 13:07:42+00:00 with run id other");
    let fine = trigger(json!({"replace_microseconds": "false", "run_id": null})).await;
    assert_eq!(fine.json()["execution_date"], "2026-11-21T13:07:42.100001+00:00");
    // A moment that is free to choose is chosen so that it is free.
    let next = trigger(json!({"replace_microseconds": false})).await;
    assert_eq!(next.json()["execution_date"], "2026-11-21T13:07:42.100002+00:00");
    let dated =
        trigger(json!({"execution_date": "05/06/2024 10:00:00.25 +02:00", "conf": {"k": 1}, "run_id": "x"})).await;
    assert_eq!(
        (dated.status, dated.json()["execution_date"].clone()),
        (200, "2024-05-06T10:00:00.250000+02:00".into())
    );
    let run = api.service.dag_run("d", "x").await.unwrap();
    assert_eq!((run.conf, run.logical_date), (json!({"k": 1}), "2024-05-06T08:00:00.25Z".parse().unwrap()));
    trigger(json!({"execution_date": "2024-05-06T08:00:00.25Z"})).await.assert_error(
        400,
        "A DAG Run already exists for DAG d at 2024-05-06 08:00:00.250000+00:00 with run id manual__2024-05-06T08:00:00.250000+00:00",
    );
    for (date, cuts) in [("2024-05-07T00:00:00.5", json!("Yes")), ("2024-05-08T00:00:00.5", json!(true))] {
        let cut = trigger(json!({"execution_date": date, "replace_microseconds": cuts})).await;
        assert_eq!(cut.json()["execution_date"], format!("{}+00:00", &date[..19]));
    }
    // As in Airflow, what is no object has no members.
    api.world.clock.advance(Duration::from_secs(5));
    assert_eq!(trigger(json!([])).await.status, 200);
    api.world.clock.advance(Duration::from_secs(5));
    assert_eq!(trigger(json!("text")).await.status, 200);
}

#[tokio::test]
async fn a_wrong_trigger_is_refused() {
    let api = Api::new().await;
    let mut dag = dag("d", &[("a", &[])]);
    dag.params = vec![param("n", json!(1), json!({"type": "integer"}))];
    api.register(dag, true, None).await;
    for (body, error) in [
        (json!({"conf": "{}"}), "Dag Run conf must be a dictionary object, other types are not supported"),
        (json!({"conf": null}), "Dag Run conf must be a dictionary object, other types are not supported"),
        (
            json!({"execution_date": "P1D"}),
            "Given execution date, P1D, could not be identified as a date. Example date format: 2015-11-16T14:34:15+00:00",
        ),
        (
            json!({"execution_date": 5}),
            "Given execution date, 5, could not be identified as a date. Example date format: 2015-11-16T14:34:15+00:00",
        ),
        (json!({"run_id": 5}), "`run_id` should be a str"),
        (json!({"replace_microseconds": 5}), "replace_microseconds must be 'true' or 'false'"),
        (
            json!({"run_id": "a b"}),
            "The provided run ID 'a b' is invalid. It does not match the pattern '^[A-Za-z0-9_.~:+-]+$'",
        ),
        (json!({"run_id": "a\u{0}"}), "The request body holds a NUL character"),
        (json!(null), "The request body must be a JSON object"),
        (json!(["run_id"]), "The request body must be a JSON object"),
    ] {
        api.call("POST", "/dags/d/dag_runs", &body.to_string()).await.assert_error(400, error);
    }
    let param = api.call("POST", "/dags/d/dag_runs", r#"{"conf": {"n": "x"}}"#).await;
    let error = param.json()["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("Invalid input for param n: 'x' is not of type 'integer'"), "{error}");
    for body in ["", "{", "nan", &"[".repeat(100_000)] {
        let page = api.call("POST", "/dags/d/dag_runs", body).await;
        assert_eq!((page.status, page.header("content-type")), (400, Some("text/html; charset=utf-8")));
        assert!(page.text.starts_with("<!doctype html>\n<html lang=en>\n<title>400 Bad Request</title>\n"));
    }
    let large = format!(r#"{{"conf": {{"k": "{}"}}}}"#, "x".repeat(1024 * 1024));
    assert_eq!(api.call("POST", "/dags/d/dag_runs", &large).await.status, 413);
    api.call("POST", "/dags/no/dag_runs", "{}").await.assert_error(404, "Dag id no not found in DagModel");
    api.world.storage.deactivate_dags(api.world.clock.now(), &["d".into()]).await.unwrap();
    api.call("POST", "/dags/d/dag_runs", "{}").await.assert_error(404, "Dag id d not found");
}

#[tokio::test]
async fn runs_are_shown() {
    let api = Api::new().await.with_run().await;
    api.run("d", "early", "2023-01-01T00:00:00.5Z").await;
    let runs = api.get("/dags/d/dag_runs").await.json();
    let shown: Vec<_> = runs.as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap()).collect();
    assert_eq!(shown, ["early", "r"], "by date, not by creation");
    assert_eq!(
        runs[0],
        json!({
            "dag_id": "d",
            "dag_run_url": "/dags/d/graph?execution_date=2023-01-01+00:00:00.500000%2B00:00",
            "execution_date": "2023-01-01T00:00:00.500000+00:00",
            "id": runs[0]["id"],
            "run_id": "early",
            "start_date": "",
            "state": "queued",
        })
    );
    assert!(runs[1]["start_date"].as_str().unwrap().starts_with("2026-11-21T13:"));
    for (query, expected) in [("state=SUCCESS", 1), ("state=", 2), ("state=running&state=success", 0), ("x=1", 2)] {
        let runs = api.get(&format!("/dags/d/dag_runs?{query}")).await.json();
        assert_eq!(runs.as_array().unwrap().len(), expected, "{query}");
    }
    api.get("/dags/d/dag_runs?state=nope").await.assert_error(400, "'nope' is not a valid DagRunState");
    api.get("/dags/no/dag_runs").await.assert_error(400, "Dag id no not found in DagModel");
    api.get("/dags/d/dag_runs/Feb%201,%202024").await.assert(200, r#"{"state": "success"}"#);
    api.get("/dags/d/dag_runs/2024-02-01T02:00:00+02:00").await.assert(200, r#"{"state": "success"}"#);
    api.get("/dags/d/dag_runs/2024-02-02")
        .await
        .assert_error(404, "Dag Run for date 2024-02-02 00:00:00+00:00 not found in dag d");
    api.get("/dags/no/dag_runs/2024-02-02").await.assert_error(404, "Dag id no not found in DagModel");
    let refused = api.get("/dags/no/dag_runs/soon").await;
    assert_eq!(refused.status, 400, "the date is looked at first");
    api.world.register("e", true, &[("a", &[])]).await;
    let latest = api.get("/latest_runs").await.json();
    assert_eq!(latest["items"].as_array().unwrap().len(), 1, "e has no run");
    assert_eq!(latest["items"][0]["execution_date"], "2024-02-01T00:00:00+00:00");
}

#[tokio::test]
async fn tasks_are_shown_as_python_prints_them() {
    let api = Api::new().await.with_run().await;
    let task = api.get("/dags/d/tasks/b").await.json();
    for (name, text) in [
        ("upstream_task_ids", "{'a'}"),
        ("downstream_task_ids", "set()"),
        ("retry_delay", "0:05:00"),
        ("depends_on_past", "False"),
        ("params", "{}"),
        ("retries", "0"),
    ] {
        assert_eq!(task[name], text, "{name}");
    }
    api.get("/dags/d/tasks/no").await.assert_error(404, "Task no not found in dag d");
    api.get("/dags/no/tasks/no").await.assert_error(404, "Dag id no not found in DagModel");
    let instance = api.get("/dags/d/dag_runs/2024-02-01/tasks/a").await.json();
    assert_eq!((&instance["state"], &instance["try_number"]), (&json!("success"), &json!("1")));
    assert!(
        instance["dag_run"].as_str().unwrap().starts_with("<DagRun d @ 2024-02-01 00:00:00+00:00: r, state:success, ")
    );
    api.get("/dags/d/dag_runs/2024-02-01/tasks/no").await.assert_error(404, "Task no not found in dag d");
    api.get("/dags/d/dag_runs/2024-02-02/tasks/a")
        .await
        .assert_error(404, "Dag Run for date 2024-02-02 00:00:00+00:00 not found in dag d");
    assert_eq!(api.get("/dags/d/dag_runs/soon/tasks/a").await.status, 400);
}

#[tokio::test]
async fn dags_are_paused_read_and_deleted() {
    let api = Api::new().await.with_run().await;
    for (value, paused) in [("true", true), ("TRUE", false), ("true", true), ("false", false)] {
        api.get(&format!("/dags/d/paused/{value}")).await.assert(200, r#"{"response": "ok"}"#);
        assert_eq!(api.get("/dags/d/paused").await.json(), json!({"is_paused": paused}));
    }
    for path in ["/dags/no/paused", "/dags/no/paused/true", "/dags/no/code"] {
        api.get(path).await.assert_error(404, "Dag id no not found in DagModel");
    }
    api.get("/dags/d/code")
        .await
        .assert_error(404, "Error the source of '' does not exist while reading Dag id d Code");
    let mut with_source = dag("s", &[("a", &[])]);
    with_source.fileloc = "/dags/s.py".into();
    api.register(with_source, true, Some("<script>alert('é')</script>\n")).await;
    let code = api.get("/dags/s/code").await;
    code.assert(200, "<script>alert('é')</script>\n");
    assert_eq!(code.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(code.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    api.run("d", "live", "2024-03-01T00:00:00Z").await;
    api.world.play("d", "live", &[("a", None, Value::Null)], None).await;
    api.call("DELETE", "/dags/d", "").await.assert_error(409, "TaskInstances still running");
    api.call("DELETE", "/dags/s", "").await.assert(200, r#"{"count": 1, "message": "Removed 1 record(s)"}"#);
    api.call("DELETE", "/dags/s", "").await.assert_error(404, "Dag id s not found");
}

#[tokio::test]
async fn pools_are_made_changed_and_deleted() {
    let api = Api::new().await;
    let put = |body: Value| {
        let body = body.to_string();
        let api = &api;
        async move { api.call("POST", "/pools", &body).await }
    };
    let made = put(json!({"name": "p é", "slots": " 5_0 ", "description": null})).await;
    let id = made.json()["id"].clone();
    made.assert(
        200,
        &format!(r#"{{"description": null, "id": {id}, "include_deferred": false, "pool": "p \u00e9", "slots": 50}}"#),
    );
    let changed = put(json!({"name": "p é", "slots": -7, "description": 5})).await;
    assert_eq!((changed.json()["slots"].clone(), changed.json()["id"].clone()), (json!(-7), id));
    assert_eq!(api.get("/pools/p%20%C3%A9").await.json()["description"], "5");
    assert_eq!(api.get("/pools").await.json().as_array().unwrap().len(), 2);
    for (body, error) in [
        (json!({"name": "q"}), "create_pool() misses the argument 'slots'"),
        (
            json!({"name": "q", "slots": 1, "description": "", "include_deferred": true}),
            "create_pool() got an unexpected keyword argument 'include_deferred'",
        ),
        (json!({"name": " ", "slots": "x", "description": ""}), "Pool name shouldn't be empty"),
        (json!({"name": null, "slots": 1, "description": ""}), "Pool name shouldn't be empty"),
        (json!({"name": 5, "slots": 1, "description": ""}), "Pool name should be a str"),
        (json!({"name": "q", "slots": "1.5", "description": ""}), "Bad value for `slots`: 1.5"),
        (json!({"name": "q", "slots": null, "description": ""}), "Bad value for `slots`: None"),
        (json!({"name": "q", "slots": 99_999_999_999_u64, "description": ""}), "Bad value for `slots`: 99999999999"),
        (
            json!({"name": "q".repeat(257), "slots": 1, "description": ""}),
            "Pool name can't be more than 256 characters",
        ),
        (json!([]), "The request body must be a JSON object"),
    ] {
        put(body).await.assert_error(400, error);
    }
    api.get("/pools/no").await.assert_error(404, "Pool 'no' doesn't exist");
    api.get("/pools/%20").await.assert_error(400, "Pool name shouldn't be empty");
    assert_eq!(api.call("DELETE", "/pools/p%20%C3%A9", "").await.json()["slots"], -7);
    api.call("DELETE", "/pools/p%20%C3%A9", "").await.assert_error(404, "Pool 'p é' doesn't exist");
    api.call("DELETE", "/pools/default_pool", "").await.assert_error(400, "default_pool cannot be deleted");
}

#[tokio::test]
async fn lineage_is_that_of_tasks_that_succeeded() {
    let api = Api::new().await;
    let mut declared = dag("d", &[("a", &[]), ("b", &["a"]), ("c", &[])]);
    declared.tasks[0].outlets = vec![json!("s3://one")];
    declared.tasks[1].inlets = vec![json!("s3://one")];
    declared.tasks[1].outlets = vec![json!("s3://two")];
    api.register(declared, false, None).await;
    api.run("d", "r", "2024-02-01T00:00:00Z").await;
    api.get("/lineage/d/2024-02-01").await.assert(200, r#"{"task_ids": {}}"#);
    let done = |task| (task, Some(TaskState::Success), json!("done"));
    api.world.play("d", "r", &[done("a"), done("c")], None).await;
    let outlet = |uri: &str| json!([format!("airflow.datasets.Dataset@version=1(uri={uri},extra=None)")]);
    let lineage = api.get("/lineage/d/2024-02-01").await.json();
    assert_eq!(lineage, json!({"task_ids": {"a": {"outlets": outlet("s3://one")}}}));
    api.world.play("d", "r", &[done("b")], Some(RunState::Success)).await;
    let lineage = api.get("/lineage/d/2024-02-01").await.json();
    assert_eq!(lineage["task_ids"]["b"], json!({"inlets": outlet("s3://one"), "outlets": outlet("s3://two")}));
    api.get("/lineage/no/2024-02-01").await.assert_error(404, "Dag id no not found in DagModel");
    assert_eq!(api.get("/lineage/d/soon").await.status, 400);
    assert_eq!(api.get("/lineage/d/2024-02-02").await.status, 404);
}

#[tokio::test]
async fn changes_are_in_the_event_log() {
    let api = Api::new().await;
    api.world.register("d", true, &[("a", &[])]).await;
    api.call("POST", "/dags/d/dag_runs", "{}").await;
    api.call("POST", "/dags/d/dag_runs", "{}").await;
    api.get("/dags/d/paused/true").await;
    api.call("POST", "/pools", r#"{"name": "p", "slots": 1, "description": ""}"#).await;
    api.call("DELETE", "/pools/p", "").await;
    api.call("DELETE", "/dags/d", "").await;
    let mut events = api.events().await;
    events.sort();
    let by_admin = |event: &str| (format!("experimental.{event}"), Some("admin".to_owned()));
    assert_eq!(
        events,
        ["delete_dag", "delete_pool", "patch_dag", "post_dag_run", "post_pool"].map(by_admin),
        "of the refused second run nothing is told"
    );
}

/// What of a recording differs from moment to moment, or from storage to storage.
fn settled(value: &Value) -> Value {
    let moment = Regex::new(r"2026-11-21[T +]13:\d\d:\d\d(\.\d+)?").unwrap();
    let address = Regex::new(r" at 0x[0-9a-f]+>").unwrap();
    match value {
        Value::String(text) => address.replace_all(&moment.replace_all(text, "NOW"), ">").into_owned().into(),
        Value::Array(items) => {
            let mut items: Vec<_> = items.iter().map(settled).collect();
            // PostgreSQL lists the pool that was changed last at the end.
            items.sort_by_key(|item| item.get("pool").map(Value::to_string));
            items.into()
        }
        Value::Object(members) => {
            const OTHER: &[&str] = &[
                "id",
                "job_id",
                "queued_by_job_id",
                "pid",
                "hostname",
                "unixname",
                "duration",
                "max_tries",
                "try_number",
            ];
            let kept = members.iter().filter(|(name, _)| !OTHER.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), settled(value))).collect()
        }
        other => other.clone(),
    }
}

/// What the recorded server knew.
async fn recorded_world(api: &Api, recordings: &[Value]) {
    let recorded = |name: &str| recordings.iter().find(|recording| recording["name"] == name).unwrap();
    let like_recorded = |mut dag: Dag| {
        dag.start_date = Some("2024-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap());
        for task in &mut dag.tasks {
            task.owner = "lab".into();
            task.template_fields = ["bash_command", "env", "cwd"].map(Into::into).into();
            task.ui_color = "#f0ede4".into();
        }
        dag
    };
    let mut etl =
        like_recorded(dag("etl_chain", &[("extract", &[]), ("transform", &["extract"]), ("load", &["transform"])]));
    etl.fileloc = "/dags/etl_chain.py".into();
    etl.tasks[2].arguments.insert("bash_command".into(), "echo loaded".into());
    api.register(etl, false, recorded("exp.code")["text"].as_str()).await;
    let mut producer = like_recorded(dag("dataset_producer", &[("produce", &[]), ("produce_two", &["produce"])]));
    producer.tasks[0].outlets = vec![json!("s3://lab/one.csv")];
    producer.tasks[1].outlets = vec![json!("s3://lab/two.csv")];
    producer.tasks[1].operator = OperatorRef::from_path("airflow.operators.empty.EmptyOperator");
    api.register(producer, false, None).await;
    api.world.register("never_unpaused", true, &[("a", &[]), ("b", &["a"])]).await;
    api.world.register("sched_once", true, &[("a", &[])]).await;
    let done = |task| (task, Some(TaskState::Success), json!("done"));
    api.run("etl_chain", "rec_1", "2024-02-01T00:00:00Z").await;
    let steps = [done("extract"), done("transform"), done("load")];
    api.world.play("etl_chain", "rec_1", &steps, Some(RunState::Success)).await;
    api.run("dataset_producer", "rec_1", "2026-11-21T13:07:59.740008Z").await;
    let steps = [done("produce"), done("produce_two")];
    api.world.play("dataset_producer", "rec_1", &steps, Some(RunState::Success)).await;
    for run in recorded("exp.runs")["answer"].as_array().unwrap() {
        // Later ones are triggered by the recording itself.
        if run["id"].as_i64().unwrap() < 53 {
            let (run_id, date) = (run["run_id"].as_str().unwrap(), run["execution_date"].as_str().unwrap());
            api.run("never_unpaused", run_id, date).await;
        }
    }
    let mut pools = recorded("exp.pools")["answer"].as_array().unwrap().clone();
    pools.sort_by_key(|pool| pool["id"].as_i64());
    for pool in pools.iter().filter(|pool| pool["pool"] != "default_pool") {
        let pool = NewPool {
            name: pool["pool"].as_str().unwrap().to_owned(),
            slots: pool["slots"].as_i64().unwrap(),
            description: pool["description"].as_str().map(str::to_owned),
            include_deferred: false,
        };
        api.service.create_pool(pool, &Actor::default()).await.unwrap();
    }
}

#[tokio::test]
async fn recorded_requests_are_answered_as_airflow_does() {
    /// What they answer besides shows all DAGs of the recorded server, or counts Airflow's tables.
    const STATUS_ONLY: &[&str] = &["exp.latest_runs", "exp.delete_dag.still_active"];
    let recordings: Vec<Value> = serde_json::from_str(include_str!("data/experimental.json")).unwrap();
    let open = Api::with_anonymous(Some("Public")).await;
    let closed = Api::new().await;
    let wait_until = |time: &str| {
        let time: DateTime<Utc> = time.parse().unwrap();
        open.world.clock.advance((time - open.world.clock.now()).to_std().unwrap());
    };
    wait_until("2026-11-21T13:08:30Z");
    recorded_world(&open, &recordings).await;
    wait_until("2026-11-21T13:09:51.388Z");
    let mut differences = Vec::new();
    for recording in &recordings {
        let text = |key: &str| recording[key].as_str().unwrap_or_default();
        let name = text("name");
        if name == "exp.trigger.text_plain_body" {
            open.world.clock.advance(Duration::from_secs(2));
        }
        let mut headers = vec![("Content-Type", recording["type_sent"].as_str().unwrap_or("application/json"))];
        match recording["auth"].as_str() {
            Some("admin") => headers.push(("Authorization", "Role Admin")),
            Some(raw) => headers.push(("Authorization", raw.trim_start_matches("raw: "))),
            None => {}
        }
        let path = match text("query") {
            "" => text("path").to_owned(),
            query => format!("{}?{query}", text("path")),
        };
        let api = if name.starts_with("variants.") { &closed } else { &open };
        let answer = api.send(text("method"), &path, &headers, text("body")).await;
        let status = recording["status"].as_u64().unwrap();
        if status == 500 {
            // Airflow fails there; a refusal is what a caller can use.
            if !(400..500).contains(&answer.status) {
                differences.push(format!("{name}: {} {}", answer.status, answer.text));
            }
            continue;
        }
        let shape = (u64::from(answer.status), answer.header("content-type"), answer.header("deprecation").is_some());
        let expected = (status, recording["type"].as_str(), recording["deprecated"] == true);
        if shape != expected || answer.header("www-authenticate") != recording["challenge"].as_str() {
            differences.push(format!("{name}: {shape:?} instead of {expected:?}: {}", answer.text));
        }
        if STATUS_ONLY.contains(&name) {
            continue;
        }
        let (expected, found) = match recording.get("answer") {
            Some(expected) => (settled(expected), settled(&answer.json())),
            None => (recording["text"].clone(), answer.text.clone().into()),
        };
        let is_settled = recording.get("answer").is_none_or(|answer| *answer == expected);
        if is_settled && answer.text.len() as u64 != recording["length"].as_u64().unwrap() {
            differences.push(format!("{name}: {} bytes instead of {}", answer.text.len(), recording["length"]));
        }
        if expected != found {
            differences.push(format!("{name}:\n  {found}\ninstead of\n  {expected}"));
        }
    }
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), recordings.len(), differences.join("\n"));
}

#[test]
fn a_base_path_is_checked() {
    let clock = Arc::new(updraft_core::clock::SystemClock::new());
    let storage = Arc::new(MemoryStorage::new(clock.clone()));
    let logs = Arc::new(updraft_core::log::MemoryLogs::default());
    let service = Service::new(storage, logs, IdSource::from_seed(1), Settings::default());
    assert!(AirflowExperimental::builder(service, clock).base_path("/a//b").build().is_err());
}
