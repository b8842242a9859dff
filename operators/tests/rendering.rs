//! Templates of tries, rendered by the real executor over the memory storage.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use updraft_core::clock::{Clock, SystemClock};
use updraft_core::dag::content_hash;
use updraft_core::executor::{Attempt, Executor, ExecutorEvent, LocalExecutor, LocalExecutorParts};
use updraft_core::id::{IdSource, InstanceKey, TaskIx};
use updraft_core::log::{LogStore, MemoryLogs};
use updraft_core::mask::SensitiveNames;
use updraft_core::model::{
    AttemptPhase, Dag, DagRun, DatasetCondition, DatasetEventSource, Host, OperatorRef, Param, RunState, RunType,
    Schedule, Task, TaskEventLog, Variable,
};
use updraft_core::operator::{CodeTasks, Outcome, Registry, StorageTaskStore, TaskError};
use updraft_core::storage::{
    Admission, Batch, Change, DagRegistration, DagStorage, DatasetStorage, NewDatasetEvent, NewDatasetRun, NewRun,
    RunStorage, SchedulerSession, SchedulerStorage, Transition, VariableStorage, Verdict, XComStorage,
};
use updraft_operators::{OperatorsConfig, TemplateRenderer, register_all};
use updraft_storage_memory::MemoryStorage;

struct Bed {
    storage: Arc<MemoryStorage>,
    executor: LocalExecutor,
    logs: Arc<MemoryLogs>,
    dag: Arc<Dag>,
    run: Arc<DagRun>,
    session: SchedulerSession,
    ids: IdSource,
    sequence: u64,
}

fn bash(task_id: &str, command: &str) -> Task {
    let mut task = Task::new(task_id, OperatorRef::from_path("airflow.operators.bash.BashOperator"));
    task.template_fields = ["bash_command", "env", "cwd"].map(str::to_owned).to_vec();
    task.arguments.insert("bash_command".into(), command.into());
    task
}

impl Bed {
    async fn new(tasks: Vec<Task>, change: impl FnOnce(&mut Dag)) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let storage = Arc::new(MemoryStorage::new(Arc::clone(&clock)));
        let mut dag = Dag::new("d");
        dag.tasks = tasks;
        let value = Some(json!("world"));
        dag.params.push(Param { name: "who".into(), value, description: None, schema: serde_json::Map::new() });
        change(&mut dag);
        let dag = Arc::new(dag);
        let content_hash = content_hash(&dag);
        let registration =
            DagRegistration { dag: Arc::clone(&dag), content_hash, paused_upon_creation: false, source: None };
        let now = clock.now();
        let version = storage.register_dags(now, vec![registration]).await.expect("registered").remove(0);
        let date: DateTime<Utc> = "2024-02-01T00:00:00Z".parse().expect("a date");
        let run = NewRun {
            uid: updraft_core::id::IdSource::from_seed(1).uuid(now),
            dag_version: version.id,
            run_id: "r".into(),
            run_type: RunType::Manual,
            state: RunState::Queued,
            logical_date: date,
            data_interval_start: date,
            data_interval_end: date,
            external_trigger: true,
            conf: json!({"who": "you"}),
            note: None,
            audit: None,
        };
        storage.create_runs(now, vec![run]).await.expect("created").remove(0).expect("a run");
        let session =
            storage.register_scheduler("s", Duration::from_secs(60), &Host::default()).await.expect("a session");
        let claimed = storage.claim_runs(&session, &[version.id], 1).await.expect("claimed").remove(0);
        let logs = Arc::new(MemoryLogs::default());
        let mut registry = Registry::default();
        register_all(&mut registry, OperatorsConfig::default());
        let executor = LocalExecutor::new(LocalExecutorParts {
            parallelism: 4,
            registry: Arc::new(registry),
            code: Arc::new(CodeTasks::default()),
            renderer: Some(Arc::new(TemplateRenderer::new())),
            store: Arc::new(StorageTaskStore::new(storage.clone(), clock.clone())),
            logs: logs.clone(),
            sensitive_names: SensitiveNames::default(),
            clock,
        });
        let ids = IdSource::from_seed(1);
        let mut bed = Self { storage, executor, logs, dag, run: Arc::new(claimed.run), session, ids, sequence: 0 };
        bed.commit(Change::StartRun).await;
        bed
    }

    async fn commit(&mut self, change: Change) {
        self.sequence += 1;
        let transition = Transition { run: self.run.id, version: self.run.version, change };
        let batch = Batch {
            session: self.session.clone(),
            lane: 0,
            sequence: self.sequence,
            now: SystemClock::new().now(),
            event_log: TaskEventLog::Off,
            transitions: vec![transition],
        };
        assert_eq!(self.storage.commit(&batch).await.expect("a commit"), [Verdict::Done]);
    }

    async fn admit(&mut self, task: u32) -> Attempt {
        let now = SystemClock::new().now();
        let token = self.ids.attempt_token(now);
        let key = InstanceKey::unmapped(TaskIx(task));
        self.commit(Change::Admit(Admission { key, try_number: 1, token, phase: AttemptPhase::Running })).await;
        let (run, dag) = (Arc::clone(&self.run), Arc::clone(&self.dag));
        Attempt { token, run, dag, key, try_number: 1, max_tries: 0, queued_when: now }
    }

    /// Leaves XComs as tries of the task would.
    async fn leave(&mut self, task: u32, values: &[(&str, Value)]) {
        let attempt = self.admit(task).await;
        for (key, value) in values {
            let now = SystemClock::new().now();
            self.storage.set_xcom(now, attempt.token, key, value.clone()).await.expect("an XCom");
        }
    }

    async fn run(&mut self, task: u32) -> (Result<Outcome, TaskError>, String) {
        let attempt = self.admit(task).await;
        let key = attempt.log_key();
        self.executor.start(vec![attempt]);
        let mut events = Vec::new();
        tokio::select! {
            () = self.executor.events(&mut events) => {}
            () = SystemClock::new().sleep(Duration::from_secs(30)) => panic!("no event"),
        }
        let Some(ExecutorEvent::Ended { result, .. }) = events.pop() else { panic!("not an end") };
        let log = self.logs.read(&key, 0, usize::MAX).await.expect("a log").expect("a log");
        (result, String::from_utf8(log.bytes).expect("text"))
    }
}

#[tokio::test]
async fn templates_see_the_run_its_params_xcoms_and_variables() {
    let command = "echo '{{ ds }} {{ params.who }} {{ ti.xcom_pull(\"a\") }} {{ ti.xcom_pull(task_ids=\"a\", key=\"k\") }} \
        {{ ti.xcom_pull([\"b\", \"nobody\", \"a\"]) | list }} {{ ti.xcom_pull(\"nobody\") }} {{ var.value.v }} \
        {{ task.upstream_task_ids | join }} {{ dag.task_ids | join(\",\") }} {{ dag_run.run_type }}' \"$X\"\n";
    let mut load = bash("load", command);
    load.arguments.insert("env".into(), json!({"X": "{{ next_ds }}-{{ ti.try_number }}"}));
    load.upstream = vec![TaskIx(0)];
    let mut bed = Bed::new(vec![bash("a", "x"), bash("b", "x"), load], |_| {}).await;
    let variable = Variable { id: 0, key: "v".into(), value: "w".into(), description: None, is_encrypted: false };
    bed.storage.put_variable(variable, None).await.expect("a variable");
    bed.leave(0, &[("return_value", json!(1)), ("k", json!([true]))]).await;
    bed.leave(1, &[("return_value", json!(2))]).await;
    let (result, log) = bed.run(2).await;
    let expected = "2024-02-01 you 1 [True] [2, 1] None w a a,b,load manual 2024-02-01-1";
    assert_eq!(result.expect(&log), Outcome::value(expected));
}

#[tokio::test]
async fn an_undefined_name_fails_the_try_and_the_log_says_where() {
    let mut bed =
        Bed::new(vec![bash("t", "echo 1\necho {{ nope.x }}"), bash("v", "{{ var.value.nope }}")], |_| {}).await;
    let (result, log) = bed.run(0).await;
    let error = result.expect_err("undefined");
    assert_eq!(error.to_string(), "jinja2.exceptions.UndefinedError: 'nope' is undefined (in bash_command, line 2)");
    assert!(log.contains("Exception rendering Jinja template for task 't', field 'bash_command'."), "{log}");
    assert!(log.contains("'nope' is undefined (in bash_command, line 2)"), "{log}");
    let (result, _) = bed.run(1).await;
    let error = result.expect_err("no variable").to_string();
    assert_eq!(error, "KeyError: 'Variable nope does not exist' (in bash_command, line 1)");
}

#[tokio::test]
async fn files_are_templates_and_stay_within_their_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("dags")).expect("a folder");
    std::fs::write(folder.path().join("dags/run.sh"), "echo file {{ ds }}\n").expect("a file");
    std::fs::write(folder.path().join("out.sh"), "echo outside").expect("a file");
    let tasks = vec![bash("run", "run.sh"), bash("absent", "absent.sh"), bash("out", "../out.sh")];
    let fileloc = folder.path().join("dags/d.yaml").to_string_lossy().into_owned();
    let mut bed = Bed::new(tasks, |dag| dag.fileloc = fileloc).await;
    assert_eq!(bed.run(0).await.0.expect("success"), Outcome::value("file 2024-02-01"));
    for (task, name) in [(1, "absent.sh"), (2, "../out.sh")] {
        let error = bed.run(task).await.0.expect_err("no file").to_string();
        assert!(error.contains(&format!("TemplateNotFound: '{name}' not found")), "{error}");
    }
}

#[tokio::test]
async fn native_templates_become_objects() {
    let mut task = bash("t", "env | grep -c '^[AB]=' | cat; exit {{ 90 + 9 }}");
    task.arguments.insert("env".into(), json!("{{ {'A': 'x', 'B': 'y'} }}"));
    let mut bed = Bed::new(vec![task], |dag| dag.render_template_as_native_obj = true).await;
    let (result, log) = bed.run(0).await;
    assert_eq!(result.expect(&log), Outcome::Skipped);
}

#[tokio::test]
async fn templates_see_the_updates_that_caused_the_run() {
    let command = "echo \"{% for uri, events in triggering_dataset_events.items() %}{{ uri }}:{% for event in events %} \
        {{ event.source_dag_id }} {{ event.extra.n }} {{ event.dataset.uri }} {{ event.timestamp.year > 2000 }}\
        {% endfor %}; {% endfor %}\
        {{ (triggering_dataset_events.values() | first | first).source_dag_run.data_interval_start | ds }} \
        {{ inlet_events['s3://a'] | length }} {{ inlet_events[inlets[0].uri][-1].extra }} {{ outlets }}\"";
    let mut task = bash("t", command);
    task.inlets = vec!["s3://a".into()];
    task.outlets = vec!["s3://c".into()];
    let plain = bash("plain", "echo '{{ triggering_dataset_events }}'");
    let condition = DatasetCondition::all(["s3://a".to_owned(), "s3://b".to_owned()]);
    let mut bed = Bed::new(vec![task, plain], |dag| dag.schedule = Schedule::Datasets { condition }).await;
    assert_eq!(bed.run(1).await.0.expect("success"), Outcome::value("{}"));
    let source =
        DatasetEventSource { dag_id: "d".into(), task_id: "t".into(), run_id: bed.run.run_id.clone(), map_index: -1 };
    let now = SystemClock::new().now();
    for (uri, n, source) in [("s3://a", 1, Some(source)), ("s3://b", 2, None)] {
        let event = NewDatasetEvent { uri: uri.into(), extra: Map::from_iter([("n".to_owned(), json!(n))]), source };
        bed.storage.create_dataset_event(now, event, None).await.expect("an update");
    }
    let uris = vec!["s3://a".to_owned(), "s3://b".to_owned()];
    let new = NewDatasetRun { uid: bed.ids.uuid(now), dag_version: bed.run.dag_version, uris };
    bed.storage.create_dataset_run(now, &new).await.expect("a step").expect("a run");
    let claimed = bed.storage.claim_runs(&bed.session, &[new.dag_version], 1).await.expect("claimed").remove(0);
    bed.run = Arc::new(claimed.run);
    bed.commit(Change::StartRun).await;
    let (result, log) = bed.run(0).await;
    let expected = "s3://a: d 1 s3://a True; s3://b: None 2 s3://b True; 2024-02-01 1 {'n': 1} \
        [Dataset(uri='s3://c', extra=None)]";
    assert_eq!(result.expect(&log), Outcome::value(expected));
}
