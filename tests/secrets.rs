//! Secrets: nobody sees them where Airflow hides them, and no table has them in the clear.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use updraft::clock::SystemClock;
use updraft::dag::DagBuilder;
use updraft::http::access::{AccessError, Authenticator, Principal};
use updraft::http::airflow::Airflow;
use updraft::id::IdSource;
use updraft::operator::{Outcome, TaskContext, TaskError};
use updraft::operators::OperatorsConfig;
use updraft::postgres::sqlx::{self, Row};
use updraft::postgres::{PostgresSettings, PostgresStorage};
use updraft::secret::Keyring;
use updraft::service::Actor;
use updraft::storage::Subject;
use updraft::{TriggerRequest, Updraft};
use updraft_test_postgres::{Cluster, Database};

/// What no secret may be seen by.
const CANARY: &str = "canary";

const DAG: &str = r#"
leaks:
  schedule: None
  start_date: 2024-01-01
  is_paused_upon_creation: false
  tasks:
    bash:
      operator: airflow.operators.bash.BashOperator
      bash_command: |
        echo '{{ var.value.api_key }}' '{{ conn.db.password }}'
        echo '{{ conn.db.get_uri() }} {{ conn.db.extra }}'
        printf '%s' '{{ conn.db.extra_dejson.aws_secret }}'
        printf 'can%s\n' 'ary-variable-1' >&2
      env:
        DB_PASSWORD: "given in the file"
        PLAIN: "seen"
      append_env: true
    rendering:
      operator: airflow.operators.bash.BashOperator
      bash_command: "echo {{ 1 // 0 if var.value.api_key else 0 }} {{ var.value.api_key }}"
    python:
      operator: airflow.operators.python.PythonOperator
      python_callable: leaky.leak
    failing:
      operator: airflow.operators.python.PythonOperator
      python_callable: leaky.fail
"#;

const MODULE: &str = r#"
import logging
import sys

from airflow.models import Variable


def leak(conn):
    print("variable", Variable.get("api_key"))
    print("password", conn.db.password, file=sys.stderr)
    logging.getLogger(__name__).warning("extra %s", conn.db.extra_dejson)
    print("config", Variable.get("config", deserialize_json=True))
    for line in Variable.get("private_key").splitlines():
        print(line)
    sys.stdout.write("x" * (3 << 20) + Variable.get("api_key") + "y" * (2 << 20) + "\n")
    return "nothing"


def fail():
    raise ValueError("it is " + Variable.get("api_key"))
"#;

#[derive(Debug)]
struct Admin;

#[async_trait]
impl Authenticator for Admin {
    async fn authenticate(&self, _: &Parts) -> Result<Option<Principal>, AccessError> {
        Ok(Some(Principal::named("admin", ["Admin".to_owned()])))
    }
}

async fn call(airflow: &Airflow, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let response = airflow.clone().oneshot(request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

fn storage(database: &Database) -> PostgresStorage {
    PostgresStorage::new(PostgresSettings::from_options(database.options()), Arc::new(SystemClock::new()))
}

fn orchestrator(storage: &PostgresStorage, keys: &[&str]) -> Updraft {
    Updraft::builder().storage(Arc::new(storage.clone())).secret_keys(keys).build().unwrap()
}

fn api(updraft: &Updraft) -> Airflow {
    updraft.airflow().authenticator(Admin).build().unwrap()
}

/// Every table's rows, as text.
async fn dump(database: &Database) -> String {
    let mut connection = database.connect().await;
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'updraft'
                  AND table_type = 'BASE TABLE' ORDER BY table_name";
    let tables = sqlx::query(tables).fetch_all(&mut connection).await.unwrap();
    let mut text = String::new();
    for table in tables {
        let table: String = table.get(0);
        let rows = format!("SELECT t::text FROM updraft.{table} t");
        for row in sqlx::query(sqlx::AssertSqlSafe(rows)).fetch_all(&mut connection).await.unwrap() {
            text.push_str(&format!("{table}: {}\n", row.get::<String, _>(0)));
        }
    }
    text
}

/// Makes the secrets.
async fn plant(airflow: &Airflow) {
    let variables = [
        ("api_key", "canary-variable-1"),
        ("config", r#"{"host": "db", "token": "canary-config-2"}"#),
        ("private_key", "-----BEGIN KEY-----\ncanary-line-3\ncanary-line-4\n-----END KEY-----\n"),
    ];
    for (key, value) in variables {
        let body = json!({"key": key, "value": value});
        assert_eq!(call(airflow, "POST", "/variables", Some(body)).await.0, 200);
    }
    let body = json!({
        "connection_id": "db", "conn_type": "postgres", "host": "db.example", "login": "u", "password": "canary/pass word",
        "extra": r#"{"region": "eu", "aws_secret": "canary-extra-5", "proxy": "http://canary-proxy-6"}"#,
    });
    assert_eq!(call(airflow, "POST", "/connections", Some(body)).await.0, 200);
    let body = json!({"password": "canary-refused", "nope": 1});
    assert_eq!(call(airflow, "PATCH", "/connections/db", Some(body)).await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_a_secret() {
    let database = Cluster::shared().await.database().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("leaks.yaml"), DAG).unwrap();
    std::fs::write(folder.path().join("leaky.py"), MODULE).unwrap();
    let code = DagBuilder::new("code");
    code.task("leak", |cx: TaskContext| async move {
        let found = cx.store().connection("db").await.map_err(|error| TaskError::failed(error.to_string()))?;
        let password = found.and_then(|found| found.password).unwrap_or_default();
        let (head, tail) = password.split_at(4);
        cx.log().bytes(head.as_bytes());
        cx.log().line(tail);
        cx.info(format_args!("it is {password}"));
        if cx.attempt().try_number > 0 { Err(TaskError::failed(password)) } else { Ok(Outcome::success()) }
    });
    let key = Keyring::make_key(&IdSource::from_system());
    let updraft = Updraft::builder()
        .storage(Arc::new(storage(&database)))
        .secret_keys([&key])
        .builtin_operators(OperatorsConfig { python_path: vec![folder.path().into()], ..OperatorsConfig::default() })
        .dag_folder(folder.path())
        .dag(code)
        .build()
        .unwrap();
    let airflow = api(&updraft);
    let running = updraft.start().await.unwrap();
    plant(&airflow).await;
    assert!(!dump(&database).await.contains(CANARY));
    for dag in ["leaks", "code"] {
        let request = TriggerRequest { run_id: Some("r".into()), ..TriggerRequest::default() };
        updraft.trigger(dag, request).await.unwrap();
        let ended = updraft.wait_for_run(dag, "r");
        tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap().unwrap();
    }
    let mut logs = String::new();
    for (dag, task) in
        [("leaks", "bash"), ("leaks", "rendering"), ("leaks", "python"), ("leaks", "failing"), ("code", "leak")]
    {
        let path = format!("/dags/{dag}/dagRuns/r/taskInstances/{task}/logs/1?full_content=true");
        let (status, text) = call(&airflow, "GET", &path, None).await;
        assert_eq!(status, 200, "{text}");
        let shown = text.replace(&"x".repeat(100), "").replace(&"y".repeat(100), "");
        assert!(!text.contains(CANARY), "{task}: {}", &shown[..shown.len().min(20_000)]);
        logs.push_str(&shown);
    }
    for expected in [
        "*** ***",
        "postgres://u:***@db.example",
        "password ***",
        "variable ***",
        "'region': 'eu'",
        "'host': 'db'",
        "ValueError: it is ***",
        "it is ***",
        "-----END KEY-----",
    ] {
        let is_key = expected.contains("KEY");
        assert_eq!(logs.contains(expected), !is_key, "{expected}: {logs}");
    }
    for path in [
        "/eventLogs?limit=100",
        "/connections",
        "/connections/db",
        "/dags/leaks/dagRuns/r/taskInstances",
        "/dags/code/dagRuns/r/taskInstances",
        "/dags/leaks/dagRuns/r/taskInstances/bash",
        "/dags/~/dagRuns/~/taskInstances/~/xcomEntries",
        "/importErrors",
    ] {
        let (status, text) = call(&airflow, "GET", path, None).await;
        assert_eq!(status, 200, "{path} {text}");
        assert!(!text.contains(CANARY), "{path}: {text}");
        let is_rendered = path.ends_with("/bash");
        assert!(!is_rendered || text.contains("PLAIN") && !text.contains("given in the file"), "{text}");
    }
    running.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn secrets_are_encrypted_anew_and_a_lost_key_is_told() {
    const OLD: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
    const NEW: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let database = Cluster::shared().await.database().await;
    let storage = storage(&database);
    storage.migrate().await.unwrap();
    plant(&api(&orchestrator(&storage, &[]))).await;
    assert!(dump(&database).await.contains(CANARY), "without keys they are in the clear");

    let with_old = orchestrator(&storage, &[OLD]);
    let error = orchestrator(&storage, &[]).service().rotate_secrets(&Actor::default()).await.unwrap_err();
    assert!(error.to_string().contains("no secret key"), "{error}");
    let rotation = with_old.service().rotate_secrets(&Actor::default()).await.unwrap();
    assert_eq!((rotation.resealed, rotation.unreadable), (4, vec![]));
    assert!(!dump(&database).await.contains(CANARY));

    // Beside writers, one of whom still knows the old key only.
    let both = orchestrator(&storage, &[NEW, OLD]);
    let writer = with_old.service().clone();
    let writing = tokio::spawn(async move {
        for index in 0..40 {
            let update = updraft::storage::VariableUpdate {
                value: Some(updraft::secret::StoredSecret::clear(format!("canary {index}"))),
                description: None,
            };
            writer.update_variable("api_key", update, &Actor::default()).await.unwrap();
        }
    });
    while !writing.is_finished() {
        both.service().rotate_secrets(&Actor::default()).await.unwrap();
    }
    writing.await.unwrap();
    both.service().rotate_secrets(&Actor::default()).await.unwrap();
    let with_new = orchestrator(&storage, &[NEW]);
    assert_eq!(with_new.service().variable("api_key").await.unwrap().value, "canary 39", "no update is lost");
    assert_eq!(with_new.service().connection("db").await.unwrap().password.as_deref(), Some("canary/pass word"));
    assert_eq!(both.service().rotate_secrets(&Actor::default()).await.unwrap().resealed, 0);

    let rotation = with_old.service().rotate_secrets(&Actor::default()).await.unwrap();
    let lost = ["api_key", "config", "private_key"].map(|key| Subject::Variable(key.into()));
    let lost: Vec<_> = rotation.unreadable.iter().filter(|subject| lost.contains(subject)).collect();
    assert_eq!((rotation.resealed, rotation.unreadable.len(), lost.len()), (0, 4, 3));
    for (keys, reason) in
        [(vec![OLD], "none of the configured secret keys fits"), (vec![], "no secret key is configured")]
    {
        let airflow = api(&orchestrator(&storage, &keys));
        for (path, subject) in
            [("/variables/api_key", "the variable 'api_key'"), ("/connections/db", "the connection 'db'")]
        {
            let (status, text) = call(&airflow, "GET", path, None).await;
            assert!(status == 500 && text.contains(subject) && text.contains(reason), "{status} {text}");
        }
        let (status, text) = call(&airflow, "GET", "/variables", None).await;
        assert!(status == 200 && text.contains("\"value\": null") && !text.contains("gAAAA"), "{text}");
        assert_eq!(call(&airflow, "GET", "/connections", None).await.0, 200);
    }
    // What was lost can be replaced.
    let airflow = api(&with_old);
    let body = json!({"key": "api_key", "value": "found again"});
    assert_eq!(call(&airflow, "PATCH", "/variables/api_key", Some(body)).await.0, 200);
}

#[tokio::test]
async fn a_task_that_asks_for_what_cannot_be_decrypted_fails() {
    let database = Cluster::shared().await.database().await;
    let storage = storage(&database);
    storage.migrate().await.unwrap();
    let key = Keyring::make_key(&IdSource::from_seed(1));
    plant(&api(&orchestrator(&storage, &[&key]))).await;
    let dag = DagBuilder::new("d");
    dag.task("t", |cx: TaskContext| async move {
        match cx.store().variable("api_key").await {
            Ok(found) => Ok(Outcome::value(found.unwrap_or_default())),
            Err(error) => Err(TaskError::failed(error.to_string())),
        }
    });
    let updraft = Updraft::builder().storage(Arc::new(storage)).dag(dag).build().unwrap();
    let running = updraft.start().await.unwrap();
    let run = updraft.trigger("d", TriggerRequest::default()).await.unwrap();
    let ended = updraft.wait_for_run("d", &run.run_id);
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap().unwrap();
    assert_eq!(ended.state.as_str(), "failed");
    let path = format!("/dags/d/dagRuns/{}/taskInstances/t/logs/1", run.run_id.replace('+', "%2B"));
    let (_, log) = call(&api(&updraft), "GET", &path, None).await;
    assert!(log.contains("the variable 'api_key' cannot be decrypted: it is encrypted, and no secret key"), "{log}");
    running.shutdown(Duration::from_secs(5)).await;
}

#[test]
fn keys_are_checked_when_all_is_put_together() {
    let error = Updraft::builder().secret_keys(["nope"]).build().unwrap_err();
    assert_eq!(error.to_string(), "secret key 1 is not made of 32 bytes in URL-safe base64");
}
