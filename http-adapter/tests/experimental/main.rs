//! Airflow's experimental API, asked through a socket.

#![allow(clippy::unwrap_used, reason = "a test")]

mod api;
#[path = "../common/mod.rs"]
mod common;
mod replay;

use std::sync::Arc;
use std::time::Duration;

use api::Api;
use common::{dag, param};
use serde_json::{Value, json};
use updraft_core::clock::Clock;
use updraft_core::id::IdSource;
use updraft_core::model::{RunState, TaskState};
use updraft_core::service::{Service, Settings};
use updraft_core::storage::DagStorage;
use updraft_http_adapter::airflow_experimental::AirflowExperimental;
use updraft_storage_memory::MemoryStorage;

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

#[test]
fn a_base_path_is_checked() {
    let clock = Arc::new(updraft_core::clock::SystemClock::new());
    let storage = Arc::new(MemoryStorage::new(clock.clone()));
    let logs = Arc::new(updraft_core::log::MemoryLogs::default());
    let service = Service::new(storage, logs, IdSource::from_seed(1), Settings::default());
    assert!(AirflowExperimental::builder(service, clock).base_path("/a//b").build().is_err());
}
