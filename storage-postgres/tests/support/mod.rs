//! What the tests of the PostgreSQL storage share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use updraft_core::clock::SystemClock;
use updraft_core::storage::Storage;
use updraft_core::storage::conformance::Trial;
use updraft_storage_postgres::{PostgresSettings, PostgresStorage};
use updraft_test_postgres::{Cluster, Database};

/// A storage in a database of its own.
pub(crate) struct OnPostgres {
    storage: Arc<PostgresStorage>,
    database: Database,
}

#[async_trait]
impl Trial for OnPostgres {
    fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage) as _
    }

    async fn pass(&self, time: Duration) {
        // The database's time cannot be set; leases move the other way instead.
        let moved = sqlx::query("UPDATE updraft.heartbeat SET alive_until = alive_until - $1")
            .bind(time)
            .execute(&mut self.database.connect().await)
            .await;
        moved.expect("leases move");
    }
}

/// An empty storage, which leaves it to claims who gets a run.
pub(crate) async fn open() -> OnPostgres {
    let database = Cluster::shared().await.database().await;
    let settings = PostgresSettings::from_options(database.options()).own_triggers(false);
    OnPostgres { storage: Arc::new(PostgresStorage::new(settings, Arc::new(SystemClock::new()))), database }
}
