//! Runs through a scheduler, the local executor and a storage: what tries read and write goes through all of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use updraft_core::clock::{Clock, SystemClock};
use updraft_core::dag::{BuiltDag, DagBuilder, content_hash};
use updraft_core::engine::{Runnable, Scheduler, SchedulerParts, SchedulerSettings, SchedulerStatus};
use updraft_core::executor::{LocalExecutor, LocalExecutorParts};
use updraft_core::id::IdSource;
use updraft_core::log::FileLogs;
use updraft_core::mask::SensitiveNames;
use updraft_core::model::{DagVersion, RunState, RunType, TaskState, Variable};
use updraft_core::operator::{CodeTasks, Outcome, Registry, StorageTaskStore};
use updraft_core::storage::{
    DagRegistration, DagStorage, NewRun, RunStorage, SchedulerStorage, TaskInstanceQuery, TaskInstanceStorage,
    VariableStorage, XComQuery, XComStorage,
};
use updraft_operators::{OperatorsConfig, register_all};
use updraft_storage_memory::MemoryStorage;

#[derive(Debug)]
struct All;

impl Runnable for All {
    fn can_run(&self, _version: &DagVersion) -> bool {
        true
    }
}

fn registry() -> Registry {
    let mut registry = Registry::default();
    let data = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"));
    register_all(&mut registry, OperatorsConfig { python_path: vec![data], ..OperatorsConfig::default() });
    registry
}

struct World {
    storage: Arc<MemoryStorage>,
    version: DagVersion,
    _stop: tokio::sync::oneshot::Sender<()>,
    _logs: tempfile::TempDir,
}

impl World {
    #[allow(clippy::unwrap_used, reason = "a test's own ground")]
    async fn new(built: BuiltDag) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let storage = Arc::new(MemoryStorage::new(Arc::clone(&clock)));
        let code = CodeTasks::default();
        code.register(&built.dag, built.code);
        let registration = DagRegistration {
            content_hash: content_hash(&built.dag),
            dag: built.dag,
            paused_upon_creation: false,
            source: None,
        };
        let version = storage.register_dags(clock.now(), vec![registration]).await.unwrap().remove(0);
        let logs = tempfile::tempdir().unwrap();
        let executor = LocalExecutor::new(LocalExecutorParts {
            parallelism: 8,
            registry: Arc::new(registry()),
            code: Arc::new(code),
            renderer: None,
            store: Arc::new(StorageTaskStore::new(Arc::<MemoryStorage>::clone(&storage), clock.clone())),
            logs: Arc::new(FileLogs::new(logs.path()).unwrap()),
            sensitive_names: SensitiveNames::default(),
            clock: Arc::clone(&clock),
        });
        let parts = SchedulerParts {
            storage: Arc::<MemoryStorage>::clone(&storage),
            executor: Arc::new(executor),
            runnable: Arc::new(All),
            timetables: Arc::default(),
            clock,
            ids: IdSource::from_seed(1),
            status: SchedulerStatus::default(),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
                Duration::ZERO
            };
            Scheduler::run(parts, SchedulerSettings::default(), stop).await
        });
        Self { storage, version, _stop: stop, _logs: logs }
    }

    #[allow(clippy::unwrap_used, reason = "a test's own ground")]
    async fn run(&self, run_id: &str, date: DateTime<Utc>, conf: Value) -> RunState {
        let new = NewRun {
            uid: updraft_core::id::IdSource::from_system().uuid(date),
            dag_version: self.version.id,
            run_id: run_id.into(),
            run_type: RunType::Manual,
            state: RunState::Queued,
            logical_date: date,
            data_interval_start: date,
            data_interval_end: date,
            external_trigger: true,
            conf,
            note: None,
            audit: None,
        };
        let dag_id = self.version.dag.dag_id.as_str();
        let now = self.storage.now().await.unwrap();
        self.storage.create_runs(now, vec![new]).await.unwrap().remove(0).unwrap();
        let clock = SystemClock::new();
        loop {
            let run = self.storage.dag_run(dag_id, run_id).await.unwrap();
            if run.state.is_finished() {
                return run.state;
            }
            assert!(clock.monotonic() < Duration::from_secs(60), "the run does not end");
            clock.sleep(Duration::from_millis(5)).await;
        }
    }

    #[allow(clippy::unwrap_used, reason = "a test's own ground")]
    async fn states(&self, run_id: &str) -> Vec<(String, TaskState)> {
        let query = TaskInstanceQuery { run_ids: Some([run_id.to_owned()].into()), ..TaskInstanceQuery::default() };
        let page = self.storage.task_instances(&query).await.unwrap();
        page.items.iter().map(|item| (item.task().unwrap().task_id.to_string(), item.state)).collect()
    }

    #[allow(clippy::unwrap_used, reason = "a test's own ground")]
    async fn xcom(&self, run_id: &str, task_id: &str, key: &str) -> Option<Value> {
        let query = XComQuery {
            run_id: Some(run_id.into()),
            task_ids: Some([task_id.to_owned()].into()),
            key: Some(key.into()),
            ..XComQuery::default()
        };
        self.storage.xcoms(&query).await.unwrap().items.pop().map(|entry| entry.xcom.value)
    }
}

fn day(days: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(days)
}

#[tokio::test]
async fn values_pass_between_bash_python_and_rust() {
    let dag = DagBuilder::new("etl");
    let extract = dag.operator("extract", "bash", json!({"bash_command": "echo ignored; echo 41"}));
    let transform = dag.operator("transform", "python", json!({"python_callable": "callables.transforms"}));
    let load = dag.task("load", |context| async move {
        let total = context.xcom_pull("transform").await.map_err(|error| Box::new(error) as Box<_>)?;
        Ok(Outcome::value(json!({ "loaded": total })))
    });
    dag.chain([&extract, &transform, &load]);
    let world = World::new(dag.build(&registry()).unwrap()).await;
    let variable = Variable { id: 0, key: "step".into(), value: "1".into(), description: None, is_encrypted: false };
    world.storage.put_variable(variable, None).await.unwrap();
    assert_eq!(world.run("first", day(1), json!({})).await, RunState::Success);
    assert_eq!(world.xcom("first", "extract", "return_value").await, Some(json!("41")));
    assert_eq!(world.xcom("first", "transform", "pushed").await, Some(json!([1, 2])));
    let loaded = json!({"loaded": {"total": 42, "earlier": null, "before": null}});
    assert_eq!(world.xcom("first", "load", "return_value").await, Some(loaded));

    // The second run sees what the first left; the third lies before both.
    assert_eq!(world.run("second", day(2), json!({})).await, RunState::Success);
    let seen = json!({"total": 42, "earlier": [1, 2], "before": day(1).to_rfc3339()});
    assert_eq!(world.xcom("second", "transform", "return_value").await, Some(seen));
    assert_eq!(world.run("third", day(0), json!({})).await, RunState::Success);
    let none = json!({"total": 42, "earlier": null, "before": null});
    assert_eq!(world.xcom("third", "transform", "return_value").await, Some(none));

    let instance = world.storage.task_instance("etl", "first", "extract", -1).await.unwrap();
    assert!(instance.pid.is_some());
    assert_eq!(instance.rendered_fields, json!({"bash_command": "echo ignored; echo 41", "env": null, "cwd": null}));
    let instance = world.storage.task_instance("etl", "first", "transform", -1).await.unwrap();
    assert_eq!(instance.rendered_fields, json!({"templates_dict": null, "op_args": [], "op_kwargs": {}}));
}

#[tokio::test]
async fn a_branch_and_a_short_circuit_skip_tasks() {
    let dag = DagBuilder::new("decides");
    let echo = |value: Value| json!({"python_callable": "callables.echo", "op_args": [value]});
    let branch = dag.operator("branch", "branch_python", echo(json!("left")));
    let left = dag.operator("left", "empty", json!({}));
    let right = dag.operator("right", "bash", json!({"bash_command": "exit 1"}));
    let gate = dag.operator("gate", "short_circuit", echo(json!(false)));
    let behind = dag.operator("behind", "empty", json!({}));
    branch.before(&left);
    branch.before(&right);
    left.before(&gate);
    gate.before(&behind);
    let world = World::new(dag.build(&registry()).unwrap()).await;
    assert_eq!(world.run("r", day(1), json!({})).await, RunState::Success);
    let states = [
        ("branch", TaskState::Success),
        ("left", TaskState::Success),
        ("right", TaskState::Skipped),
        ("gate", TaskState::Success),
        ("behind", TaskState::Skipped),
    ];
    assert_eq!(world.states("r").await, states.map(|(id, state)| (id.to_owned(), state)));
    assert_eq!(world.xcom("r", "branch", "return_value").await, Some(json!("left")));
    assert_eq!(world.xcom("r", "branch", "skipmixin_key").await, Some(json!({"followed": ["left"]})));
    assert_eq!(world.xcom("r", "gate", "return_value").await, Some(json!(false)));
}
