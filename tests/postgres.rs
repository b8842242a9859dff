//! What a host has on PostgreSQL only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use updraft::clock::{Clock, SystemClock};
use updraft::dag::{DagBuilder, chain};
use updraft::engine::SchedulerState;
use updraft::model::RunState;
use updraft::operator::{Outcome, TaskContext};
use updraft::postgres::sqlx::{self, Connection};
use updraft::postgres::{PostgresSettings, PostgresStorage, PurgeRequest};
use updraft::service::ServiceError;
use updraft::storage::{RunQuery, RunStorage, SchedulerStorage, TaskInstanceQuery};
use updraft::{TriggerRequest, Updraft};
use updraft_test_postgres::{Cluster, Database};

fn storage(database: &Database) -> PostgresStorage {
    PostgresStorage::new(PostgresSettings::from_options(database.options()), Arc::new(SystemClock::new()))
}

fn updraft_on(storage: &PostgresStorage, dag: DagBuilder) -> Updraft {
    Updraft::builder().storage(Arc::new(storage.clone())).dag(dag).build().expect("an orchestrator")
}

fn steps() -> DagBuilder {
    let dag = DagBuilder::new("steps").max_active_runs(1_000).max_active_tasks(1_000);
    let one = dag.task("one", |cx: TaskContext| async move {
        cx.log().line("the first step");
        Ok(Outcome::value(1))
    });
    let two = dag.task("two", |_: TaskContext| async { Ok(Outcome::success()) });
    chain([&one, &two]);
    dag
}

async fn within_a_minute<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it ends within a minute")
}

#[tokio::test]
async fn a_run_is_triggered_by_a_commit_of_the_host() {
    let database = Cluster::shared().await.database().await;
    let storage = storage(&database);
    let updraft = updraft_on(&storage, steps());
    let running = updraft.start().await.expect("a start");
    let mut connection = database.connect().await;
    sqlx::raw_sql("CREATE TABLE orders (item text)").execute(&mut connection).await.expect("a table");
    let named = |run_id: &str| TriggerRequest { run_id: Some(run_id.into()), ..TriggerRequest::default() };

    let mut transaction = connection.begin().await.expect("a transaction");
    updraft.trigger_in(&mut transaction, "steps", named("never")).await.expect("a run");
    transaction.rollback().await.expect("a rollback");

    let mut transaction = connection.begin().await.expect("a transaction");
    sqlx::query("INSERT INTO orders VALUES ('tea')").execute(&mut *transaction).await.expect("a row");
    updraft.trigger_in(&mut transaction, "steps", named("tea")).await.expect("a run");
    // Free dates step aside; everything is checked as for a trigger of its own.
    updraft.trigger_in(&mut transaction, "steps", TriggerRequest::default()).await.expect("a run");
    let error = updraft.trigger_in(&mut transaction, "steps", named("tea")).await.expect_err("a duplicate");
    assert!(matches!(error, ServiceError::AlreadyExists(_)), "{error}");
    let error = updraft.trigger_in(&mut transaction, "none", named("x")).await.expect_err("no DAG");
    assert!(matches!(error, ServiceError::NotFound(_)), "{error}");
    let error = updraft.trigger_in(&mut transaction, "steps", named("a/b")).await.expect_err("no id");
    assert!(matches!(error, ServiceError::Invalid { .. }), "{error}");
    sqlx::query("INSERT INTO orders VALUES ('cake')").execute(&mut *transaction).await.expect("a row");
    transaction.commit().await.expect("a commit");

    let ended = within_a_minute(updraft.wait_for_run("steps", "tea")).await.expect("a run");
    assert_eq!(ended.state, RunState::Success);
    let orders: i64 =
        sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&mut connection).await.expect("a count");
    let runs = updraft.service().dag_runs(&RunQuery::default()).await.expect("runs");
    assert_eq!((orders, runs.total), (2, 2));
    within_a_minute(running.shutdown(Duration::from_secs(5))).await;
}

#[tokio::test]
async fn any_process_serves_the_log_of_a_try_that_runs() {
    let database = Cluster::shared().await.database().await;
    let may_end = Arc::new(AtomicBool::new(false));
    let dag = DagBuilder::new("talks");
    let ends = Arc::clone(&may_end);
    dag.task("talk", move |cx: TaskContext| {
        let ends = Arc::clone(&ends);
        async move {
            cx.log().line("I have begun");
            while !ends.load(Ordering::SeqCst) {
                SystemClock::new().sleep(Duration::from_millis(5)).await;
            }
            cx.log().line("I am done");
            Ok(Outcome::success())
        }
    });
    let worker = updraft_on(&storage(&database), dag);
    let running = worker.start().await.expect("a start");
    worker
        .trigger("talks", TriggerRequest { run_id: Some("r".into()), ..TriggerRequest::default() })
        .await
        .expect("a run");
    let reader = Updraft::builder().storage(Arc::new(storage(&database))).build().expect("an orchestrator");
    let log = async || {
        let page = reader.service().task_instances(&TaskInstanceQuery::default()).await.expect("instances");
        reader.service().task_log(&page.items[0], 1, 0, 1 << 20).await.expect("a log")
    };
    within_a_minute(async {
        while !log().await.text.contains("I have begun") {
            SystemClock::new().sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(!log().await.is_end);
    may_end.store(true, Ordering::SeqCst);
    within_a_minute(worker.wait_for_run("talks", "r")).await.expect("a run");
    // Complete with the outcome, not a second later.
    let whole = log().await;
    assert!(whole.is_end && whole.text.contains("I am done"), "{whole:?}");
    within_a_minute(running.shutdown(Duration::from_secs(5))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_purged_beside_a_scheduler_at_work() {
    const RUNS: usize = 300;
    let database = Cluster::shared().await.database().await;
    let storage = storage(&database);
    let updraft = updraft_on(&storage, steps());
    let running = updraft.start().await.expect("a start");
    let gone = Arc::new(AtomicUsize::new(0));
    let purge = async {
        // By a process of its own.
        let other = self::storage(&database);
        while gone.load(Ordering::SeqCst) < RUNS {
            let now = other.now().await.expect("a time");
            let request = PurgeRequest { batch: 7, ..PurgeRequest::older_than(now) };
            let purged = other.purge(request).await.expect("a purge");
            assert_eq!(purged.task_instances, purged.runs * 2);
            gone.fetch_add(usize::try_from(purged.runs).expect("few"), Ordering::SeqCst);
        }
    };
    let trigger = async {
        for _ in 0..RUNS {
            updraft.trigger("steps", TriggerRequest::default()).await.expect("a run");
        }
    };
    within_a_minute(Box::pin(async { tokio::join!(purge, trigger) })).await;
    assert_eq!(gone.load(Ordering::SeqCst), RUNS);
    assert_eq!(storage.dag_runs(&RunQuery::default()).await.expect("runs").total, 0);
    assert_eq!(running.health().scheduler, SchedulerState::Healthy);
    within_a_minute(running.shutdown(Duration::from_secs(5))).await;
    let mut connection = database.connect().await;
    let left: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM updraft.task_instance) + (SELECT count(*) FROM updraft.attempt)
            + (SELECT count(*) FROM updraft.log_chunk)",
    )
    .fetch_one(&mut connection)
    .await
    .expect("a count");
    assert_eq!(left, 0);
}
