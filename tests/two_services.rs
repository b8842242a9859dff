//! Two services with different DAGs, or two versions of one, share a database: nothing fails, flaps or spins.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use updraft::clock::{Clock, Sleep, SystemClock};
use updraft::dag::{DagBuilder, chain};
use updraft::engine::SchedulerState;
use updraft::model::RunState;
use updraft::operator::{Outcome, TaskContext};
use updraft::operators::OperatorsConfig;
use updraft::postgres::{PostgresSettings, PostgresStorage, sqlx};
use updraft::{Running, TriggerRequest, Updraft};
use updraft_test_postgres::{Cluster, Database};

const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that runs so many times as fast as the machine's.
#[derive(Debug)]
struct Fast(SystemClock, u32);

impl Clock for Fast {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic() * self.1
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        self.0.sleep_until(deadline / self.1)
    }
}

struct Service {
    updraft: Updraft,
    running: Running,
    storage: PostgresStorage,
}

impl Service {
    async fn start(
        database: &Database,
        name: &str,
        speed: u32,
        declare: impl FnOnce(updraft::Builder) -> updraft::Builder,
    ) -> Self {
        let clock = Arc::new(Fast(SystemClock::new(), speed));
        let storage = PostgresStorage::new(PostgresSettings::from_options(database.options()), clock.clone());
        let builder = Updraft::builder()
            .clock(clock)
            .storage(Arc::new(storage.clone()))
            .scheduler_name(name)
            .builtin_operators(OperatorsConfig::default());
        let updraft = declare(builder).build().expect("an orchestrator");
        let running = updraft.start().await.expect("a start");
        Self { updraft, running, storage }
    }

    async fn trigger(&self, dag: &str) -> String {
        self.updraft.trigger(dag, TriggerRequest::default()).await.expect("a run").run_id
    }

    /// The run ends, and its task `who` was done by this service.
    async fn did(&self, dag: &str, run: &str, service: &str) {
        let end = self.updraft.wait_for_run(dag, run);
        let ended = tokio::time::timeout(PATIENCE, end).await.unwrap_or_else(|_| panic!("{run} of {dag} does not end"));
        assert_eq!(ended.expect("the run").state, RunState::Success);
        let done_by = self.updraft.service().xcom(dag, run, "who", -1, "return_value").await.expect("a value");
        assert_eq!(done_by.xcom.value, service, "{run} of {dag}");
    }

    async fn stop(self) {
        self.running.shutdown(Duration::from_secs(5)).await;
        self.storage.close().await;
    }
}

/// A DAG whose task `who` tells which service did it. Each version has as many tasks after it.
fn code(dag_id: &str, version: usize, service: &'static str) -> DagBuilder {
    let dag = DagBuilder::new(dag_id);
    let mut last = dag.task("who", move |_: TaskContext| async move { Ok(Outcome::value(service)) });
    for index in 0..version {
        let next = dag.task(&format!("then{index}"), |_: TaskContext| async { Ok(Outcome::success()) });
        chain([&last, &next]);
        last = next;
    }
    dag
}

async fn count(database: &Database, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&mut database.connect().await).await.expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_run_is_run_by_who_knows_its_code() {
    let database = Cluster::shared().await.database().await;
    let first = |builder: updraft::Builder| builder.dag(code("a", 1, "first")).dag(code("c", 1, "first"));
    let a = Service::start(&database, "first", 1, first).await;
    let mut old = Vec::new();
    for _ in 0..20 {
        old.push(a.trigger("c").await);
    }
    let second = |builder: updraft::Builder| builder.dag(code("b", 1, "second")).dag(code("c", 2, "second"));
    let b = Service::start(&database, "second", 1, second).await;
    // Triggered by whoever: it is the version that counts.
    for (dag, service) in [("a", "first"), ("b", "second"), ("c", "second")] {
        for trigger in [&a, &b, &a, &b] {
            let run = trigger.trigger(dag).await;
            a.did(dag, &run, service).await;
        }
    }
    for run in &old {
        b.did("c", run, "first").await;
    }
    a.stop().await;

    // Nobody can run this; it waits, and costs next to nothing.
    let waiting = b.trigger("a").await;
    let clock = SystemClock::new();
    clock.sleep(Duration::from_secs(1)).await;
    const TRANSACTIONS: &str =
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let before = count(&database, TRANSACTIONS).await;
    clock.sleep(Duration::from_secs(4)).await;
    let transactions = count(&database, TRANSACTIONS).await - before;
    assert!(transactions < 100, "{transactions} transactions in 4 s without work");
    let run = b.updraft.service().dag_run("a", &waiting).await.expect("the run");
    assert_eq!(run.state, RunState::Queued);
    assert!(b.running.health().is_healthy());

    // Whoever can run it comes back.
    let a = Service::start(&database, "first", 1, first).await;
    b.did("a", &waiting, "first").await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_of_the_same_name_takes_over_at_once() {
    let database = Cluster::shared().await.database().await;
    let slow = |service: &'static str, seconds: u64| {
        move |builder: updraft::Builder| {
            let dag = DagBuilder::new("slow");
            let work = move |cx: TaskContext| async move {
                cx.clock().sleep(Duration::from_secs(seconds)).await;
                Ok(Outcome::value(service))
            };
            dag.task("who", work).retries(1).retry_delay(Duration::ZERO);
            builder.dag(dag)
        }
    };
    let clock = SystemClock::new();
    let old = Service::start(&database, "same", 1, slow("old", 3600)).await;
    let run = old.trigger("slow").await;
    let running = async {
        while count(&database, "SELECT count(*) FROM updraft.attempt").await == 0 {
            clock.sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, running).await.expect("the task runs");
    let began = clock.monotonic();
    let new = Service::start(&database, "same", 1, slow("new", 0)).await;
    new.did("slow", &run, "new").await;
    // The lease is 30 s.
    assert!(clock.monotonic() - began < Duration::from_secs(10));
    let ends = async {
        while old.running.health().scheduler != SchedulerState::Stopped {
            clock.sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ends).await.expect("the old one ends");
    assert!(new.running.health().is_healthy());
    old.stop().await;
    new.stop().await;
}

fn write(folder: &Path, name: &str, tasks: usize) {
    let tasks: String = (0..tasks)
        .map(|index| {
            format!("    t{index}:\n      operator: airflow.operators.bash.BashOperator\n      bash_command: 'true'\n")
        })
        .collect();
    let text = format!(
        "{name}:\n  default_args:\n    start_date: 2024-01-01\n    owner: me\n  schedule: null\n  tasks:\n{tasks}"
    );
    std::fs::write(folder.join(format!("{name}.yaml")), text).expect("a file");
}

/// The folders differ in what they declare, and are watched for minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dag_files_of_two_services_do_not_flap() {
    const SPEED: u32 = 20;
    let database = Cluster::shared().await.database().await;
    let (ours, theirs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    write(ours.path(), "a", 1);
    write(ours.path(), "both", 1);
    write(ours.path(), "differs", 1);
    write(theirs.path(), "b", 1);
    write(theirs.path(), "both", 1);
    write(theirs.path(), "differs", 2);
    let a = Service::start(&database, "first", SPEED, |builder| builder.dag_folder(ours.path())).await;
    let b = Service::start(&database, "second", SPEED, |builder| builder.dag_folder(theirs.path())).await;

    let mut connection = database.connect().await;
    let mut seen = BTreeSet::new();
    let clock = SystemClock::new();
    let began = clock.monotonic();
    let mut is_removed = false;
    // Two minutes for the services.
    while clock.monotonic() - began < Duration::from_secs(120) / SPEED {
        if !is_removed && clock.monotonic() - began > Duration::from_secs(20) / SPEED {
            // The other service still has it.
            std::fs::remove_file(ours.path().join("both.yaml")).expect("a file");
            is_removed = true;
        }
        let state: Vec<(String, bool, i64, i64)> = sqlx::query_as(
            "SELECT d.dag_id, d.is_active, d.newest_version, (SELECT max(id) FROM updraft.dag_version)
             FROM updraft.dag d ORDER BY d.dag_id",
        )
        .fetch_all(&mut connection)
        .await
        .expect("the DAGs");
        seen.insert(state);
        clock.sleep(Duration::from_millis(20)).await;
    }
    let ids: Vec<_> = seen.iter().flatten().map(|(id, ..)| id.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(ids, ["a", "b", "both", "differs"]);
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert!(seen.iter().flatten().all(|(_, is_active, ..)| *is_active));

    // One that only one service had goes once nobody has reported it for a minute.
    std::fs::remove_file(ours.path().join("a.yaml")).expect("a file");
    clock.sleep(Duration::from_secs(1)).await;
    const ACTIVE: &str = "SELECT count(*) FROM updraft.dag WHERE is_active";
    assert_eq!(count(&database, ACTIVE).await, 4);
    let aged = "UPDATE updraft.dag SET last_parsed_time = last_parsed_time - interval '1 minute' WHERE dag_id = 'a'";
    sqlx::query(aged).execute(&mut connection).await.expect("time passes");
    let gone = async {
        while count(&database, ACTIVE).await == 4 {
            clock.sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it turns inactive");
    assert!(a.running.health().is_healthy() && b.running.health().is_healthy());
    a.stop().await;
    b.stop().await;
}
