//! Tasks of Director's projects, in processes of a real interpreter.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Bed, config, lives, until};
use serde_json::{Map, Value, json};
use updraft_core::clock::{Clock, SystemClock};
use updraft_core::executor::Executor;
use updraft_core::model::{WORKFLOW, WORKFLOW_ERROR, WORKFLOW_FUNCTION, Workflow, WorkflowTask};
use updraft_core::operator::{CancelReason, Operator, OperatorInfo, Outcome, Registry, TaskContext, TaskError};
use updraft_operators::director::{DirectorTask, DirectorWorkers, register};

const TASKS: &str = r#"
import os, subprocess, sys, time
from celery.utils.log import get_task_logger
from director import config, task

log = get_task_logger(__name__)
calls = 0


@task(name="COUNT")
def count(*args, **kwargs):
    global calls
    calls += 1
    print("called", calls)
    log.info("said by the logger")
    sys.stdout.write("no end of line")
    return {"calls": calls, "pid": os.getpid(), "args": args, "setting": config.SETTING, "home": os.environ["DIRECTOR_HOME"]}


@task(name="AGAIN", bind=True, max_retries=2, default_retry_delay=0)
def again(self, *args, **kwargs):
    if self.request.retries < kwargs["payload"]["times"]:
        raise self.retry(exc=RuntimeError("still not"))
    return self.request.retries


@task(name="AUTO", autoretry_for=(OSError,), retry_backoff=False, default_retry_delay=0, max_retries=1)
def auto(*args, **kwargs):
    raise OSError("always")


@task(name="DIES")
def dies(*args, **kwargs):
    os._exit(3)


@task(name="SOFT", soft_time_limit=0.2)
def soft(*args, **kwargs):
    time.sleep(60)


@task(name="HARD", time_limit=0.3)
def hard(*args, **kwargs):
    time.sleep(60)


@task(name="CHILD")
def child(*args, **kwargs):
    print("child", subprocess.Popen(["sleep", "60"]).pid, flush=True)
    time.sleep(60)


@task(name="DEEP")
def deep(*args, **kwargs):
    value = []
    for _ in range(500):
        value = [value]
    return value


@task
def unnamed(*args, **kwargs):
    return "by its module's name"
"#;

struct Project {
    folder: tempfile::TempDir,
    workers: DirectorWorkers,
}

impl Project {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tasks")).unwrap();
        std::fs::write(folder.path().join("tasks/all.py"), TASKS).unwrap();
        std::fs::write(folder.path().join(".env"), "export DIRECTOR_SETTING='from .env'\n").unwrap();
        Self { folder, workers: DirectorWorkers::new(config(), Arc::new(SystemClock::new())) }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A task of this name, which takes the result of a task `before`.
    fn bed(&self, name: &str) -> Bed {
        let mut registry = Registry::default();
        register(&mut registry, self.workers.clone());
        let mut bed = Bed::of(registry, WORKFLOW_FUNCTION, json!({ "task": name }));
        bed.dag.fileloc = self.path().join("workflows.yml").display().to_string();
        bed.dag.extra.insert(WORKFLOW.into(), Workflow::facts(Map::new(), None));
        let facts = WorkflowTask::facts(name, false, json!(["before"]));
        bed.task().extra.insert(WORKFLOW.into(), facts);
        bed
    }
}

fn error_of(bed: &Bed) -> (String, String) {
    let left = bed.store.left.lock().unwrap();
    let [(key, error)] = left.as_slice() else { panic!("{left:?}") };
    assert_eq!(key, WORKFLOW_ERROR);
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (text("exception"), text("traceback"))
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_run_one_after_the_other_in_one_process() {
    let project = Project::new();
    let first = project.bed("COUNT");
    let one = first.value().await;
    assert_eq!((&one["calls"], &one["args"]), (&json!(1), &json!([[null, "before", "return_value"]])));
    assert_eq!((&one["setting"], &one["home"]), (&json!("from .env"), &json!(project.path())));
    let said = first.said().await;
    assert!(
        said.iter().any(|line| line == "INFO - called 1") && said.iter().any(|line| line == "INFO - no end of line"),
        "{said:?}"
    );
    assert!(said.iter().any(|line| line == "INFO - said by the logger"), "{said:?}");
    let second = project.bed("COUNT");
    let two = second.value().await;
    assert_eq!((&two["calls"], &two["pid"]), (&json!(2), &one["pid"]));
    assert!(!second.log().await.contains("called 1"), "each log is the task's own");
    // Another process runs what was changed.
    std::fs::write(project.path().join("tasks/more.py"), "").unwrap();
    until(async || project.bed("COUNT").value().await["pid"] != one["pid"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_broken_files_are_found() {
    let project = Project::new();
    std::fs::create_dir(project.path().join("tasks/sub")).unwrap();
    std::fs::write(project.path().join("tasks/sub/broken.py"), "import nothing_of_this_name\n").unwrap();
    let (workers, folder) = (project.workers.clone(), project.path().to_path_buf());
    let found = tokio::task::spawn_blocking(move || workers.find(&folder)).await.unwrap().unwrap();
    let expected = ["AGAIN", "AUTO", "CHILD", "COUNT", "DEEP", "DIES", "HARD", "SOFT", "tasks.all.unnamed"];
    assert_eq!(found.names, expected);
    let [(file, why)] = found.problems.as_slice() else { panic!("{:?}", found.problems) };
    assert_eq!(*file, project.path().join("tasks/sub/broken.py"));
    assert!(why.contains("broken.py\", line 1") && why.contains("No module named 'nothing_of_this_name'"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_happen_within_the_try() {
    let project = Project::new();
    let mut bed = project.bed("AGAIN");
    bed.conf = json!({ "times": 2 });
    assert_eq!(bed.value().await, json!(2));
    let mut bed = project.bed("AGAIN");
    bed.conf = json!({ "times": 3 });
    assert_eq!(bed.failure().await, "still not");
    assert_eq!(error_of(&bed).0, "still not");
    let bed = project.bed("AUTO");
    assert_eq!(bed.failure().await, "always");
    assert!(bed.said().await.iter().any(|line| line.contains("Retry 1 in 0 s")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_is_told() {
    let project = Project::new();
    for (name, expected) in [
        ("DIES", "Worker exited prematurely with return code 3"),
        ("HARD", "TimeLimitExceeded(0.3,)"),
        ("SOFT", ""),
        ("NOPE", "no task is registered as 'NOPE'"),
    ] {
        let bed = project.bed(name);
        assert_eq!(bed.failure().await, expected, "{name}");
        assert_eq!(error_of(&bed).0, expected, "{name}");
    }
    let bed = project.bed("DEEP");
    assert!(bed.failure().await.contains("recursion limit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_leaves_nothing_running() {
    let project = Project::new();
    let bed = project.bed("CHILD");
    let token = bed.start();
    bed.log_has("child").await;
    let log = bed.log().await;
    let child: u32 = log.split("child ").nth(1).unwrap().lines().next().unwrap().trim().parse().unwrap();
    assert!(lives(child));
    bed.executor.cancel(token, CancelReason::Obsolete);
    assert!(matches!(bed.end().await, Err(TaskError::Cancelled(CancelReason::Obsolete))));
    until(async || !lives(child)).await;
    assert!(bed.store.left.lock().unwrap().is_empty(), "who is cancelled has not failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_go_with_whoever_holds_them() {
    let project = Project::new();
    let pid = project.bed("COUNT").value().await["pid"].as_u64().unwrap();
    let pid = u32::try_from(pid).unwrap();
    SystemClock::new().sleep(Duration::from_millis(50)).await;
    assert!(lives(pid), "it waits for the next task");
    drop(project);
    until(async || !lives(pid)).await;
}

/// Fails, or returns its arguments.
#[derive(Debug)]
struct Rust;

#[async_trait::async_trait]
impl Operator for Rust {
    async fn execute(&self, context: &TaskContext) -> Result<Outcome, TaskError> {
        match context.arguments()["payload"]["fail"].as_str() {
            Some(why) => Err(TaskError::failed(why)),
            None => Ok(Outcome::value(Value::from(context.arguments().clone()))),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_tasks_too() {
    let bed = |conf: Value| {
        let mut registry = Registry::default();
        registry.register(OperatorInfo::new("RUST"), DirectorTask::new(Rust));
        let mut bed = Bed::of(registry, "RUST", json!({}));
        let facts = WorkflowTask::facts("RUST", false, json!(["a", "b", 2]));
        bed.task().extra.insert(WORKFLOW.into(), facts);
        bed.conf = conf;
        bed
    };
    let value = bed(json!({ "x": 1 })).value().await;
    assert_eq!(value["args"], json!([[[null, "a", "return_value"], [null, "b", "return_value"]]]));
    assert_eq!(value["payload"], json!({ "x": 1 }));
    assert_eq!(value["workflow_id"].as_str().unwrap().len(), 36);
    let failed = bed(json!({ "fail": "because" }));
    assert_eq!(failed.failure().await, "because");
    assert_eq!(error_of(&failed), ("because".into(), String::new()));
}
