//! A server whose runs are played by hand.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "a test")]

pub mod contract;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::request::Parts;
use serde_json::Value;
use updraft_core::clock::{Clock, SimulatedClock};
use updraft_core::dag::content_hash;
use updraft_core::id::{IdSource, InstanceKey, TaskIx};
use updraft_core::log::MemoryLogs;
use updraft_core::model::{AttemptPhase, Dag, Host, OperatorRef, Param, RunState, Task, TaskEventLog, TaskState};
use updraft_core::operator::SkipDownstream;
use updraft_core::service::{Service, Settings};
use updraft_core::storage::{
    Admission, Batch, Change, DagRegistration, DagStorage, Ended, SchedulerSession, SchedulerStorage, Transition,
    Verdict,
};
use updraft_http_adapter::access::{AccessError, Authenticator, Principal};
use updraft_http_adapter::airflow::{Airflow, AirflowBuilder, TokenKey};
use updraft_storage_memory::MemoryStorage;

pub use wire::{Answer, Wire};

/// Takes callers for an administrator, unless they name their roles.
#[derive(Debug)]
struct Admin;

/// Whose header `x-roles` names roles, has these; whose names none, is not known.
pub const ROLES: &str = "x-roles";

#[async_trait]
impl Authenticator for Admin {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError> {
        Ok(match head.headers.get(ROLES).map(|roles| roles.to_str().unwrap()) {
            None => Some(Principal::named("admin", ["Admin".to_owned()])),
            Some("") => None,
            Some(roles) => Some(Principal::named("somebody", roles.split(',').map(str::to_owned))),
        })
    }
}

/// The API over an embedded storage, on a socket, and the scheduler that plays runs.
pub struct World {
    pub storage: Arc<MemoryStorage>,
    pub logs: Arc<MemoryLogs>,
    pub clock: SimulatedClock,
    pub service: Service,
    wire: Wire,
    ids: IdSource,
    session: SchedulerSession,
    sequence: Mutex<u64>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    /// With what a test settles of the API; callers are the administrator unless it says otherwise.
    pub async fn with(settle: impl FnOnce(AirflowBuilder) -> AirflowBuilder) -> Self {
        Self::with_settings(Settings::default(), settle).await
    }

    /// With what a test settles of the service, too.
    pub async fn with_settings(settings: Settings, settle: impl FnOnce(AirflowBuilder) -> AirflowBuilder) -> Self {
        let clock = SimulatedClock::new("2026-11-21T13:07:42.100001Z".parse().unwrap());
        let storage = Arc::new(MemoryStorage::new(Arc::new(clock.clone())));
        let logs = Arc::new(MemoryLogs::default());
        let ids = IdSource::from_seed(1);
        let service = Service::new(storage.clone(), logs.clone(), ids.clone(), settings);
        let builder = Airflow::builder(service.clone(), Arc::new(clock.clone()));
        let builder = builder.token_key(TokenKey::from_secret(b"test")).authenticator(Admin);
        let wire = Wire::serve(settle(builder).build().unwrap());
        let session = storage.register_scheduler("player", Duration::from_secs(3600), &Host::default()).await.unwrap();
        Self { storage, logs, clock, service, wire, ids, session, sequence: Mutex::new(0) }
    }

    /// Makes a DAG known; each task comes with its upstreams.
    pub async fn register(&self, dag_id: &str, paused: bool, tasks: &[(&str, &[&str])]) {
        self.register_with(dag(dag_id, tasks), paused).await;
    }

    pub async fn register_with(&self, dag: Dag, paused: bool) {
        let content_hash = content_hash(&dag);
        let dag = DagRegistration { dag: Arc::new(dag), content_hash, paused_upon_creation: paused, source: None };
        self.storage.register_dags(self.clock.now(), vec![dag]).await.unwrap();
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.clock.advance(Duration::from_millis(7));
        self.wire.send(method, path, headers, body).await
    }

    /// A request of somebody with these roles.
    pub async fn call_as(&self, roles: &str, method: &str, path: &str, body: &str) -> Answer {
        let headers = [("accept", "application/json"), ("content-type", "application/json"), (ROLES, roles)];
        let headers = if body.is_empty() { vec![headers[0], headers[2]] } else { headers.to_vec() };
        self.send(method, &format!("/api/v1{path}"), &headers, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", &format!("/api/v1{path}"), &[("accept", "application/json")], "").await
    }

    pub async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(method, &format!("/api/v1{path}"), &headers, &body.to_string()).await
    }

    /// Plays a run: its tasks get these states in this order; `None` leaves a task running. Then the run ends, if it is
    /// said how.
    pub async fn play(
        &self,
        dag_id: &str,
        run_id: &str,
        steps: &[(&str, Option<TaskState>, Value)],
        end: Option<RunState>,
    ) {
        let record = self.storage.dag(dag_id).await.unwrap();
        let versions = [record.version.id];
        let claimed = self.storage.claim_runs(&self.session, &versions, 100).await.unwrap();
        let mine: Vec<_> = self.storage.owned_runs(&self.session).await.unwrap();
        let snapshots = self.storage.reload_runs(&self.session, &mine).await.unwrap();
        let find = |list: &[updraft_core::storage::RunSnapshot]| list.iter().find(|s| s.run.run_id == run_id).cloned();
        let snapshot = find(&snapshots).or_else(|| find(&claimed)).expect("the run can be claimed");
        let (run, version) = (snapshot.run.id, snapshot.run.version);
        let mut tries: BTreeMap<TaskIx, u32> =
            snapshot.instances.iter().map(|instance| (instance.key.task, instance.try_number)).collect();
        if snapshot.run.state == RunState::Queued {
            self.commit(run, version, Change::StartRun).await;
        }
        for (task_id, state, value) in steps {
            let task = record.dag().find_task(task_id).unwrap();
            let key = InstanceKey::unmapped(task);
            match state {
                Some(state @ (TaskState::Skipped | TaskState::UpstreamFailed)) => {
                    self.commit(run, version, Change::Settle(key, *state)).await;
                }
                state => {
                    let try_number = tries.entry(task).or_default();
                    *try_number += 1;
                    let token = self.ids.attempt_token(self.clock.now());
                    let admission = Admission { key, try_number: *try_number, token, phase: AttemptPhase::Running };
                    self.commit(run, version, Change::Admit(admission)).await;
                    let Some(state) = state else { continue };
                    let skip = match value.get("followed").and_then(Value::as_array) {
                        Some(ids) => {
                            SkipDownstream::Follow(ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect())
                        }
                        None => SkipDownstream::None,
                    };
                    let value = (!value.is_null()).then(|| value.clone());
                    let end_date = self.clock.now();
                    let outlet_events = Vec::new();
                    let ended = Ended { token, key, state: *state, end_date, due_at: None, value, skip, outlet_events };
                    self.commit(run, version, Change::Ended(Arc::new(ended))).await;
                }
            }
        }
        if let Some(end) = end {
            self.commit(run, version, Change::EndRun(end)).await;
        }
    }

    async fn commit(&self, run: updraft_core::id::RunId, version: u64, change: Change) {
        self.clock.advance(Duration::from_millis(313));
        let sequence = {
            let mut sequence = self.sequence.lock().unwrap();
            *sequence += 1;
            *sequence
        };
        let batch = Batch {
            session: self.session.clone(),
            lane: 0,
            sequence,
            now: self.clock.now(),
            event_log: TaskEventLog::On,
            transitions: vec![Transition { run, version, change: change.clone() }],
        };
        assert_eq!(self.storage.commit(&batch).await.unwrap(), [Verdict::Done], "{change:?}");
    }
}

/// A DAG of Bash tasks, each with its upstreams.
pub fn dag(dag_id: &str, tasks: &[(&str, &[&str])]) -> Dag {
    let mut dag = Dag::new(dag_id);
    for (task_id, upstream) in tasks {
        let mut task = Task::new(*task_id, OperatorRef::from_path("airflow.operators.bash.BashOperator"));
        task.upstream = upstream.iter().map(|id| dag.find_task(id).unwrap()).collect();
        dag.tasks.push(task);
    }
    updraft_core::dag::settle(&mut dag);
    dag
}

/// A parameter with a schema.
pub fn param(name: &str, value: Value, schema: Value) -> Param {
    let Value::Object(schema) = schema else { panic!("a schema is an object") };
    Param { name: name.into(), value: Some(value), description: None, schema }
}
