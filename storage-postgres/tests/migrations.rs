//! The tables are made, upgraded and left alone as they should be.

use std::path::Path;
use std::sync::Arc;

use updraft_core::clock::SystemClock;
use updraft_core::storage::{PoolStorage, PoolUpdate, StorageError};
use updraft_storage_postgres::{PostgresSettings, PostgresStorage};
use updraft_test_postgres::{Cluster, Database};

fn storage_in(database: &Database, schema: &str) -> PostgresStorage {
    let settings = PostgresSettings::from_options(database.options()).schema(schema).expect("an identifier");
    PostgresStorage::new(settings, Arc::new(SystemClock::new()))
}

async fn count(database: &Database, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(&mut database.connect().await).await.expect("a count")
}

const APPLIED: &str = "SELECT count(*) FROM updraft.migration";

#[tokio::test]
async fn migrations_are_applied_once() {
    let database = Cluster::shared().await.empty_database().await;
    for _ in 0..3 {
        storage_in(&database, "updraft").migrate().await.expect("a migration");
    }
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).expect("the migrations");
    assert_eq!(usize::try_from(count(&database, APPLIED).await), Ok(files.count()));
}

#[tokio::test]
async fn processes_may_migrate_at_once() {
    let database = Cluster::shared().await.empty_database().await;
    let mut migrations = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let storage = storage_in(&database, "updraft");
        migrations.spawn(async move { storage.migrate().await });
    }
    for result in migrations.join_all().await {
        result.expect("a migration");
    }
    storage_in(&database, "updraft").migrate().await.expect("nothing is left to do");
}

#[tokio::test]
async fn only_its_own_schema_is_touched() {
    let database = Cluster::shared().await.empty_database().await;
    let before =
        "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public'";
    assert_eq!(count(&database, before).await, 0);
    storage_in(&database, "tenant_1").migrate().await.expect("a migration");
    storage_in(&database, "tenant_2").migrate().await.expect("a migration");
    assert_eq!(count(&database, before).await, 0);
    assert_eq!(count(&database, "SELECT count(*) FROM pg_namespace WHERE nspname = 'updraft'").await, 0);
    let (one, two) = (storage_in(&database, "tenant_1"), storage_in(&database, "tenant_2"));
    let slots = PoolUpdate { slots: Some(7), ..PoolUpdate::default() };
    one.update_pool("default_pool", slots, None).await.expect("a pool");
    let slots = async |storage: &PostgresStorage| storage.pool("default_pool").await.expect("a pool").pool.slots;
    assert_eq!((slots(&one).await, slots(&two).await), (7, 128));
}

#[tokio::test]
async fn what_a_newer_version_made_is_left_alone() {
    let database = Cluster::shared().await.database().await;
    let newer = "INSERT INTO updraft.migration (version, description, success, checksum, execution_time)
        VALUES (999, 'of the future', true, '', 0)";
    sqlx::raw_sql(newer).execute(&mut database.connect().await).await.expect("a row");
    let error = storage_in(&database, "updraft").migrate().await.expect_err("it is newer");
    assert!(matches!(error, StorageError::Internal(_)), "{error:?}");
}

#[tokio::test]
async fn without_tables_or_server_the_storage_says_so() {
    let database = Cluster::shared().await.empty_database().await;
    let error = storage_in(&database, "updraft").pool("default_pool").await.expect_err("there are no tables");
    assert!(matches!(error, StorageError::Internal(_)), "{error:?}");
    let nowhere = PostgresSettings::from_url("postgres://someone:secret@127.0.0.1:1/none").expect("a URL");
    let nowhere = nowhere.acquire_timeout(std::time::Duration::from_millis(500));
    let nowhere = PostgresStorage::new(nowhere, Arc::new(SystemClock::new()));
    let error = nowhere.migrate().await.expect_err("there is no server");
    assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("secret"));
}
