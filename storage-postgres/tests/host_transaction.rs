//! Runs that are created in a transaction of the host.

#[path = "support/runs.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod runs;

use runs::{Runs, start};
use sqlx::{Connection, PgConnection};
use updraft_core::model::Note;
use updraft_core::storage::{RunQuery, RunStorage, StorageError, Subject};
use updraft_storage_postgres::sqlx;

/// A connection of a host that has its own tables and path.
async fn host(runs: &Runs) -> PgConnection {
    runs.execute("CREATE SCHEMA shop; CREATE TABLE shop.orders (id int); CREATE TABLE shop.dag_run (nothing int)")
        .await;
    let mut connection = runs.database.connect().await;
    sqlx::raw_sql("SET search_path TO shop").execute(&mut connection).await.expect("a setting");
    connection
}

async fn order(connection: &mut PgConnection, id: i32) {
    sqlx::query("INSERT INTO orders (id) VALUES ($1)").bind(id).execute(connection).await.expect("a row");
}

async fn total(runs: &Runs) -> u64 {
    runs.storage.dag_runs(&RunQuery::default()).await.expect("runs").total
}

#[tokio::test]
async fn rows_of_the_host_and_runs_are_one_change() {
    let runs = Runs::open().await;
    let mut connection = host(&runs).await;

    let mut transaction = connection.begin().await.expect("a transaction");
    order(&mut transaction, 1).await;
    let created = runs.storage.create_runs_in(&mut transaction, start(), vec![runs.new_run(1)]).await.expect("a step");
    assert_eq!(created[0].as_ref().expect("a run").run_id, "run-1");
    assert_eq!(total(&runs).await, 0, "nobody sees it yet");
    transaction.rollback().await.expect("a rollback");
    assert_eq!((total(&runs).await, runs.count("SELECT count(*) FROM shop.orders").await), (0, 0));

    let mut transaction = connection.begin().await.expect("a transaction");
    order(&mut transaction, 1).await;
    let new = vec![runs.new_run(1), runs.new_run(2)];
    let created = runs.storage.create_runs_in(&mut transaction, start(), new).await.expect("a step");
    assert!(created.iter().all(|run| run.as_ref().is_ok_and(|run| run.owner.is_none())), "{created:?}");
    transaction.commit().await.expect("a commit");
    runs.storage.announce_runs();
    assert_eq!((total(&runs).await, runs.count("SELECT count(*) FROM shop.orders").await), (2, 1));
    assert_eq!(runs.count("SELECT count(*) FROM updraft.task_instance").await, 4);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.event_log WHERE event = 'trigger'").await, 2);
}

#[tokio::test]
async fn the_transaction_goes_on_whatever_the_answer() {
    let runs = Runs::open().await;
    runs.create([1]).await;
    let mut connection = host(&runs).await;
    let mut transaction = connection.begin().await.expect("a transaction");
    order(&mut transaction, 1).await;
    let same_id = updraft_core::storage::NewRun { run_id: "run-1".into(), ..runs.new_run(2) };
    let new = vec![runs.new_run(1), same_id, runs.new_run(3)];
    let created = runs.storage.create_runs_in(&mut transaction, start(), new).await.expect("a step");
    assert!(matches!(&created[0], Err(StorageError::AlreadyExists(Subject::LogicalDate(..)))), "{created:?}");
    assert!(matches!(&created[1], Err(StorageError::AlreadyExists(Subject::DagRun(..)))), "{created:?}");
    assert!(created[2].is_ok(), "{created:?}");
    // What the database itself refuses does not break the transaction either.
    let note = Some(Note { content: "nul\0".into(), user: None });
    let refused = vec![updraft_core::storage::NewRun { note, ..runs.new_run(4) }];
    let error = runs.storage.create_runs_in(&mut transaction, start(), refused).await.expect_err("a NUL");
    assert!(matches!(error, StorageError::Invalid(_)), "{error:?}");
    order(&mut transaction, 2).await;
    transaction.commit().await.expect("a commit");
    assert_eq!((total(&runs).await, runs.count("SELECT count(*) FROM shop.orders").await), (2, 2));
}

#[tokio::test]
async fn without_a_transaction_nothing_is_done() {
    let runs = Runs::open().await;
    let mut connection = host(&runs).await;
    runs.storage.create_runs_in(&mut connection, start(), vec![runs.new_run(1)]).await.expect_err("no transaction");
    assert_eq!(total(&runs).await, 0);
}
