//! A PostgreSQL server of the benchmark's own, and what it counts.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection};
use updraft_core::clock::Clock;
use updraft_test_postgres::{Cluster, Database, Durability};

use crate::postmaster::Postmaster;

/// Tables that are written when a DAG or a scheduler is registered, not when tasks run.
const COLD: &str = "'{dag,dag_version,task,source,pool,host,scheduler,heartbeat,migration}'";

/// A server, whose processes are children of this one's.
#[derive(Debug)]
pub(super) struct Server {
    cluster: Cluster,
    clock: Arc<dyn Clock>,
    postmaster: Postmaster,
}

/// What is counted for the whole server, so that nobody else may use it meanwhile.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Transactions that wrote or locked anything: each takes a number.
    pub transactions: i64,
    /// Bytes of the write-ahead log.
    pub wal: i64,
    /// Processor time of the server's processes.
    pub cpu: Duration,
}

impl Counts {
    /// What has come since.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            transactions: self.transactions - before.transactions,
            wal: self.wal - before.wal,
            cpu: self.cpu.saturating_sub(before.cpu),
        }
    }
}

/// Rows that were written to the tables of runs and task instances.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rows {
    /// Inserted, updated or deleted.
    pub written: i64,
    /// Updated.
    pub updated: i64,
    /// Updated without a new entry in any index.
    pub updated_in_place: i64,
}

impl Rows {
    /// What has come since.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            written: self.written - before.written,
            updated: self.updated - before.updated,
            updated_in_place: self.updated_in_place - before.updated_in_place,
        }
    }
}

impl Server {
    /// A server with PostgreSQL's default durability.
    ///
    /// # Panics
    /// PostgreSQL is not installed or does not start.
    pub(super) async fn start(clock: Arc<dyn Clock>) -> Self {
        let cluster = Cluster::start(Durability::Default).await.unwrap_or_else(|error| panic!("{error}"));
        let options: PgConnectOptions = cluster.url().parse().expect("the cluster's URL can be used");
        let mut connection = PgConnection::connect_with(&options).await.expect("the server answers");
        let postmaster = Postmaster::of(&mut connection).await;
        Self { cluster, clock, postmaster }
    }

    /// Nothing runs in the background from now on, so that transactions can be counted to the last one.
    ///
    /// # Panics
    /// The server fails.
    pub(super) async fn stop_autovacuum(&self) {
        let options: PgConnectOptions = self.cluster.url().parse().expect("the cluster's URL can be used");
        let mut connection = PgConnection::connect_with(&options).await.expect("the server answers");
        for statement in ["ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()"] {
            connection.execute(statement).await.expect("settings can be changed");
        }
    }

    /// A database with Updraft's tables and nothing in them.
    pub(super) async fn database(&self) -> Database {
        self.cluster.database().await
    }

    /// What was counted so far.
    ///
    /// # Panics
    /// The server fails.
    pub(super) async fn counts(&self, connection: &mut PgConnection) -> Counts {
        // The number that the next transaction gets, once all have ended.
        let statement = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
            (pg_current_wal_insert_lsn() - '0/0')::bigint";
        let (transactions, wal): (i64, i64) =
            sqlx::query_as(statement).fetch_one(connection).await.expect("the server answers");
        Counts { transactions, wal, cpu: self.postmaster.cpu_time() }
    }

    /// Rows written by connections to this database that are closed by now; waits until all others are.
    ///
    /// # Panics
    /// The server fails.
    pub(super) async fn rows(&self, database: &Database) -> Rows {
        let mut connection = database.connect().await;
        let others = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        // A connection hands its counts in when it ends.
        while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut connection).await.expect("the server answers") > 0 {
            self.clock.sleep(Duration::from_millis(2)).await;
        }
        let statement = format!(
            "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint, coalesce(sum(n_tup_upd), 0)::bigint,
                coalesce(sum(n_tup_hot_upd), 0)::bigint
             FROM pg_stat_user_tables WHERE schemaname = 'updraft' AND relname <> ALL ({COLD})"
        );
        let (written, updated, updated_in_place): (i64, i64, i64) = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .fetch_one(&mut connection)
            .await
            .expect("the server answers");
        Rows { written, updated, updated_in_place }
    }
}
