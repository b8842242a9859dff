//! What properties are written with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::Trial;
use crate::id::{AttemptToken, DagVersionId, IdSource, InstanceKey, RunId, TaskIx};
use crate::model::{
    AttemptPhase, AuditEntry, Dag, DagRun, Host, OperatorRef, Pool, PoolUsage, RunState, RunType, StateSet, Task,
    TaskEventLog, TaskInstance, TaskState,
};
use crate::operator::SkipDownstream;
use crate::storage::{
    Admission, Amendment, Batch, Change, DagRegistration, Ended, InstanceAmendment, NewRun, Result, RunSnapshot,
    SchedulerSession, Storage, StorageError, Transition, Verdict, XComQuery,
};

/// Where the tries of all schedulers run.
pub(super) fn host() -> Host {
    Host { hostname: "machine".into(), unixname: "someone".into(), pid: Some(7) }
}

pub(super) const LEASE: Duration = Duration::from_secs(30);

/// A moment, so many seconds after an arbitrary one.
pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap() + TimeDelta::seconds(seconds)
}

pub(super) fn key(task: u32) -> InstanceKey {
    InstanceKey::unmapped(TaskIx(task))
}

/// A DAG with these independent tasks, and room for all of them.
pub(super) fn dag(id: &str, tasks: &[&str]) -> Dag {
    let mut dag = Dag::new(id);
    dag.fileloc = format!("/dags/{id}.yaml");
    dag.max_active_tasks = 1000;
    dag.tasks = tasks.iter().map(|&id| task(id)).collect();
    dag
}

pub(super) fn task(id: &str) -> Task {
    let mut task = Task::new(id, OperatorRef::from_path("airflow.operators.bash.BashOperator"));
    task.owner = "lab".into();
    task
}

pub(super) fn registration(dag: Dag) -> DagRegistration {
    let content_hash = serde_json::to_string(&dag).unwrap();
    DagRegistration { dag: Arc::new(dag), content_hash, paused_upon_creation: false, source: None }
}

pub(super) fn audit(event: &str) -> Option<AuditEntry> {
    Some(AuditEntry { event: event.into(), owner: Some("admin".into()), ..AuditEntry::default() })
}

pub(super) fn pool(name: &str, slots: i32) -> Pool {
    Pool { id: 0, name: name.into(), slots, description: None, include_deferred: false }
}

pub(super) fn clear(retries: u32) -> InstanceAmendment {
    InstanceAmendment::Clear { retries, only: StateSet::ALL }
}

pub(super) fn mark(state: TaskState) -> InstanceAmendment {
    InstanceAmendment::Mark { state, only: StateSet::ALL }
}

/// Asserts an error of a kind.
macro_rules! assert_err {
    ($result:expr, $pattern:pat) => {
        match $result {
            Err($pattern) => {}
            other => panic!("{} expected, got {other:?}", stringify!($pattern)),
        }
    };
}
pub(super) use assert_err;

/// A storage and what is needed to fill it.
pub(super) struct World {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) ids: IdSource,
    serial: AtomicI64,
}

impl World {
    pub(super) fn new(trial: &dyn Trial) -> Self {
        Self { storage: trial.storage(), ids: IdSource::from_seed(1), serial: AtomicI64::new(0) }
    }

    pub(super) fn token(&self) -> AttemptToken {
        self.ids.attempt_token(at(0))
    }

    pub(super) async fn register(&self, dag: Dag) -> DagVersionId {
        self.storage.register_dags(at(0), vec![registration(dag)]).await.unwrap()[0].id
    }

    /// A run to be created, with a date that no other has.
    pub(super) fn new_run(&self, version: DagVersionId, run_id: &str) -> NewRun {
        let day = self.serial.fetch_add(1, Ordering::Relaxed);
        let date = at(0) - TimeDelta::days(1000) + TimeDelta::days(day);
        NewRun {
            uid: self.ids.uuid(date),
            dag_version: version,
            run_id: run_id.into(),
            run_type: RunType::Manual,
            state: RunState::Queued,
            logical_date: date,
            data_interval_start: date,
            data_interval_end: date,
            external_trigger: true,
            conf: json!({}),
            note: None,
            audit: None,
        }
    }

    pub(super) async fn try_create(&self, run: NewRun) -> Result<DagRun> {
        self.storage.create_runs(at(0), vec![run]).await.unwrap().remove(0)
    }

    pub(super) async fn create(&self, version: DagVersionId, run_id: &str) -> DagRun {
        self.try_create(self.new_run(version, run_id)).await.unwrap()
    }

    pub(super) async fn reread(&self, run: &DagRun) -> DagRun {
        self.storage.dag_run(run.dag_id.as_str(), &run.run_id).await.unwrap()
    }

    pub(super) async fn instance(&self, run: &DagRun, task: &str) -> TaskInstance {
        self.storage.task_instance(run.dag_id.as_str(), &run.run_id, task, -1).await.unwrap()
    }

    pub(super) async fn state(&self, run: &DagRun, task: &str) -> TaskState {
        self.instance(run, task).await.state
    }

    pub(super) async fn pool(&self, name: &str) -> PoolUsage {
        self.storage.pool(name).await.unwrap()
    }

    /// Keys of all XComs of a run.
    pub(super) async fn xcom_keys(&self, run: &DagRun) -> Vec<(String, String)> {
        let query = XComQuery {
            dag_id: Some(run.dag_id.to_string()),
            run_id: Some(run.run_id.clone()),
            ..XComQuery::default()
        };
        let page = self.storage.xcoms(&query).await.unwrap();
        page.items.into_iter().map(|entry| (entry.task_id, entry.xcom.key)).collect()
    }

    pub(super) async fn amend(
        &self,
        now: DateTime<Utc>,
        run: RunId,
        state: Option<RunState>,
        instances: Vec<(InstanceKey, InstanceAmendment)>,
    ) -> Vec<InstanceKey> {
        let amendment = Amendment { run, state, restarts: false, instances };
        self.storage.amend_runs(now, vec![amendment], None).await.unwrap().remove(0).1
    }

    pub(super) async fn scheduler(&self, name: &str) -> Scheduler {
        let session = self.storage.register_scheduler(name, LEASE, &host()).await.unwrap();
        Scheduler {
            storage: Arc::clone(&self.storage),
            ids: self.ids.clone(),
            session,
            sequence: 0,
            known: BTreeMap::new(),
            event_log: TaskEventLog::On,
        }
    }

    /// A DAG of tasks `a`, `b` and `c`, a run of it that runs, and the scheduler that owns it.
    pub(super) async fn started(&self) -> (Scheduler, DagRun) {
        self.started_of(dag("d", &["a", "b", "c"])).await
    }

    pub(super) async fn started_of(&self, dag: Dag) -> (Scheduler, DagRun) {
        let version = self.register(dag).await;
        let run = self.create(version, "r").await;
        let mut scheduler = self.scheduler("s").await;
        scheduler.claim(&[version]).await;
        assert_eq!(scheduler.commit(at(1), vec![(run.id, Change::StartRun)]).await, [Verdict::Done]);
        (scheduler, run)
    }
}

/// A scheduler as the storage sees it.
pub(super) struct Scheduler {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) ids: IdSource,
    pub(super) session: SchedulerSession,
    pub(super) sequence: u64,
    /// Versions of its runs.
    pub(super) known: BTreeMap<RunId, u64>,
    pub(super) event_log: TaskEventLog,
}

impl Scheduler {
    pub(super) async fn claim(&mut self, versions: &[DagVersionId]) -> Vec<RunSnapshot> {
        self.claim_some(versions, 1000).await
    }

    pub(super) async fn claim_some(&mut self, versions: &[DagVersionId], limit: usize) -> Vec<RunSnapshot> {
        let claimed = self.storage.claim_runs(&self.session, versions, limit).await.unwrap();
        self.known.extend(claimed.iter().map(|snapshot| (snapshot.run.id, snapshot.run.version)));
        claimed
    }

    pub(super) async fn claim_ids(&mut self, versions: &[DagVersionId]) -> Vec<RunId> {
        self.claim(versions).await.iter().map(|snapshot| snapshot.run.id).collect()
    }

    pub(super) async fn reload(&mut self, run: RunId) -> Option<RunSnapshot> {
        let snapshot = self.storage.reload_runs(&self.session, &[run]).await.unwrap().pop()?;
        self.known.insert(run, snapshot.run.version);
        Some(snapshot)
    }

    pub(super) fn batch(&mut self, now: DateTime<Utc>, changes: Vec<(RunId, Change)>) -> Batch {
        self.sequence += 1;
        let known = &self.known;
        let transitions = changes.into_iter().map(|(run, change)| Transition {
            run,
            version: known.get(&run).copied().unwrap_or(0),
            change,
        });
        Batch {
            session: self.session.clone(),
            lane: 0,
            sequence: self.sequence,
            now,
            event_log: self.event_log,
            transitions: transitions.collect(),
        }
    }

    pub(super) async fn try_commit(
        &mut self,
        now: DateTime<Utc>,
        changes: Vec<(RunId, Change)>,
    ) -> Result<Vec<Verdict>, StorageError> {
        let batch = self.batch(now, changes);
        self.storage.commit(&batch).await
    }

    pub(super) async fn commit(&mut self, now: DateTime<Utc>, changes: Vec<(RunId, Change)>) -> Vec<Verdict> {
        self.try_commit(now, changes).await.unwrap()
    }

    /// Commits one change.
    pub(super) async fn apply(&mut self, now: DateTime<Utc>, run: RunId, change: Change) -> Verdict {
        self.commit(now, vec![(run, change)]).await.remove(0)
    }

    /// Commits one change that must have its effect.
    pub(super) async fn done(&mut self, now: DateTime<Utc>, run: RunId, change: Change) {
        let text = format!("{change:?}");
        assert_eq!(self.apply(now, run, change).await, Verdict::Done, "{text}");
    }

    pub(super) fn admission(&self, task: u32, try_number: u32) -> (AttemptToken, Change) {
        let token = self.ids.attempt_token(at(0));
        (token, admit(task, try_number, token, AttemptPhase::Running))
    }

    /// Admits a try at once to running.
    pub(super) async fn admit(&mut self, now: DateTime<Utc>, run: RunId, task: u32, try_number: u32) -> AttemptToken {
        let (token, change) = self.admission(task, try_number);
        self.done(now, run, change).await;
        token
    }

    /// Runs one try from its admission to its end.
    pub(super) async fn run_try(
        &mut self,
        now: DateTime<Utc>,
        run: RunId,
        task: u32,
        try_number: u32,
        state: TaskState,
    ) {
        let token = self.admit(now, run, task, try_number).await;
        self.done(now + TimeDelta::seconds(1), run, ended(token, task, state, now + TimeDelta::seconds(1))).await;
    }
}

pub(super) fn admit(task: u32, try_number: u32, token: AttemptToken, phase: AttemptPhase) -> Change {
    Change::Admit(Admission { key: key(task), try_number, token, phase })
}

pub(super) fn ended(token: AttemptToken, task: u32, state: TaskState, end_date: DateTime<Utc>) -> Change {
    Change::Ended(Arc::new(end_of(token, task, state, end_date)))
}

pub(super) fn end_of(token: AttemptToken, task: u32, state: TaskState, end_date: DateTime<Utc>) -> Ended {
    Ended {
        token,
        key: key(task),
        state,
        end_date,
        due_at: None,
        value: None,
        skip: SkipDownstream::None,
        outlet_events: Vec::new(),
    }
}
