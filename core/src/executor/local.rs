//! Attempts as tokio tasks of this process.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use serde_json::{Map, Value};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::local_log::AttemptLog;
use super::{Attempt, Executor, ExecutorEvent};
use crate::clock::Clock;
use crate::id::{AttemptToken, TokenMap};
use crate::log::{LogSource, LogStore, LogWriter};
use crate::mask::{Secrets, SensitiveNames};
use crate::model::{AttemptPhase, Task};
use crate::operator::{
    CancelReason, Cancellation, CodeTasks, MaskingStore, Operator, Outcome, Registry, RenderTemplates, TaskContext,
    TaskContextParts, TaskError, TaskStore,
};
use crate::storage::StorageError;

/// How long work that watches its cancellation may take to end.
const KILL_GRACE: Duration = Duration::from_secs(10);

/// Rendered fields longer than this are cut (Airflow's `max_templated_field_length`).
const MAX_RENDERED: usize = 4096;

/// Most events that one call of [`Executor::events`] moves.
const MAX_EVENTS: usize = 65_536;

/// What a local executor is made of.
#[derive(Debug, Clone)]
pub struct LocalExecutorParts {
    /// Most attempts at a time.
    pub parallelism: usize,
    /// Finds operators by name.
    pub registry: Arc<Registry>,
    /// Finds the work of tasks that are code.
    pub code: Arc<CodeTasks>,
    /// Renders template fields; without it arguments stay as they are declared.
    pub renderer: Option<Arc<dyn RenderTemplates>>,
    /// What attempts read and write.
    pub store: Arc<dyn TaskStore>,
    /// Where they log.
    pub logs: Arc<dyn LogStore>,
    /// Which names are those of secrets, which are not shown.
    pub sensitive_names: SensitiveNames,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Carries out attempts as tokio tasks of this process. Dropping it drops them all, without a word.
#[derive(Debug)]
pub struct LocalExecutor {
    shared: Arc<Shared>,
    received: tokio::sync::Mutex<mpsc::UnboundedReceiver<ExecutorEvent>>,
}

#[derive(Debug)]
struct Shared {
    parts: LocalExecutorParts,
    /// Attempts whose end was not fetched yet. Only whoever starts and fetches changes it, so workers never wait for it.
    running: Mutex<TokenMap<Running>>,
    count: AtomicUsize,
    is_idle: Notify,
    /// Given once waiting for attempts to end by themselves is over.
    give_up: CancellationToken,
    events: mpsc::UnboundedSender<ExecutorEvent>,
}

#[derive(Debug)]
struct Running {
    cancellation: Cancellation,
    task: AbortHandle,
}

impl LocalExecutor {
    /// An executor with nothing to do.
    pub fn new(parts: LocalExecutorParts) -> Self {
        let (events, received) = mpsc::unbounded_channel();
        let shared = Shared {
            parts,
            running: Mutex::default(),
            count: AtomicUsize::new(0),
            is_idle: Notify::new(),
            give_up: CancellationToken::new(),
            events,
        };
        Self { shared: Arc::new(shared), received: tokio::sync::Mutex::new(received) }
    }
}

impl Drop for LocalExecutor {
    fn drop(&mut self) {
        for running in self.shared.running().values() {
            running.task.abort();
        }
    }
}

#[async_trait]
impl Executor for LocalExecutor {
    fn admits_to(&self) -> AttemptPhase {
        AttemptPhase::Running
    }

    fn room(&self) -> usize {
        self.shared.parts.parallelism.saturating_sub(self.shared.count.load(Ordering::Relaxed))
    }

    fn start(&self, attempts: Vec<Attempt>) {
        self.shared.count.fetch_add(attempts.len(), Ordering::Relaxed);
        // Held while spawning, so that the end of an attempt cannot be fetched before the attempt is known.
        let mut running = self.shared.running();
        running.reserve(attempts.len());
        for attempt in attempts {
            let token = attempt.token;
            let cancellation = Cancellation::new();
            let work = carry_out(Arc::clone(&self.shared), Arc::new(attempt), cancellation.clone());
            let task = tokio::spawn(work).abort_handle();
            running.insert(token, Running { cancellation, task });
        }
    }

    fn cancel(&self, token: AttemptToken, reason: CancelReason) {
        if let Some(running) = self.shared.running().get(&token) {
            running.cancellation.cancel(reason);
        }
    }

    async fn events(&self, events: &mut Vec<ExecutorEvent>) {
        // Neither of the two waits loses anything when dropped.
        let old = events.len();
        self.received.lock().await.recv_many(events, MAX_EVENTS).await;
        let mut running = self.shared.running();
        for event in &events[old..] {
            if let ExecutorEvent::Ended { token, .. } = event {
                running.remove(token);
            }
        }
    }

    async fn shutdown(&self, grace: Duration) {
        for running in self.shared.running().values() {
            running.cancellation.cancel(CancelReason::Shutdown);
        }
        let patience = self.shared.parts.clock.sleep(grace);
        tokio::select! {
            biased;
            () = self.shared.idle() => return,
            () = patience => self.shared.give_up.cancel(),
        }
        self.shared.idle().await;
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, TokenMap<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no attempt is left.
    async fn idle(&self) {
        let mut notified = std::pin::pin!(self.is_idle.notified());
        loop {
            notified.as_mut().enable();
            if self.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            notified.as_mut().await;
            notified.set(self.is_idle.notified());
        }
    }

    fn report(&self, token: AttemptToken, result: Result<Outcome, TaskError>) {
        // Room before the report: who hears of the end may use the room at once.
        if self.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.is_idle.notify_waiters();
        }
        // Without a receiver the executor is gone, and nobody waits for the outcome.
        let _ = self.events.send(ExecutorEvent::Ended { token, result });
    }

    fn operator_of(&self, attempt: &Attempt) -> Result<Arc<dyn Operator>, TaskError> {
        let task = attempt.task();
        if task.is_mapped() {
            let what = format!("the task '{}' is mapped (expand), and mapped tasks cannot run yet", task.task_id);
            return Err(TaskError::FailedForGood(what));
        }
        if task.is_code {
            let found = self.parts.code.operator(&attempt.dag, task);
            return found.ok_or_else(|| {
                TaskError::failed(format!("no code is registered here for the task '{}' of this version", task.task_id))
            });
        }
        let found = self.parts.registry.operator(&task.operator.path());
        found.cloned().map_err(|unknown| TaskError::failed(unknown.to_string()))
    }
}

/// Carries out one attempt and reports how it ended.
async fn carry_out(shared: Arc<Shared>, attempt: Arc<Attempt>, cancellation: Cancellation) {
    let token = attempt.token;
    let log = Arc::new(AttemptLog::new(Arc::clone(&attempt), Arc::clone(&shared.parts.clock)));
    let secrets = Arc::new(Secrets::new(shared.parts.sensitive_names.clone()));
    let writer = LogWriter::lazy(Arc::clone(&shared.parts.logs), Arc::<AttemptLog>::clone(&log));
    let writer = writer.masking(Arc::clone(&secrets));
    // What code logs is its own matter; of operators from files people expect to see that they ran.
    if !attempt.task().is_code {
        writer.open();
    }
    let work = until_ended(&shared, &attempt, &cancellation, &secrets, writer.clone());
    let result = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
    let result = result.map_err(|error| error.masked(&secrets));
    if result.is_err() || log.opened().is_some() {
        writer.bytes(log.ending(&result).as_bytes());
        writer.end();
        writer.flush().await;
    }
    shared.report(token, result);
}

/// Does the work until it ends, must end, or takes too long.
async fn until_ended(
    shared: &Shared,
    attempt: &Arc<Attempt>,
    cancellation: &Cancellation,
    secrets: &Arc<Secrets>,
    log: LogWriter,
) -> Result<Outcome, TaskError> {
    let timeout = attempt.task().execution_timeout;
    let late = timeout.map(|timeout| shared.parts.clock.sleep(timeout));
    let must_end = async {
        let Some(late) = late else { return cancellation.cancelled().await };
        tokio::select! {
            biased;
            reason = cancellation.cancelled() => reason,
            () = late => CancelReason::Timeout,
        }
    };
    // In a block of its own: the work is dropped at its end, whether it has ended or not.
    let (reason, ended) = {
        let mut work = std::pin::pin!(work(shared, attempt, cancellation, secrets, log));
        let reason = tokio::select! {
            biased;
            result = &mut work => return result,
            reason = must_end => reason,
        };
        cancellation.cancel(reason);
        let mut ended = None;
        if cancellation.is_watched() {
            ended = tokio::select! {
                biased;
                result = &mut work => Some(result),
                () = shared.parts.clock.sleep(KILL_GRACE) => None,
                () = shared.give_up.cancelled() => None,
            };
        }
        (reason, ended)
    };
    match (reason, ended) {
        (CancelReason::Timeout, _) => Err(TaskError::TimedOut(timeout.unwrap_or_default())),
        (_, Some(Ok(outcome))) => Ok(outcome),
        (reason, _) => Err(TaskError::Cancelled(reason)),
    }
}

async fn work(
    shared: &Shared,
    attempt: &Arc<Attempt>,
    cancellation: &Cancellation,
    secrets: &Arc<Secrets>,
    log: LogWriter,
) -> Result<Outcome, TaskError> {
    let operator = shared.operator_of(attempt)?;
    let mut context = TaskContext::new(TaskContextParts {
        attempt: Arc::clone(attempt),
        store: Arc::new(MaskingStore::new(Arc::clone(&shared.parts.store), Arc::clone(secrets))),
        log,
        cancellation: cancellation.clone(),
        clock: Arc::clone(&shared.parts.clock),
    });
    let task = attempt.task();
    if !task.template_fields.is_empty() {
        if let Some(renderer) = &shared.parts.renderer {
            context = context.with_arguments(renderer.render(&context).await?);
        }
        let info = shared.parts.registry.info(&task.operator.path()).ok();
        let fields = rendered_fields(task, context.arguments(), info.map(|info| &info.field_defaults), secrets);
        match shared.parts.store.set_rendered_fields(attempt, fields).await {
            Err(StorageError::Fenced) => return Err(TaskError::Cancelled(CancelReason::Obsolete)),
            Err(error) => tracing::warn!(%error, token = %attempt.token, "rendered fields were not stored"),
            Ok(()) => {}
        }
    }
    let mut result = operator.execute(&context).await;
    if let Ok(Outcome::Success { outlet_events, .. }) = &mut result {
        outlet_events.extend(context.take_outlet_events());
    }
    result
}

/// The template fields as clients see them: without secrets, and long ones are cut.
fn rendered_fields(
    task: &Task,
    arguments: &Map<String, Value>,
    defaults: Option<&Map<String, Value>>,
    secrets: &Secrets,
) -> Value {
    let fields = task.template_fields.iter().map(|name| {
        let value = arguments.get(name).or_else(|| defaults?.get(name)).cloned().unwrap_or(Value::Null);
        let value = secrets.redact(name, value);
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
            list_or_map => list_or_map.to_string(),
        };
        let value = if text.chars().nth(MAX_RENDERED).is_none() {
            value
        } else {
            let head: String = text.chars().take(MAX_RENDERED - 79).collect();
            format!("Truncated. You can change this behaviour in [core]max_templated_field_length. '{head}'... ").into()
        };
        (name.clone(), value)
    });
    Value::Object(fields.collect())
}

fn panicked(panic: &(dyn Any + Send)) -> TaskError {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    TaskError::failed(format!("the task panicked: {}", text.unwrap_or("no text")))
}

#[cfg(test)]
#[path = "local_test.rs"]
mod tests;
