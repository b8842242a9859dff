//! A database that goes away: nothing fails because of it, health says so meanwhile, and all runs end once it is back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use tower::ServiceExt;
use updraft::clock::{Clock, SystemClock};
use updraft::dag::{DagBuilder, chain};
use updraft::engine::SchedulerState;
use updraft::model::RunState;
use updraft::operator::{Outcome, TaskContext, TaskError};
use updraft::operators::OperatorsConfig;
use updraft::postgres::{PostgresSettings, PostgresStorage, sqlx};
use updraft::service::ServiceError;
use updraft::storage::StorageError;
use updraft::{Running, TriggerRequest, Updraft};
use updraft_test_postgres::{Cluster, Database, Durability};

const PATIENCE: Duration = Duration::from_secs(120);

/// How often each task of each run has begun.
type Marks = Arc<Mutex<BTreeMap<(String, String), u32>>>;

fn mark(marks: &Marks, run: &str, task: &str) {
    *marks.lock().expect("marks").entry((run.into(), task.into())).or_default() += 1;
}

/// A task that uses the storage while it works.
fn working(dag: &DagBuilder, id: &str, marks: &Marks) -> updraft::dag::TaskHandle {
    let marks = Arc::clone(marks);
    dag.task(id, move |cx: TaskContext| {
        let marks = Arc::clone(&marks);
        async move {
            let storage_failed = |error: StorageError| TaskError::failed(error.to_string());
            let (run, task) = (cx.attempt().run.run_id.clone(), cx.task().task_id.to_string());
            mark(&marks, &run, &task);
            cx.xcom_push("before", run.as_str()).await.map_err(storage_failed)?;
            cx.clock().sleep(Duration::from_millis(50)).await;
            cx.xcom_push("after", run.as_str()).await.map_err(storage_failed)?;
            match cx.store().variable("absent").await.map_err(storage_failed)? {
                None => Ok(Outcome::value(run)),
                Some(_) => Err(TaskError::failed("a variable that nobody made")),
            }
        }
    })
}

struct World {
    updraft: Updraft,
    storage: PostgresStorage,
    running: Running,
}

/// A scheduler with the DAG `work`, whose tasks may not fail, and which has a task that takes `seconds`.
async fn start(database: &Database, name: &str, lease: Duration, marks: &Marks, file: &Path, seconds: f64) -> World {
    let clock = Arc::new(SystemClock::new());
    let storage = PostgresStorage::new(PostgresSettings::from_options(database.options()), clock.clone());
    let dag = DagBuilder::new("work").max_active_runs(100).max_active_tasks(100);
    let script = format!("echo $AIRFLOW_CTX_DAG_RUN_ID >> {}; sleep {seconds}", file.display());
    let shell =
        dag.operator("shell", "airflow.operators.bash.BashOperator", serde_json::json!({"bash_command": script}));
    chain([&working(&dag, "first", marks), &shell, &working(&dag, "last", marks)]);
    let builder = Updraft::builder()
        .clock(clock)
        .storage(Arc::new(storage.clone()))
        .scheduler_name(name)
        .scheduler_lease(lease)
        .builtin_operators(OperatorsConfig::default())
        .dag(dag);
    let updraft = builder.build().expect("an orchestrator");
    let running = updraft.start().await.expect("a start");
    World { updraft, storage, running }
}

/// Triggers runs until it is told to stop. Gives those that were acknowledged.
async fn load(updraft: Updraft, is_over: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for index in 0.. {
        let run_id = format!("r{index}");
        loop {
            let request = TriggerRequest { run_id: Some(run_id.clone()), ..TriggerRequest::default() };
            match updraft.trigger("work", request).await {
                // It exists if an answer was lost.
                Ok(_) | Err(ServiceError::AlreadyExists(_)) => break,
                Err(ServiceError::Storage(StorageError::Unavailable(_))) => {
                    updraft.clock().sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("a trigger failed: {error:?}"),
            }
        }
        acknowledged.push(run_id);
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        updraft.clock().sleep(Duration::from_millis(40)).await;
    }
    acknowledged
}

/// What the API says of the database.
async fn metadatabase(updraft: &Updraft) -> String {
    let request = http::Request::get("/api/v1/health").body(Empty::<bytes::Bytes>::new()).expect("a request");
    let answer = updraft.airflow().build().expect("an API").oneshot(request).await.expect("an answer");
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    let health: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    health["metadatabase"]["status"].as_str().unwrap_or_default().to_owned()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::new();
    let wait = async {
        while !holds().await {
            clock.sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("it does not come to pass: {what}"));
}

async fn is_healthy(world: &World) -> bool {
    world.running.health().is_healthy() && metadatabase(&world.updraft).await == "healthy"
}

/// All of these runs succeed, and each of their tasks began once.
async fn all_is_well(worlds: Vec<World>, runs: &[String], marks: &Marks, file: &Path) {
    let updraft = &worlds[0].updraft;
    for run in runs {
        let ended = tokio::time::timeout(PATIENCE, async {
            loop {
                match updraft.wait_for_run("work", run).await {
                    Err(ServiceError::Storage(StorageError::Unavailable(_))) => {}
                    ended => return ended.expect("the run"),
                }
            }
        });
        let ended = ended.await.unwrap_or_else(|_| panic!("{run} does not end"));
        assert_eq!(ended.state, RunState::Success, "{run}");
    }
    for world in worlds {
        until("health", async || is_healthy(&world).await).await;
        world.running.shutdown(Duration::from_secs(5)).await;
        world.storage.close().await;
    }
    let mut marks = marks.lock().expect("marks").clone();
    for run in std::fs::read_to_string(file).expect("marks of the shell").lines() {
        *marks.entry((run.into(), "shell".into())).or_default() += 1;
    }
    assert_eq!(marks.len(), runs.len() * 3);
    let repeated: Vec<_> = marks.iter().filter(|(_, times)| **times != 1).collect();
    assert!(repeated.is_empty(), "these began more than once: {repeated:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_crashes_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (marks, file) = (Marks::default(), folder.path().join("marks"));
    let cluster = Cluster::start(Durability::None).await.expect("a server");
    let database = cluster.database().await;
    let world = start(&database, "one", Duration::from_secs(30), &marks, &file, 0.3).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let client = tokio::spawn(load(world.updraft.clone(), Arc::clone(&is_over)));
    let clock = SystemClock::new();
    for _ in 0..3 {
        until("health", async || is_healthy(&world).await).await;
        clock.sleep(Duration::from_millis(700)).await;
        cluster.stop().await;
        let down = clock.monotonic();
        let says = || world.running.health().scheduler == SchedulerState::StorageUnavailable;
        until("the scheduler says that its storage is away", async || says()).await;
        until("the API says so", async || metadatabase(&world.updraft).await == "unhealthy").await;
        assert!(clock.monotonic() - down < Duration::from_secs(5), "it took {:?}", clock.monotonic() - down);
        clock.sleep_until(down + Duration::from_secs(2)).await;
        assert!(says());
        cluster.restart().await;
    }
    until("health", async || is_healthy(&world).await).await;
    is_over.store(true, Ordering::Relaxed);
    let runs = client.await.expect("the client");
    all_is_well(vec![world], &runs, &marks, &file).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let (marks, file) = (Marks::default(), folder.path().join("marks"));
    let cluster = Cluster::start(Durability::None).await.expect("a server");
    let database = cluster.database().await;
    let world = start(&database, "one", Duration::from_secs(30), &marks, &file, 0.1).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let client = tokio::spawn(load(world.updraft.clone(), Arc::clone(&is_over)));
    let clock = SystemClock::new();
    let mut cutter = database.connect().await;
    let mut cut = 0;
    for _ in 0..60 {
        clock.sleep(Duration::from_millis(100)).await;
        let cuts: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'updraft'",
        )
        .fetch_all(&mut cutter)
        .await
        .expect("connections are cut");
        cut += cuts.len();
    }
    assert!(cut > 100, "{cut} connections were cut");
    is_over.store(true, Ordering::Relaxed);
    let runs = client.await.expect("the client");
    all_is_well(vec![world], &runs, &marks, &file).await;
}

/// Leases that pass while the database is away are nobody's death.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_longer_than_leases_takes_nothing_from_anybody() {
    const LEASE: Duration = Duration::from_secs(2);
    let folder = tempfile::tempdir().expect("a folder");
    let (marks, file) = (Marks::default(), folder.path().join("marks"));
    let cluster = Cluster::start(Durability::None).await.expect("a server");
    let database = cluster.database().await;
    let mut worlds = Vec::new();
    for name in ["one", "two"] {
        worlds.push(start(&database, name, LEASE, &marks, &file, 10.0).await);
    }
    let mut runs = Vec::new();
    for index in 0..12 {
        let request = TriggerRequest { run_id: Some(format!("r{index}")), ..TriggerRequest::default() };
        let world = &worlds[index % 2];
        runs.push(world.updraft.trigger("work", request).await.expect("a run").run_id);
    }
    let is_at_work = || std::fs::read_to_string(&file).is_ok_and(|text| text.lines().count() == runs.len());
    until("all shells run", async || is_at_work()).await;
    cluster.stop().await;
    SystemClock::new().sleep(LEASE * 2).await;
    cluster.restart().await;
    all_is_well(worlds, &runs, &marks, &file).await;
}
