//! A real executor with the built-in operators, logs in memory, and a store that remembers what tries left.
#![allow(
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test uses a part"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use updraft_core::clock::{Clock, SystemClock};
use updraft_core::executor::{Attempt, Executor, ExecutorEvent, LocalExecutor, LocalExecutorParts};
use updraft_core::id::{AttemptToken, DagVersionId, IdSource, InstanceKey, RunId, TaskIx};
use updraft_core::log::{LogStore, MemoryLogs};
use updraft_core::mask::SensitiveNames;
use updraft_core::model::{Connection, Dag, DagRun, DatasetEvent, RunState, RunType, Task, XCom};
use updraft_core::operator::{CodeTasks, Outcome, Registry, SkipDownstream, TaskError, TaskStore};
use updraft_core::storage::{StorageError, XComEntry, XComQuery};
use updraft_operators::{OperatorsConfig, register_all};

#[derive(Debug, Default)]
pub struct Store {
    pub left: Mutex<Vec<(String, Value)>>,
    pub pids: Mutex<Vec<u32>>,
    /// What caused the run, by the run itself.
    pub updates: Mutex<Vec<DatasetEvent>>,
}

#[async_trait]
impl TaskStore for Store {
    async fn xcoms(&self, attempt: &Attempt, query: &XComQuery, _: bool) -> Result<Vec<XComEntry>, StorageError> {
        let ids = query.task_ids.iter().flatten().filter(|id| *id != "none");
        let entry = |id: &String| XComEntry {
            run: Arc::clone(&attempt.run),
            task_id: id.clone(),
            xcom: XCom {
                run: attempt.run.id,
                instance: attempt.key,
                key: query.key.clone().unwrap_or_default(),
                value: json!([query.dag_id, id, query.key]),
                timestamp: logical_date(),
            },
        };
        Ok(ids.map(entry).collect())
    }
    async fn set_xcom(&self, _: &Attempt, key: &str, value: Value) -> Result<(), StorageError> {
        if key == "fenced" {
            return Err(StorageError::Fenced);
        }
        self.left.lock().unwrap().push((key.into(), value));
        Ok(())
    }
    async fn variable(&self, key: &str) -> Result<Option<String>, StorageError> {
        Ok((key == "known").then(|| "{\"a\": 1}".into()))
    }
    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, StorageError> {
        let known = Connection { conn_id: conn_id.into(), host: Some("db".into()), ..Connection::default() };
        Ok((conn_id == "known").then_some(known))
    }
    async fn previous_success(&self, _: &Attempt) -> Result<Option<[Option<DateTime<Utc>>; 4]>, StorageError> {
        Ok(Some([Some(logical_date() - TimeDelta::days(1)), None, None, None]))
    }
    async fn triggering_dataset_events(
        &self,
        attempt: &Attempt,
    ) -> Result<Vec<(DatasetEvent, Option<DagRun>)>, StorageError> {
        let source = || Some(attempt.run.as_ref().clone());
        Ok(self.updates.lock().unwrap().iter().map(|event| (event.clone(), source())).collect())
    }
    async fn dataset_events(&self, _: &str) -> Result<Vec<DatasetEvent>, StorageError> {
        Ok(Vec::new())
    }
    async fn set_process(&self, _: &Attempt, pid: u32) -> Result<(), StorageError> {
        self.pids.lock().unwrap().push(pid);
        Ok(())
    }
    async fn set_rendered_fields(&self, _: &Attempt, _: Value) -> Result<(), StorageError> {
        Ok(())
    }
}

pub fn logical_date() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_704_067_200_261_096).unwrap()
}

pub fn config() -> OperatorsConfig {
    OperatorsConfig { kill_grace: Duration::from_millis(500), ..OperatorsConfig::default() }
}

pub struct Bed {
    pub executor: LocalExecutor,
    pub logs: Arc<MemoryLogs>,
    pub store: Arc<Store>,
    pub dag: Dag,
    pub conf: Value,
    ids: IdSource,
}

impl Bed {
    /// The first task is the one that runs.
    pub fn new(operator: &str, arguments: Value) -> Self {
        let mut registry = Registry::default();
        register_all(&mut registry, config());
        Self::of(registry, operator, arguments)
    }

    /// With an operator of this registry.
    pub fn of(registry: Registry, operator: &str, arguments: Value) -> Self {
        let info = registry.info(operator).unwrap();
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        if let Some(check) = info.check {
            check(&arguments).unwrap();
        }
        let mut task = Task::new("t", info.path.clone());
        info.apply_to(&mut task);
        task.arguments = arguments;
        task.owner = "lab".into();
        let mut dag = Dag::new("d");
        dag.fileloc = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dag.yaml").into();
        dag.tasks.push(task);
        let (logs, store) = (Arc::new(MemoryLogs::default()), Arc::new(Store::default()));
        let executor = LocalExecutor::new(LocalExecutorParts {
            parallelism: 4,
            registry: Arc::new(registry),
            code: Arc::new(CodeTasks::default()),
            renderer: None,
            store: Arc::<Store>::clone(&store),
            logs: Arc::<MemoryLogs>::clone(&logs),
            sensitive_names: SensitiveNames::default(),
            clock: Arc::new(SystemClock::new()),
        });
        Self { executor, logs, store, dag, conf: json!({}), ids: IdSource::from_seed(1) }
    }

    pub fn task(&mut self) -> &mut Task {
        &mut self.dag.tasks[0]
    }

    /// A task directly after these.
    pub fn after(&mut self, task_id: &str, upstream: &[u32]) {
        let mut task = Task::new(task_id, self.dag.tasks[0].operator.clone());
        task.upstream = upstream.iter().copied().map(TaskIx).collect();
        self.dag.tasks.push(task);
    }

    pub fn start(&self) -> AttemptToken {
        let now = logical_date();
        let run = DagRun {
            id: RunId(1),
            uid: self.ids.uuid(now),
            dag_id: self.dag.dag_id.clone(),
            run_id: "r".into(),
            run_type: RunType::Manual,
            state: RunState::Running,
            logical_date: now,
            data_interval_start: now,
            data_interval_end: now,
            queued_at: now,
            start_date: Some(now),
            end_date: None,
            external_trigger: true,
            conf: self.conf.clone(),
            note: None,
            last_scheduling_decision: None,
            dag_version: DagVersionId(1),
            clear_number: 0,
            version: 0,
            owner: None,
            updated_at: now,
        };
        let token = self.ids.attempt_token(now);
        self.executor.start(vec![Attempt {
            token,
            run: Arc::new(run),
            dag: Arc::new(self.dag.clone()),
            key: InstanceKey::unmapped(TaskIx(0)),
            try_number: 1,
            max_tries: 0,
            queued_when: now,
        }]);
        token
    }

    pub async fn end(&self) -> Result<Outcome, TaskError> {
        let mut events = Vec::new();
        let patience = SystemClock::new().sleep(Duration::from_secs(60));
        tokio::select! {
            () = self.executor.events(&mut events) => {}
            () = patience => panic!("no event; log:\n{}", self.log().await),
        }
        let Some(ExecutorEvent::Ended { result, .. }) = events.pop() else { panic!("not an end") };
        result
    }

    pub async fn run(&self) -> Result<Outcome, TaskError> {
        self.start();
        self.end().await
    }

    pub async fn value(&self) -> Value {
        match self.run().await {
            Ok(Outcome::Success { value, skip: SkipDownstream::None, .. }) => value.unwrap_or(json!("nothing")),
            other => panic!("{other:?}; log:\n{}", self.log().await),
        }
    }

    pub async fn failure(&self) -> String {
        self.run().await.unwrap_err().to_string()
    }

    pub async fn log(&self) -> String {
        let mut key = updraft_core::log::LogKey {
            dag_id: "d".into(),
            run_id: "r".into(),
            task_id: "t".into(),
            map_index: -1,
            try_number: 1,
        };
        key.task_id = self.dag.tasks[0].task_id.to_string();
        let chunk = self.logs.read(&key, 0, usize::MAX).await.unwrap().unwrap_or_default();
        String::from_utf8(chunk.bytes).unwrap()
    }

    /// Waits until the log holds a text.
    pub async fn log_has(&self, text: &str) {
        until(async || self.log().await.contains(text)).await;
    }

    /// What the log says, without times and places.
    pub async fn said(&self) -> Vec<String> {
        let log = self.log().await;
        log.lines().map(|line| line.split_once("} ").map_or(line, |(_, text)| text).to_owned()).collect()
    }
}

pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::new();
    while !holds().await {
        assert!(clock.monotonic() < Duration::from_secs(60), "it never holds");
        clock.sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process lives; one that nobody has waited for yet does not.
pub fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X'])))
}

pub fn args(map: Value) -> Map<String, Value> {
    match map {
        Value::Object(map) => map,
        _ => panic!("not an object"),
    }
}
