//! Connections are given back.

use std::sync::Arc;
use std::time::Duration;

use updraft_core::clock::SystemClock;
use updraft_core::storage::{PoolStorage, SchedulerStorage, StorageError};
use updraft_storage_postgres::{PostgresSettings, PostgresStorage};
use updraft_test_postgres::Cluster;

async fn closes(is_waited_for: bool) {
    let database = Cluster::shared().await.database().await;
    let settings = PostgresSettings::from_options(database.options());
    let storage = PostgresStorage::new(settings, Arc::new(SystemClock::new()));
    storage.pool("default_pool").await.expect("a pool");
    // That it listens is the first news.
    let count = storage.announcement(0).await;
    let waiter = storage.clone();
    let waiter = tokio::spawn(async move { if is_waited_for { waiter.announcement(count).await } else { 0 } });
    tokio::task::yield_now().await;
    tokio::time::timeout(Duration::from_secs(20), storage.close()).await.expect("it closes");
    let error = storage.pool("default_pool").await.expect_err("it is closed");
    assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}");
    waiter.abort();
}

#[tokio::test]
async fn a_storage_that_has_listened_closes() {
    closes(false).await;
}

#[tokio::test]
async fn a_storage_that_listens_closes() {
    closes(true).await;
}
