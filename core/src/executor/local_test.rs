use std::future::pending;
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::*;
use crate::clock::SystemClock;
use crate::id::{DagId, DagVersionId, IdSource, InstanceKey, RunId, TaskIx};
use crate::log::MemoryLogs;
use crate::model::{Connection, Dag, DagRun, DatasetEvent, OperatorRef, RunState, RunType};
use crate::operator::{Closure, OperatorInfo};
use crate::storage::{XComEntry, XComQuery};

#[derive(Debug, Default)]
struct Store {
    rendered: Mutex<Vec<Value>>,
    is_fenced: bool,
}

#[async_trait]
impl TaskStore for Store {
    async fn xcoms(&self, _: &Attempt, _: &XComQuery, _: bool) -> Result<Vec<XComEntry>, StorageError> {
        Ok(Vec::new())
    }
    async fn set_xcom(&self, _: &Attempt, _: &str, _: Value) -> Result<(), StorageError> {
        Ok(())
    }
    async fn variable(&self, _: &str) -> Result<Option<String>, StorageError> {
        Ok(None)
    }
    async fn connection(&self, _: &str) -> Result<Option<Connection>, StorageError> {
        Ok(None)
    }
    async fn previous_success(&self, _: &Attempt) -> Result<Option<[Option<DateTime<Utc>>; 4]>, StorageError> {
        Ok(None)
    }
    async fn triggering_dataset_events(
        &self,
        _: &Attempt,
    ) -> Result<Vec<(DatasetEvent, Option<DagRun>)>, StorageError> {
        Ok(Vec::new())
    }
    async fn dataset_events(&self, _: &str) -> Result<Vec<DatasetEvent>, StorageError> {
        Ok(Vec::new())
    }
    async fn set_process(&self, _: &Attempt, _: u32) -> Result<(), StorageError> {
        Ok(())
    }
    async fn set_rendered_fields(&self, _: &Attempt, fields: Value) -> Result<(), StorageError> {
        self.rendered.lock().unwrap().push(fields);
        if self.is_fenced { Err(StorageError::Fenced) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Upper;

#[async_trait]
impl RenderTemplates for Upper {
    async fn render(&self, context: &TaskContext) -> Result<Map<String, Value>, TaskError> {
        let text = context.arguments()["text"].as_str().unwrap().to_uppercase();
        if text == "BAD" {
            return Err(TaskError::failed("the field 'text' cannot be rendered"));
        }
        Ok(Map::from_iter([("text".to_owned(), text.into())]))
    }
}

struct Bed {
    executor: LocalExecutor,
    logs: Arc<MemoryLogs>,
    store: Arc<Store>,
    dag: Arc<Dag>,
    ids: IdSource,
}

fn bed_with<F, R>(store: Store, change: impl FnOnce(&mut Task), work: F) -> Bed
where
    F: Fn(TaskContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
{
    let mut dag = Dag::new("d");
    dag.code_version = Some("1".into());
    let mut task = Task::new("t", OperatorRef::from_path("host.Operator"));
    task.is_code = true;
    change(&mut task);
    let work: Arc<dyn Operator> = Arc::new(Closure(work));
    let code = CodeTasks::default();
    let mut registry = Registry::default();
    if task.is_code {
        dag.tasks.push(task.clone());
        code.register(&dag, [(task.task_id, work)]);
    } else {
        let work = Closure(move |context: TaskContext| {
            let work = Arc::clone(&work);
            async move { work.execute(&context).await }
        });
        registry.register(OperatorInfo::new("host.Operator"), work);
        dag.tasks.push(task);
    }
    let (logs, store) = (Arc::new(MemoryLogs::default()), Arc::new(store));
    let executor = LocalExecutor::new(LocalExecutorParts {
        parallelism: 4,
        registry: Arc::new(registry),
        code: Arc::new(code),
        renderer: Some(Arc::new(Upper)),
        store: Arc::<Store>::clone(&store),
        logs: Arc::<MemoryLogs>::clone(&logs),
        sensitive_names: SensitiveNames::default(),
        clock: Arc::new(SystemClock::new()),
    });
    Bed { executor, logs, store, dag: Arc::new(dag), ids: IdSource::from_seed(1) }
}

fn bed<F, R>(work: F) -> Bed
where
    F: Fn(TaskContext) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
{
    bed_with(Store::default(), |_| {}, work)
}

impl Bed {
    fn attempt(&self) -> Attempt {
        let now = DateTime::from_timestamp(1_704_067_200, 0).unwrap();
        let run = DagRun {
            id: RunId(1),
            uid: uuid::Uuid::nil(),
            dag_id: DagId::from("d"),
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
            conf: json!({}),
            note: None,
            last_scheduling_decision: None,
            dag_version: DagVersionId(1),
            clear_number: 0,
            version: 0,
            owner: None,
            updated_at: now,
        };
        Attempt {
            token: self.ids.attempt_token(now),
            run: Arc::new(run),
            dag: Arc::clone(&self.dag),
            key: InstanceKey::unmapped(TaskIx(0)),
            try_number: 2,
            max_tries: 2,
            queued_when: now,
        }
    }

    async fn end(&self) -> Result<Outcome, TaskError> {
        let mut events = Vec::new();
        let patience = SystemClock::new().sleep(Duration::from_secs(20));
        tokio::select! {
            () = self.executor.events(&mut events) => {}
            () = patience => panic!("no event"),
        }
        assert_eq!(events.len(), 1);
        let Some(ExecutorEvent::Ended { result, .. }) = events.pop() else { panic!("not an end") };
        result
    }

    async fn run(&self) -> Result<Outcome, TaskError> {
        self.executor.start(vec![self.attempt()]);
        self.end().await
    }

    async fn log(&self) -> Option<String> {
        let chunk = self.logs.read(&self.attempt().log_key(), 0, usize::MAX).await.unwrap();
        chunk.map(|chunk| String::from_utf8(chunk.bytes).unwrap())
    }
}

#[tokio::test]
async fn what_is_started_is_reported_and_its_room_is_free_then() {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let bed = bed(move |_| {
        let gate = Arc::clone(&opened);
        async move {
            gate.notified().await;
            Ok(Outcome::value(7))
        }
    });
    assert_eq!((bed.executor.room(), bed.executor.admits_to()), (4, AttemptPhase::Running));
    bed.executor.start(vec![bed.attempt(), bed.attempt()]);
    assert_eq!(bed.executor.room(), 2);
    gate.notify_one();
    assert_eq!(bed.end().await.unwrap(), Outcome::value(7));
    assert_eq!(bed.executor.room(), 3);
    gate.notify_one();
    assert_eq!(bed.end().await.unwrap(), Outcome::value(7));
    assert_eq!(bed.executor.room(), 4);
    assert_eq!(bed.log().await, None, "code that logs nothing leaves no log");
}

#[tokio::test]
async fn a_log_opens_with_the_first_line_and_tells_how_the_try_ended() {
    let bed = bed(|context| async move {
        context.info("hello");
        context.warning("careful");
        Ok(Outcome::Skipped)
    });
    assert_eq!(bed.run().await.unwrap(), Outcome::Skipped);
    let log = bed.log().await.unwrap();
    let lines: Vec<&str> = log.lines().map(|line| line.split_once("} ").unwrap().1).collect();
    assert_eq!(
        lines[..7],
        [
            "INFO - ::group::Pre task execution logs",
            "INFO - Starting attempt 2 of 3",
            "INFO - Executing <Task(Operator): t> on 2024-01-01 00:00:00+00:00",
            "INFO - Running <TaskInstance: d.t r [running]>",
            "INFO - ::endgroup::",
            "INFO - hello",
            "WARNING - careful",
        ]
    );
    assert!(lines[8].starts_with(
        "INFO - Marking task as SKIPPED. dag_id=d, task_id=t, run_id=r, execution_date=20240101T000000, "
    ));
    assert!(log.contains("] {local_test.rs:"));
}

#[tokio::test]
async fn a_panic_is_a_failed_try_with_its_text() {
    let bed = bed(|_| async { panic!("index {} is gone", 3) });
    let error = bed.run().await.unwrap_err();
    assert_eq!(error.to_string(), "the task panicked: index 3 is gone");
    assert!(error.may_retry());
    let log = bed.log().await.unwrap();
    assert!(log.contains("ERROR - Task failed with exception\nthe task panicked: index 3 is gone\n"));
    assert!(log.contains("Marking task as UP_FOR_RETRY."));
    assert_eq!(bed.executor.room(), 4);
}

#[tokio::test]
async fn templates_are_rendered_and_stored_before_the_work() {
    let templated = |text: &'static str| {
        move |task: &mut Task| {
            task.is_code = false;
            task.template_fields = vec!["text".into(), "env".into()];
            task.arguments.insert("text".into(), text.into());
        }
    };
    let work = |context: TaskContext| async move { Ok(Outcome::value(context.arguments()["text"].clone())) };
    let good = bed_with(Store::default(), templated("hi"), work);
    assert_eq!(good.run().await.unwrap(), Outcome::value("HI"));
    assert_eq!(*good.store.rendered.lock().unwrap(), [json!({"text": "HI", "env": null})]);
    assert!(good.log().await.unwrap().contains("Starting attempt"));

    let bad = bed_with(Store::default(), templated("bad"), work);
    assert_eq!(bad.run().await.unwrap_err().to_string(), "the field 'text' cannot be rendered");

    let replaced = bed_with(Store { is_fenced: true, ..Store::default() }, templated("hi"), work);
    assert!(matches!(replaced.run().await, Err(TaskError::Cancelled(CancelReason::Obsolete))));

    let long = bed_with(Store::default(), templated(Box::leak("x".repeat(5000).into_boxed_str())), work);
    assert_eq!(long.run().await.unwrap(), Outcome::value("X".repeat(5000)));
    let stored = long.store.rendered.lock().unwrap()[0]["text"].as_str().unwrap().to_owned();
    assert!(stored.starts_with("Truncated. You can change this behaviour in [core]max_templated_field_length. 'XXX"));
}

#[tokio::test]
async fn what_cannot_run_says_why() {
    let mapped = |task: &mut Task| task.mapping = Some(json!({"expand": {}}));
    let error = bed_with(Store::default(), mapped, |_| async { Ok(Outcome::success()) }).run().await.unwrap_err();
    assert_eq!(error.to_string(), "the task 't' is mapped (expand), and mapped tasks cannot run yet");
    assert!(!error.may_retry());

    let mut unknown = bed(|_| async { Ok(Outcome::success()) });
    Arc::get_mut(&mut unknown.dag).unwrap().code_version = Some("2".into());
    let error = unknown.run().await.unwrap_err();
    assert_eq!(error.to_string(), "no code is registered here for the task 't' of this version");

    let mut unknown = bed(|_| async { Ok(Outcome::success()) });
    Arc::get_mut(&mut unknown.dag).unwrap().tasks[0].is_code = false;
    assert_eq!(unknown.run().await.unwrap_err().to_string(), "no operator is registered as 'host.Operator'");
}

/// Sets its flag when it is dropped.
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn endless(dropped: &Arc<AtomicBool>, timeout: Option<Duration>) -> Bed {
    let dropped = Arc::clone(dropped);
    bed_with(
        Store::default(),
        move |task| task.execution_timeout = timeout,
        move |_| {
            let flag = Flag(Arc::clone(&dropped));
            async move {
                pending::<()>().await;
                drop(flag);
                Ok(Outcome::success())
            }
        },
    )
}

#[tokio::test]
async fn work_that_takes_too_long_is_dropped() {
    let dropped = Arc::default();
    let bed = endless(&dropped, Some(Duration::from_millis(20)));
    assert!(matches!(bed.run().await, Err(TaskError::TimedOut(after)) if after.as_millis() == 20));
    assert!(dropped.load(Ordering::SeqCst));
    assert!(bed.log().await.unwrap().contains("the execution timeout of 20ms has passed"));
}

#[tokio::test]
async fn a_cancelled_attempt_ends_and_says_so() {
    let dropped = Arc::default();
    let bed = endless(&dropped, None);
    let attempt = bed.attempt();
    let token = attempt.token;
    bed.executor.start(vec![attempt]);
    bed.executor.cancel(bed.attempt().token, CancelReason::Obsolete);
    bed.executor.cancel(token, CancelReason::Obsolete);
    assert!(matches!(bed.end().await, Err(TaskError::Cancelled(CancelReason::Obsolete))));
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn work_that_watches_its_cancellation_may_clean_up() {
    let bed = bed_with(
        Store::default(),
        |task| task.execution_timeout = Some(Duration::from_millis(20)),
        |context| async move {
            let reason = context.cancellation().cancelled().await;
            context.clock().sleep(Duration::from_millis(20)).await;
            context.info(format_args!("cleaned up after {reason}"));
            Ok(Outcome::success())
        },
    );
    assert!(matches!(bed.run().await, Err(TaskError::TimedOut(_))));
    assert!(bed.log().await.unwrap().contains("cleaned up after timeout"));
}

#[tokio::test]
async fn shutdown_ends_everything_even_what_does_not_listen() {
    let bed = bed(|context| async move {
        context.cancellation().cancelled().await;
        pending::<()>().await;
        Ok(Outcome::success())
    });
    bed.executor.shutdown(Duration::from_millis(10)).await;
    bed.executor.start(vec![bed.attempt()]);
    tokio::task::yield_now().await;
    bed.executor.shutdown(Duration::from_millis(10)).await;
    assert_eq!(bed.executor.room(), 4);
    assert!(matches!(bed.end().await, Err(TaskError::Cancelled(CancelReason::Shutdown))));
}

#[tokio::test]
async fn dropping_the_executor_drops_its_attempts() {
    let dropped = Arc::default();
    let bed = endless(&dropped, None);
    bed.executor.start(vec![bed.attempt()]);
    tokio::task::yield_now().await;
    drop(bed);
    let late = SystemClock::new().sleep(Duration::from_secs(10));
    let gone = async {
        while !dropped.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = gone => {}
        () = late => panic!("the attempt is still there"),
    }
}
