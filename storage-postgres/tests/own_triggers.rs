//! A run that is triggered beside its scheduler is that scheduler's at once.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use updraft_core::clock::SystemClock;
use updraft_core::dag::content_hash;
use updraft_core::id::{DagVersionId, RunId};
use updraft_core::model::{Dag, DagRun, Host, OperatorRef, RunState, RunType, Task};
use updraft_core::storage::{DagRegistration, DagStorage, NewRun, RunStorage, SchedulerSession, SchedulerStorage};
use updraft_storage_postgres::{PostgresSettings, PostgresStorage};
use updraft_test_postgres::{Cluster, Database};

const LEASE: Duration = Duration::from_secs(30);

fn day(day: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(day)
}

struct Trial {
    storage: PostgresStorage,
    version: DagVersionId,
    session: SchedulerSession,
    database: Database,
}

impl Trial {
    /// A scheduler that runs a DAG of two runs at a time.
    async fn new() -> Self {
        let database = Cluster::shared().await.database().await;
        let storage =
            PostgresStorage::new(PostgresSettings::from_options(database.options()), Arc::new(SystemClock::new()));
        let mut dag = Dag::new("d");
        dag.tasks = vec![Task::new("a", OperatorRef::from_path("airflow.operators.bash.BashOperator"))];
        dag.max_active_runs = 2;
        let dag = Arc::new(dag);
        let registration =
            DagRegistration { content_hash: content_hash(&dag), dag, paused_upon_creation: false, source: None };
        let version = storage.register_dags(day(0), vec![registration]).await.expect("a version")[0].id;
        let session = storage.register_scheduler("s", LEASE, &Host::default()).await.expect("a session");
        assert!(storage.claim_runs(&session, &[version], 10).await.expect("a claim").is_empty());
        Self { storage, version, session, database }
    }

    async fn create(&self, number: i64) -> DagRun {
        create(&self.storage, self.version, number).await
    }

    async fn claimed(&self) -> Vec<RunId> {
        let claimed = self.storage.claim_runs(&self.session, &[self.version], 10).await.expect("a claim");
        claimed.into_iter().map(|snapshot| snapshot.run.id).collect()
    }
}

async fn create(storage: &PostgresStorage, version: DagVersionId, number: i64) -> DagRun {
    let run = NewRun {
        uid: updraft_core::id::IdSource::from_system().uuid(day(number)),
        dag_version: version,
        run_id: format!("r{number}"),
        run_type: RunType::Manual,
        state: RunState::Queued,
        logical_date: day(number),
        data_interval_start: day(number),
        data_interval_end: day(number),
        external_trigger: true,
        conf: json!({}),
        note: None,
        audit: None,
    };
    storage.create_runs(day(0), vec![run]).await.expect("an answer").remove(0).expect("a run")
}

#[tokio::test]
async fn a_run_with_room_is_its_schedulers_at_once() {
    let trial = Trial::new().await;
    let first = trial.create(1).await;
    assert_eq!(first.owner, Some(trial.session.id));
    assert_eq!(trial.claimed().await, [first.id], "it is handed over once");
    assert!(trial.claimed().await.is_empty());
    let second = trial.create(2).await;
    let third = trial.create(3).await;
    assert_eq!((second.owner, third.owner), (Some(trial.session.id), None), "there is room for two");
    assert_eq!(trial.claimed().await, [second.id]);
    assert_eq!(trial.storage.owned_runs(&trial.session).await.expect("its runs"), [first.id, second.id]);
}

#[tokio::test]
async fn nothing_overtakes_what_waits() {
    let trial = Trial::new().await;
    let other = PostgresSettings::from_options(trial.database.options());
    let other = PostgresStorage::new(other, Arc::new(SystemClock::new()));
    let waiting = create(&other, trial.version, 1).await;
    assert_eq!(waiting.owner, None, "that process has no scheduler");
    let newer = trial.create(2).await;
    assert_eq!(newer.owner, None);
    assert_eq!(trial.claimed().await, [waiting.id, newer.id]);
}

#[tokio::test]
async fn a_paused_dag_leaves_its_runs_where_they_are() {
    let trial = Trial::new().await;
    trial.storage.set_paused(day(0), &["d".into()], true, None).await.expect("it is paused");
    assert_eq!(trial.create(1).await.owner, None);
    assert!(trial.claimed().await.is_empty());
}

#[tokio::test]
async fn a_replaced_scheduler_gets_nothing() {
    let trial = Trial::new().await;
    let other = PostgresSettings::from_options(trial.database.options());
    let other = PostgresStorage::new(other, Arc::new(SystemClock::new()));
    let successor = other.register_scheduler("s", LEASE, &Host::default()).await.expect("a session");
    let run = trial.create(1).await;
    assert_eq!(run.owner, None, "the session that this process knows has ended");
    let claimed = other.claim_runs(&successor, &[trial.version], 10).await.expect("a claim");
    assert_eq!(claimed.len(), 1);
}
