//! A DAG of two tasks and its runs, in a database of their own.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use updraft_core::clock::{Clock, SystemClock};
use updraft_core::dag::content_hash;
use updraft_core::id::{DagVersionId, UNMAPPED};
use updraft_core::log::LogKey;
use updraft_core::model::{AuditEntry, Dag, DagRun, OperatorRef, RunState, RunType, Task};
use updraft_core::storage::{DagRegistration, DagStorage, NewRun, RunStorage};
use updraft_storage_postgres::{PostgresSettings, PostgresStorage, sqlx};
use updraft_test_postgres::{Cluster, Database};

pub(crate) struct Runs {
    pub(crate) storage: PostgresStorage,
    pub(crate) database: Database,
    pub(crate) version: DagVersionId,
}

pub(crate) fn start() -> DateTime<Utc> {
    "2026-01-01T00:00:00Z".parse().expect("a date")
}

pub(crate) fn storage_of(settings: PostgresSettings) -> PostgresStorage {
    PostgresStorage::new(settings, Arc::new(SystemClock::new()))
}

impl Runs {
    pub(crate) async fn open() -> Self {
        Self::on(Cluster::shared().await, |settings| settings).await
    }

    pub(crate) async fn on(cluster: &Cluster, change: impl FnOnce(PostgresSettings) -> PostgresSettings) -> Self {
        let database = cluster.database().await;
        let storage = storage_of(change(PostgresSettings::from_options(database.options())));
        let mut dag = Dag::new("etl");
        dag.tasks = ["load", "report"].map(|id| Task::new(id, OperatorRef::from_path("test.Nothing"))).into();
        let content_hash = content_hash(&dag);
        let registration =
            DagRegistration { dag: Arc::new(dag), content_hash, paused_upon_creation: false, source: None };
        let version = storage.register_dags(start(), vec![registration]).await.expect("a DAG")[0].id;
        Self { storage, database, version }
    }

    /// Another process on the same database.
    pub(crate) fn other(&self) -> PostgresStorage {
        storage_of(PostgresSettings::from_options(self.database.options()))
    }

    pub(crate) fn new_run(&self, number: i64) -> NewRun {
        let date = start() + TimeDelta::seconds(number);
        NewRun {
            uid: updraft_core::id::IdSource::from_system().uuid(date),
            dag_version: self.version,
            run_id: format!("run-{number}"),
            run_type: RunType::Manual,
            state: RunState::Queued,
            logical_date: date,
            data_interval_start: date,
            data_interval_end: date,
            external_trigger: true,
            conf: json!({}),
            note: None,
            audit: Some(AuditEntry { event: "trigger".into(), dag_id: Some("etl".into()), ..AuditEntry::default() }),
        }
    }

    pub(crate) async fn create(&self, numbers: impl IntoIterator<Item = i64>) -> Vec<DagRun> {
        let runs = numbers.into_iter().map(|number| self.new_run(number)).collect();
        let created = self.storage.create_runs(start(), runs).await.expect("runs");
        created.into_iter().map(|run| run.expect("a run")).collect()
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.database.connect().await).await.expect("a count")
    }

    pub(crate) async fn execute(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&mut self.database.connect().await).await.expect("a change");
    }
}

/// The log of the first task's try of a run.
pub(crate) fn key(number: i64, try_number: u32) -> LogKey {
    let run_id = format!("run-{number}");
    LogKey { dag_id: "etl".into(), run_id, task_id: "load".into(), map_index: UNMAPPED, try_number }
}

/// Waits until it holds.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::new();
    let deadline = clock.monotonic() + Duration::from_secs(30);
    while !holds().await {
        assert!(clock.monotonic() < deadline, "it does not come to hold");
        clock.sleep(Duration::from_millis(20)).await;
    }
}
