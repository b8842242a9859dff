//! What an operator sees of its try.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::TaskError;
use crate::clock::Clock;
use crate::executor::Attempt;
use crate::log::{LogLevel, LogWriter};
use crate::model::{Connection, DagRun, DatasetEvent, OutletEvent, RETURN_VALUE, Task, normal_uri};
use crate::storage::{StorageError, XComEntry, XComQuery};

/// Why a try was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelReason {
    /// A client cleared, marked or deleted the instance or its run.
    Obsolete,
    /// The scheduler stops.
    Shutdown,
    /// The execution timeout has passed.
    Timeout,
}

impl Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Obsolete => "its state was changed from outside",
            Self::Shutdown => "shutdown",
            Self::Timeout => "timeout",
        })
    }
}

/// Tells a try to end. Clones watch the same signal.
#[derive(Debug, Clone)]
pub struct Cancellation {
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Signal {
    reason: OnceLock<CancelReason>,
    given: Notify,
    is_watched: AtomicBool,
}

impl Cancellation {
    /// A signal that nobody has given yet.
    pub(crate) fn new() -> Self {
        Self { signal: Arc::default() }
    }

    /// Gives the signal; only the first reason counts.
    pub(crate) fn cancel(&self, reason: CancelReason) {
        if self.signal.reason.set(reason).is_ok() {
            self.signal.given.notify_waiters();
        }
    }

    /// Whether the work has asked for the signal, and so will end by itself.
    pub(crate) fn is_watched(&self) -> bool {
        self.signal.is_watched.load(Ordering::Relaxed)
    }

    /// Why the try must end, if it must.
    pub fn reason(&self) -> Option<CancelReason> {
        self.signal.reason.get().copied()
    }

    /// Ends once the try must end; for ever pending if nobody tells it to.
    pub async fn cancelled(&self) -> CancelReason {
        let given = self.signal.given.notified();
        let mut given = std::pin::pin!(given);
        loop {
            given.as_mut().enable();
            if let Some(reason) = self.reason() {
                return reason;
            }
            given.as_mut().await;
            given.set(self.signal.given.notified());
        }
    }
}

/// What a try reads and writes beside its arguments.
#[async_trait]
pub trait TaskStore: Send + Sync + Debug {
    /// Values that tasks left: those of the newest run first, within a run the newest first. Without `run_id` in the query
    /// the attempt's own run, without `dag_id` its own DAG; with `include_prior_dates` earlier runs as well.
    ///
    /// # Errors
    /// Those of the storage.
    async fn xcoms(
        &self,
        attempt: &Attempt,
        query: &XComQuery,
        include_prior_dates: bool,
    ) -> Result<Vec<XComEntry>, StorageError>;

    /// Leaves a value for other tasks.
    ///
    /// # Errors
    /// Those of the storage; [`StorageError::Fenced`] if the attempt is no longer the current one.
    async fn set_xcom(&self, attempt: &Attempt, key: &str, value: Value) -> Result<(), StorageError>;

    /// A variable's text.
    ///
    /// # Errors
    /// Those of the storage.
    async fn variable(&self, key: &str) -> Result<Option<String>, StorageError>;

    /// A connection.
    ///
    /// # Errors
    /// Those of the storage.
    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, StorageError>;

    /// Start and data interval of the last successful scheduled or manual run before the attempt's:
    /// `(data_interval_start, data_interval_end, start_date, end_date)`.
    ///
    /// # Errors
    /// Those of the storage.
    async fn previous_success(&self, attempt: &Attempt) -> Result<Option<[Option<DateTime<Utc>>; 4]>, StorageError>;

    /// The updates of datasets that caused the attempt's run, oldest first, each with the run that made it if that is there.
    ///
    /// # Errors
    /// Those of the storage.
    async fn triggering_dataset_events(
        &self,
        attempt: &Attempt,
    ) -> Result<Vec<(DatasetEvent, Option<DagRun>)>, StorageError>;

    /// All updates of a dataset, oldest first; none of one that is not known.
    ///
    /// # Errors
    /// Those of the storage.
    async fn dataset_events(&self, uri: &str) -> Result<Vec<DatasetEvent>, StorageError>;

    /// Says where the attempt runs.
    ///
    /// # Errors
    /// Those of the storage.
    async fn set_process(&self, attempt: &Attempt, pid: u32) -> Result<(), StorageError>;

    /// Stores the arguments as rendered.
    ///
    /// # Errors
    /// Those of the storage.
    async fn set_rendered_fields(&self, attempt: &Attempt, fields: Value) -> Result<(), StorageError>;
}

/// Renders the template fields of a task.
#[async_trait]
pub trait RenderTemplates: Send + Sync + Debug {
    /// The task's arguments with its template fields rendered. What a template asks for is read from
    /// [`TaskContext::store`].
    ///
    /// # Errors
    /// A template is wrong or names something that does not exist; the text says which field and where.
    async fn render(&self, context: &TaskContext) -> Result<Map<String, Value>, TaskError>;
}

/// What a context is made of.
#[derive(Debug)]
pub struct TaskContextParts {
    /// The try.
    pub attempt: Arc<Attempt>,
    /// Reads and writes.
    pub store: Arc<dyn TaskStore>,
    /// Its log.
    pub log: LogWriter,
    /// Tells it to end.
    pub cancellation: Cancellation,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// What an operator sees of its try. Clones are cheap and share everything.
#[derive(Debug, Clone)]
pub struct TaskContext {
    inner: Arc<Inner>,
    rendered: Option<Arc<Map<String, Value>>>,
}

#[derive(Debug)]
struct Inner {
    parts: TaskContextParts,
    /// What the try says of its updates of datasets, one a dataset.
    outlet_events: Mutex<Vec<OutletEvent>>,
}

impl TaskContext {
    /// A context whose arguments are not rendered yet.
    pub fn new(parts: TaskContextParts) -> Self {
        Self { inner: Arc::new(Inner { parts, outlet_events: Mutex::default() }), rendered: None }
    }

    /// The same context with rendered arguments.
    #[must_use]
    pub fn with_arguments(&self, arguments: Map<String, Value>) -> Self {
        Self { inner: Arc::clone(&self.inner), rendered: Some(Arc::new(arguments)) }
    }

    /// The try.
    pub fn attempt(&self) -> &Arc<Attempt> {
        &self.inner.parts.attempt
    }

    /// The task.
    pub fn task(&self) -> &Task {
        self.inner.parts.attempt.task()
    }

    /// The operator's arguments, rendered if the task has templates.
    pub fn arguments(&self) -> &Map<String, Value> {
        self.rendered.as_deref().unwrap_or(&self.task().arguments)
    }

    /// The try's log.
    pub fn log(&self) -> &LogWriter {
        &self.inner.parts.log
    }

    /// Writes a text to the try's log, with time and place as Airflow's logs have them.
    #[track_caller]
    pub fn info(&self, text: impl Display) {
        self.record(LogLevel::Info, &text, Location::caller());
    }

    /// Writes a warning to the try's log.
    #[track_caller]
    pub fn warning(&self, text: impl Display) {
        self.record(LogLevel::Warning, &text, Location::caller());
    }

    /// Writes an error to the try's log.
    #[track_caller]
    pub fn error(&self, text: impl Display) {
        self.record(LogLevel::Error, &text, Location::caller());
    }

    fn record(&self, level: LogLevel, text: &dyn Display, place: &Location<'_>) {
        self.inner.parts.log.record(self.inner.parts.clock.now(), level, place, text);
    }

    /// Tells the try to end. Work that asks for it gets time to end by itself when the signal comes; other work is
    /// dropped at once.
    pub fn cancellation(&self) -> &Cancellation {
        self.inner.parts.cancellation.signal.is_watched.store(true, Ordering::Relaxed);
        &self.inner.parts.cancellation
    }

    /// Reads and writes beside the arguments.
    pub fn store(&self) -> &Arc<dyn TaskStore> {
        &self.inner.parts.store
    }

    /// Time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.parts.clock
    }

    /// The updates of datasets that caused the run, by URI, those of each dataset oldest first (Airflow's
    /// `triggering_dataset_events`).
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn triggering_dataset_events(&self) -> Result<BTreeMap<String, Vec<DatasetEvent>>, StorageError> {
        let mut by_uri: BTreeMap<String, Vec<DatasetEvent>> = BTreeMap::new();
        for (event, _) in self.inner.parts.store.triggering_dataset_events(&self.inner.parts.attempt).await? {
            by_uri.entry(event.dataset_uri.clone()).or_default().push(event);
        }
        Ok(by_uri)
    }

    /// Says what the try's update of a dataset is about (Airflow's `outlet_events[dataset].extra = …`); said again, it replaces
    /// what was said before. It counts if the try succeeds and the dataset is among the task's outlets.
    pub fn outlet_event(&self, uri: &str, extra: Map<String, Value>) {
        let event = OutletEvent { uri: normal_uri(uri).unwrap_or_else(|_| uri.into()), extra };
        let mut events = self.outlet_events();
        events.retain(|said| said.uri != event.uri);
        events.push(event);
    }

    /// Takes out what was said of updates.
    pub(crate) fn take_outlet_events(&self) -> Vec<OutletEvent> {
        std::mem::take(&mut *self.outlet_events())
    }

    fn outlet_events(&self) -> MutexGuard<'_, Vec<OutletEvent>> {
        self.inner.outlet_events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run's parameters: the DAG's defaults, overridden by the task's and by the run's conf.
    pub fn params(&self) -> Map<String, Value> {
        let attempt = &self.inner.parts.attempt;
        let mut params = Map::new();
        for param in attempt.dag.params.iter().chain(&self.task().params) {
            params.insert(param.name.clone(), param.value.clone().unwrap_or(Value::Null));
        }
        if let Value::Object(conf) = &attempt.run.conf {
            for (name, value) in conf {
                params.insert(name.clone(), value.clone());
            }
        }
        params
    }

    /// The result that a task of the same run left, if it left one.
    ///
    /// # Errors
    /// Those of the storage.
    pub async fn xcom_pull(&self, task_id: &str) -> Result<Option<Value>, StorageError> {
        let query = XComQuery {
            task_ids: Some([task_id.to_owned()].into()),
            key: Some(RETURN_VALUE.into()),
            ..XComQuery::default()
        };
        let found = self.inner.parts.store.xcoms(&self.inner.parts.attempt, &query, false).await?;
        Ok(found.into_iter().next().map(|entry| entry.xcom.value))
    }

    /// Leaves a value for other tasks under a key of its own.
    ///
    /// # Errors
    /// Those of the storage; [`StorageError::Fenced`] if the try is no longer the current one.
    pub async fn xcom_push(&self, key: &str, value: impl Into<Value> + Send) -> Result<(), StorageError> {
        self.inner.parts.store.set_xcom(&self.inner.parts.attempt, key, value.into()).await
    }
}
