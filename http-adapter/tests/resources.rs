//! DAGs, tasks, pools, import errors, sources and the event log, as Airflow's clients see them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{Answer, Wire};
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde_json::{Map, Value, json};
use updraft_core::clock::SystemClock;
use updraft_core::id::{DagId, IdSource, TaskIx};
use updraft_core::log::MemoryLogs;
use updraft_core::model::{Dag, DatasetCondition, DatasetNode, OperatorRef, Param, Schedule, Task};
use updraft_core::service::{Actor, DagDeclaration, NewPool, Service, Settings, TriggerRequest};
use updraft_http_adapter::access::{AccessError, Authenticator, Principal};
use updraft_http_adapter::airflow::Airflow;
use updraft_storage_memory::MemoryStorage;

/// Believes whoever says who they are; the name is the role.
#[derive(Debug)]
struct Believer;

#[async_trait]
impl Authenticator for Believer {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError> {
        let name = head.headers.get(AUTHORIZATION).and_then(|name| name.to_str().ok());
        Ok(name.map(|name| Principal::named(name, [name.to_owned()])))
    }
}

struct World {
    service: Service,
    wire: Wire,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(SystemClock::new());
        let storage = Arc::new(MemoryStorage::new(clock.clone()));
        let settings = Settings::default();
        let service = Service::new(storage, Arc::new(MemoryLogs::default()), IdSource::from_seed(1), settings);
        let airflow = Airflow::builder(service.clone(), clock).authenticator(Believer).build().unwrap();
        Self { service, wire: Wire::serve(airflow) }
    }

    async fn send(&self, method: &str, target: &str, body: Option<&Value>, accept: Option<&str>) -> Answer {
        let mut headers = vec![("authorization", "Admin")];
        headers.extend(body.map(|_| ("content-type", "application/json")));
        headers.extend(accept.map(|accept| ("accept", accept)));
        let body = body.map(Value::to_string).unwrap_or_default();
        self.wire.send(method, &format!("/api/v1{target}"), &headers, &body).await
    }

    async fn get(&self, target: &str) -> Value {
        let answer = self.send("GET", target, None, None).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text);
        answer.json()
    }

    async fn patch(&self, target: &str, body: Value) -> (u16, Value) {
        let answer = self.send("PATCH", target, Some(&body), None).await;
        (answer.status, answer.json())
    }

    async fn register(&self, dags: impl IntoIterator<Item = Dag>) {
        let declarations = dags.into_iter().map(|dag| DagDeclaration::from(Arc::new(dag))).collect();
        self.service.register(declarations).await.unwrap();
    }
}

fn day(text: &str) -> Option<DateTime<Utc>> {
    Some(format!("{text}T00:00:00Z").parse().unwrap())
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn dag(dag_id: &str, description: Option<&str>, tags: &[&str]) -> Dag {
    let mut dag = Dag::new(dag_id);
    dag.description = description.map(str::to_owned);
    dag.doc_md = Some("A DAG.".to_owned());
    dag.fileloc = format!("/dags/{dag_id}.yaml");
    dag.catchup = false;
    dag.is_paused_upon_creation = Some(false);
    dag.start_date = day("2024-01-01");
    dag.tags = tags.iter().map(|&tag| tag.to_owned()).chain(["dagfactory".to_owned()]).collect();
    dag.tags.sort();
    dag
}

fn bash(task_id: &str) -> Task {
    let mut task = Task::new(task_id, OperatorRef::from_path("airflow.operators.bash.BashOperator"));
    task.owner = "lab".to_owned();
    task.ui_color = "#f0ede4".to_owned();
    task.template_fields = ["bash_command", "env", "cwd"].map(str::to_owned).to_vec();
    task
}

fn scheduled(dag_id: &str, schedule: Schedule) -> Dag {
    let mut dag = dag(dag_id, None, &["schedule"]);
    dag.schedule = schedule;
    dag.is_paused_upon_creation = Some(true);
    dag.tasks = vec![bash("tick")];
    dag
}

/// The DAGs of the recordings, as far as these name them.
fn recorded_dags() -> Vec<Dag> {
    let mut etl = dag("etl_chain", Some("extract >> transform >> load, BashOperator"), &["etl", "example"]);
    etl.tasks = ["extract", "transform", "load"].map(bash).to_vec();
    etl.tasks[0].doc_md = Some("pulls rows".to_owned());
    etl.tasks[1].upstream = vec![TaskIx(0)];
    etl.tasks[2].upstream = vec![TaskIx(1)];

    let mut tagged =
        dag("tagged", Some("many tags, an owner list, a display name"), &["example", "team:data", "prod", "zeta"]);
    tagged.display_name = Some("Tagged DAG ✓".to_owned());
    tagged.tasks = ["one", "two"].map(bash).to_vec();
    for (task, owner) in tagged.tasks.iter_mut().zip(["alice", "bob"]) {
        task.owner = owner.to_owned();
    }

    let mut params = dag("params", Some("DAG params with a JSON-schema; conf overrides them"), &["params"]);
    let param = |name: &str, value: Value, description: Option<&str>, schema: Value| Param {
        name: name.to_owned(),
        value: Some(value),
        description: description.map(str::to_owned),
        schema: object(schema),
    };
    let count = json!({"type": "integer", "minimum": 1, "maximum": 10, "title": "how often"});
    params.params = vec![
        param("who", json!("world"), None, json!({})),
        param("count", json!(3), None, count),
        param("mode", json!("fast"), Some("speed"), json!({"enum": ["fast", "slow"]})),
    ];
    params.tasks = vec![bash("greet")];

    let mut retries = dag("retries_backoff", None, &[]);
    retries.tasks = vec![bash("hopeless")];
    retries.tasks[0].retries = 2;
    retries.tasks[0].retry_delay = Duration::from_secs(1);
    retries.tasks[0].retry_exponential_backoff = true;

    let mut mapped = dag("mapped", None, &[]);
    mapped.tasks = ["each", "after"].map(bash).to_vec();
    mapped.tasks[0].mapping = Some(json!({}));
    mapped.tasks[1].upstream = vec![TaskIx(0)];

    let mut trigger = dag("trigger_other", None, &[]);
    let mut fire = bash("fire");
    fire.operator = OperatorRef::from_path("airflow.operators.trigger_dagrun.TriggerDagRunOperator");
    fire.ui_color = "#ffefeb".to_owned();
    let templates =
        ["trigger_dag_id", "trigger_run_id", "logical_date", "conf", "wait_for_completion", "skip_when_already_exists"];
    fire.template_fields = templates.map(str::to_owned).to_vec();
    trigger.tasks = vec![fire];

    let cron = |expression: &str| Schedule::Cron { expression: expression.to_owned() };
    let mut catchup = scheduled("cron_catchup", cron("0 */6 * * *"));
    catchup.description = Some("every 6 hours over two days, catchup".to_owned());
    catchup.catchup = true;
    catchup.end_date = day("2024-01-03");
    catchup.max_active_runs = 3;
    let mut continuous = scheduled("sched_continuous", Schedule::Continuous);
    continuous.max_active_runs = 1;

    let either = [
        DatasetNode::Uri("s3://lab/one.csv".into()),
        DatasetNode::Uri("s3://lab/three.csv".into()),
        DatasetNode::Any(2),
    ];
    let mut consumer = dag("dataset_consumer_one", Some("runs when either dataset was updated"), &["datasets"]);
    consumer.schedule = Schedule::Datasets { condition: DatasetCondition { postfix: either.to_vec() } };
    consumer.tasks = vec![bash("consume")];

    vec![
        etl,
        tagged,
        params,
        retries,
        mapped,
        trigger,
        catchup,
        continuous,
        consumer,
        scheduled("sched_once", Schedule::Once),
        scheduled("sched_daily_preset", cron("@daily")),
        scheduled("sched_timedelta", Schedule::TimeDelta { microseconds: 6 * 3_600_000_000 }),
        scheduled("sched_relativedelta", Schedule::RelativeDelta { fields: object(json!({"months": 1})) }),
    ]
}

/// What differs between one server and another, or is in no order.
fn blur(value: &mut Value) {
    const OWN: [&str; 6] = ["file_token", "fileloc", "last_parsed", "last_parsed_time", "doc_md", "description"];
    // Both are what no scheduler of ours says yet.
    const NEXT: &str = "next_dagrun";
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                if OWN.contains(&name.as_str()) && value.is_string() || name.starts_with(NEXT) {
                    *value = json!("…");
                } else if name == "tags" || name == "owners" {
                    let mut texts: Vec<_> =
                        value.as_array().unwrap().iter().map(|tag| tag.to_string().replace(' ', "")).collect();
                    texts.sort();
                    *value = json!(texts);
                } else {
                    blur(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blur),
        _ => {}
    }
}

#[tokio::test]
async fn answers_are_those_of_airflow() {
    let world = World::new();
    world.register(recorded_dags()).await;
    for (name, slots) in [("lab_pool", 2), ("rec_charset", 1), ("rec_vendor", 1), ("rec_inf", 1)] {
        let description = (slots == 2).then(|| "two slots".to_owned());
        let pool = NewPool { name: name.into(), slots, description, include_deferred: false };
        world.service.create_pool(pool, &Actor::default()).await.unwrap();
    }
    let recorded: Vec<BTreeMap<String, Value>> = serde_json::from_str(include_str!("data/resources.json")).unwrap();
    assert_eq!(recorded.len(), 93);
    let mut wrong = Vec::new();
    for exchange in recorded {
        let text = |name: &str| exchange.get(name).and_then(Value::as_str);
        let name = text("name").unwrap();
        let path = text("path").unwrap().strip_prefix("/api/v1").unwrap();
        let query =
            text("query").filter(|query| !query.is_empty()).map(|query| format!("?{query}")).unwrap_or_default();
        let answer =
            world.send(text("method").unwrap(), &format!("{path}{query}"), exchange.get("body"), text("accept")).await;
        let (mut ours, mut theirs) = (answer.json(), exchange["answer"].clone());
        blur(&mut ours);
        blur(&mut theirs);
        if ours != theirs
            || answer.status != exchange["status"]
            || answer.content_type.as_deref() != exchange["content_type"].as_str()
        {
            wrong.push(format!(
                "{name}: {} {:?} {ours}\n    not {} {theirs}",
                answer.status, answer.content_type, exchange["status"]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn lists_of_dags_filter_and_page() {
    let world = World::new();
    world.register(recorded_dags()).await;
    world.service.deactivate(&[DagId::from("mapped")]).await.unwrap();
    let ids = async |query: &str| {
        let answer = world.get(&format!("/dags?{query}")).await;
        let ids: Vec<_> =
            answer["dags"].as_array().unwrap().iter().map(|dag| dag["dag_id"].as_str().unwrap().to_owned()).collect();
        (ids, answer["total_entries"].as_u64().unwrap())
    };
    let (all, total) = ids("").await;
    assert_eq!(total, 12);
    assert!(all.is_sorted() && !all.contains(&"mapped".to_owned()));
    assert_eq!(ids("only_active=false").await.1, 13);
    assert_eq!(
        ids("order_by=-dag_id&limit=2&offset=1").await,
        (vec!["tagged".to_owned(), "sched_timedelta".to_owned()], 12)
    );
    assert_eq!(ids("tags=etl,prod").await, (vec!["etl_chain".to_owned(), "tagged".to_owned()], 2));
    assert_eq!(ids("tags=etl&tags=prod").await.1, 2);
    assert_eq!(ids("dag_id_pattern=SCHED_&paused=true").await.1, 5);
    assert_eq!(
        ids("dag_id_pattern=et_").await,
        (vec!["dataset_consumer_one".to_owned(), "etl_chain".to_owned(), "retries_backoff".to_owned()], 3)
    );
    assert_eq!(ids("dag_id_pattern=").await.1, 12);
    assert_eq!(ids("limit=0&offset=100").await, (vec![], 12));
    let inactive = world.get("/dags/mapped").await;
    assert_eq!(inactive["is_active"], false);
}

#[tokio::test]
async fn many_dags_are_paused_at_once() {
    let world = World::new();
    world.register(recorded_dags()).await;
    let (status, answer) = world.patch("/dags?dag_id_pattern=sched_&limit=2", json!({"is_paused": false})).await;
    assert_eq!((status, &answer["total_entries"]), (200, &json!(5)));
    let changed: Vec<_> =
        answer["dags"].as_array().unwrap().iter().map(|dag| (&dag["dag_id"], &dag["is_paused"])).collect();
    assert_eq!(changed, [(&json!("sched_continuous"), &json!(false)), (&json!("sched_daily_preset"), &json!(false))]);
    assert_eq!(world.get("/dags/sched_once").await["is_paused"], true);
    let (_, answer) = world.patch("/dags?dag_id_pattern=~&tags=schedule", json!({"is_paused": false})).await;
    assert_eq!(answer["total_entries"], 6);
    let (_, answer) = world.patch("/dags?dag_id_pattern=", json!({"is_paused": true})).await;
    assert_eq!(answer["total_entries"], 13);
    assert_eq!(world.get("/dags?paused=false").await["total_entries"], 0);
}

#[tokio::test]
async fn what_airflow_fails_at_is_a_bad_request() {
    let world = World::new();
    world.register(recorded_dags()).await;
    for (target, body) in [
        ("/dags/etl_chain", json!({})),
        ("/dags/etl_chain?update_mask=is_paused", json!({})),
        ("/dags?dag_id_pattern=x", json!({})),
        ("/pools/default_pool?update_mask=slots", json!({"slots": 3_000_000_000_u64})),
        ("/pools/default_pool?update_mask=slots", json!({"include_deferred": true})),
        ("/pools/default_pool?update_mask=open_slots", json!({"slots": 1, "name": "default_pool"})),
        ("/pools/default_pool", json!({"slots": 1, "name": "default_pool", "nope": 1})),
    ] {
        let (status, answer) = world.patch(target, body).await;
        assert_eq!((status, answer["detail"].is_string()), (400, true), "{target}: {answer}");
    }
    let long = json!({"name": "x".repeat(257), "slots": 1});
    let answer = world.send("POST", "/pools", Some(&long), None).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert_eq!(world.get("/dags/etl_chain").await["is_paused"], false);
}

#[tokio::test]
async fn a_pool_without_bound_is_shown_as_such() {
    let world = World::new();
    let answer = world.send("POST", "/pools", Some(&json!({"name": "any", "slots": -1})), None).await;
    assert_eq!((answer.status, &answer.json()["open_slots"]), (200, &json!(-1)));
    assert_eq!(world.get("/pools").await["total_entries"], 2);
    let (status, answer) = world.patch("/pools/any", json!({"name": "default_pool", "slots": 1})).await;
    assert_eq!((status, &answer["detail"]), (409, &json!("Pool: default_pool already exists")));
}

#[tokio::test]
async fn tasks_are_sorted_by_any_attribute() {
    let world = World::new();
    let mut dag = dag("d", None, &[]);
    dag.tasks = ["a", "b", "c"].map(bash).to_vec();
    for (task, (weight, owner)) in dag.tasks.iter_mut().zip([(2, "x"), (1, "y"), (2, "x")]) {
        task.priority_weight = weight;
        task.owner = owner.to_owned();
    }
    dag.tasks[1].start_date = day("2024-02-01");
    dag.tasks[2].start_date = day("2023-02-01");
    dag.end_date = day("2025-01-01");
    world.register([dag]).await;
    let ids = async |order: &str| {
        let answer = world.get(&format!("/dags/d/tasks?order_by={order}")).await;
        answer["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["task_id"].as_str().unwrap().to_owned())
            .collect::<String>()
    };
    assert_eq!(ids("priority_weight").await, "bac");
    assert_eq!(ids("-priority_weight").await, "acb");
    assert_eq!(ids("-owner").await, "bac");
    assert_eq!(ids("start_date").await, "acb");
    assert_eq!(ids("bash_command").await, "abc");
    let tasks = world.get("/dags/d/tasks").await;
    let starts: Vec<_> = tasks["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["start_date"].as_str().unwrap()[..10].to_owned())
        .collect();
    assert_eq!(starts, ["2024-01-01", "2024-02-01", "2024-01-01"]);
    assert_eq!(tasks["tasks"][0]["end_date"], "2025-01-01T00:00:00+00:00");
    let answer = world.send("GET", "/dags/d/tasks?order_by=", None, None).await;
    assert_eq!(answer.json()["detail"], "'SerializedBaseOperator' object has no attribute ''");
}

#[tokio::test]
async fn a_deleted_dag_is_gone_with_its_runs() {
    let world = World::new();
    world.register(recorded_dags()).await;
    let trigger = TriggerRequest { run_id: Some("r".into()), ..TriggerRequest::default() };
    let record = world.service.dag("etl_chain").await.unwrap();
    world.service.trigger(&record, trigger, &Actor::default()).await.unwrap();
    let answer = world.send("DELETE", "/dags/etl_chain", None, None).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    for target in ["/dags/etl_chain", "/dags/etl_chain/details", "/dags/etl_chain/tasks", "/dags/etl_chain/tasks/load"]
    {
        assert_eq!(world.send("GET", target, None, None).await.status, 404, "{target}");
    }
    assert_eq!(world.send("DELETE", "/dags/etl_chain", None, None).await.status, 404);
    world.register(recorded_dags()).await;
    assert!(world.service.storage().dag_run("etl_chain", "r").await.is_err(), "it comes back without its history");
}

#[tokio::test]
async fn sources_are_read_by_their_token() {
    let world = World::new();
    let source = "a: ✓\nb: 1\n";
    let dag = Arc::new(recorded_dags().remove(0));
    world.service.register(vec![DagDeclaration { dag, source: Some(source.into()) }]).await.unwrap();
    let shown = world.get("/dags/etl_chain").await;
    let target = format!("/dagSources/{}", shown["file_token"].as_str().unwrap());
    for (accept, status, content_type, text) in [
        (Some("text/plain"), 200, "text/plain", source),
        (Some("*/*"), 200, "text/plain", source),
        (Some("application/json"), 200, "application/json", "{\"content\": \"a: \\u2713\\nb: 1\\n\"}"),
        (Some("application/xml"), 406, "text/html; charset=utf-8", "Not Allowed Accept Header"),
        (None, 406, "text/html; charset=utf-8", "Not Allowed Accept Header"),
    ] {
        let answer = world.send("GET", &target, None, accept).await;
        assert_eq!(
            (answer.status, answer.content_type.as_deref().unwrap_or_default(), answer.text.as_str()),
            (status, content_type, text)
        );
    }
    assert_eq!(world.send("GET", "/dagSources/L2V0Yy9wYXNzd2Q", None, Some("*/*")).await.status, 404);
}

#[tokio::test]
async fn import_errors_come_and_go() {
    let world = World::new();
    world.register(recorded_dags()).await;
    for (file, text) in [("/dags/b.yaml", "b is wrong"), ("/dags/etl_chain.yaml", "line 3: no such operator")] {
        world.service.set_import_error(file, Some(text)).await.unwrap();
    }
    let list = world.get("/importErrors?order_by=-filename").await;
    assert_eq!(list["total_entries"], 2);
    let first = &list["import_errors"][0];
    assert_eq!(
        (&first["filename"], &first["stack_trace"]),
        (&json!("/dags/etl_chain.yaml"), &json!("line 3: no such operator"))
    );
    assert_eq!(world.get(&format!("/importErrors/{}", first["import_error_id"])).await, *first);
    // The DAG itself could be read; another of the file could not.
    assert_eq!(world.get("/dags/etl_chain").await["has_import_errors"], false);
    world.service.deactivate(&["etl_chain".into()]).await.unwrap();
    assert_eq!(world.get("/dags/etl_chain").await["has_import_errors"], true);
    world.service.set_import_error("/dags/etl_chain.yaml", None).await.unwrap();
    assert_eq!(world.get("/importErrors").await["total_entries"], 1);
    assert_eq!(world.get("/dags/etl_chain").await["has_import_errors"], false);
}

#[tokio::test]
async fn the_event_log_says_who_did_what() {
    let world = World::new();
    world.register(recorded_dags()).await;
    world.send("POST", "/pools", Some(&json!({"name": "p", "slots": 1})), None).await;
    world.patch("/pools/p?update_mask=slots", json!({"slots": 2})).await;
    world.send("DELETE", "/pools/p", None, None).await;
    world.patch("/dags/etl_chain", json!({"is_paused": true})).await;
    world.patch("/dags?dag_id_pattern=sched", json!({"is_paused": true})).await;
    let log = world.get("/eventLogs").await;
    let shown: Vec<_> = log["event_logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["event"].as_str().unwrap(), entry["dag_id"].as_str(), entry["extra"].as_str().unwrap()))
        .collect();
    assert_eq!(
        shown,
        [
            ("api.post_pool", None, r#"{"name": "p", "slots": 1}"#),
            ("api.patch_pool", None, r#"{"update_mask": "slots", "pool_name": "p", "slots": 2}"#),
            ("api.delete_pool", None, r#"{"pool_name": "p"}"#),
            ("api.patch_dag", Some("etl_chain"), r#"{"is_paused": true}"#),
            ("api.patch_dags", None, r#"{"dag_id_pattern": "sched", "is_paused": true}"#),
        ]
    );
    let entry = &log["event_logs"][3];
    assert_eq!((&entry["owner"], &entry["run_id"], &entry["map_index"]), (&json!("Admin"), &Value::Null, &Value::Null));
    assert_eq!(world.get(&format!("/eventLogs/{}", entry["event_log_id"])).await, *entry);
    let total = async |query: &str| world.get(&format!("/eventLogs?{query}")).await["total_entries"].as_u64().unwrap();
    assert_eq!(total("dag_id=etl_chain").await, 1);
    assert_eq!(total("event=api.post_pool&owner=Admin&dag_id=").await, 1);
    assert_eq!(total("included_events=api.post_pool,api.patch_dag").await, 2);
    assert_eq!(total("excluded_events=api.post_pool,api.patch_dag").await, 3);
    assert_eq!(total("run_id=r").await, 0);
    assert_eq!(total("task_id=t&map_index=0&try_number=1").await, 0);
    assert_eq!(total("map_index=-1").await, 0);
    assert_eq!(total("after=2020-01-01T00:00:00Z&before=2020-01-02T00:00:00Z").await, 0);
    assert_eq!(total("after=2020-01-01T00:00:00Z").await, 5);
    let latest = world.get("/eventLogs?order_by=-when&limit=1").await;
    assert_eq!(latest["event_logs"][0]["event"], "api.patch_dags");
}
