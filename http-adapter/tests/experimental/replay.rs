//! Requests recorded with Airflow 2.11.2 get the answers that Airflow gave.

use std::time::Duration;

use chrono::{DateTime, Utc};
use regex::Regex;
use serde_json::{Value, json};
use updraft_core::clock::Clock;
use updraft_core::model::{Dag, OperatorRef, RunState, TaskState};
use updraft_core::service::{Actor, NewPool};

use crate::api::Api;
use crate::common::dag;

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
    let recordings: Vec<Value> = serde_json::from_str(include_str!("../data/experimental.json")).unwrap();
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
