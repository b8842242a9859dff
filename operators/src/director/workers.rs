//! The processes that run tasks, and who has them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use updraft_core::clock::Clock;
use updraft_core::operator::{CancelReason, TaskContext, TaskError};

use super::worker::Worker;
use crate::config::OperatorsConfig;
use crate::python::LAST_WORDS;
use crate::{exit_code, note_process};

/// How long a process without a task is kept.
const IDLE: Duration = Duration::from_secs(10);
/// How long it may take to import a project's tasks.
const IMPORT: Duration = Duration::from_secs(60);
/// How often it is looked whether files have changed.
const LOOK: Duration = Duration::from_millis(500);
/// How many files and folders below `tasks/` are looked at.
const MAX_FILES: usize = 100_000;

/// What the Python files of a project define.
#[derive(Debug, Clone, Default)]
pub struct ProjectFunctions {
    /// The names of the tasks, sorted.
    pub names: Vec<String>,
    /// Files that could not be imported, with the traceback.
    pub problems: Vec<(PathBuf, String)>,
}

/// A task to be run.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) task: &'a str,
    pub(super) id: String,
    pub(super) args: Vec<Value>,
    pub(super) payload: Value,
    pub(super) workflow_id: String,
    pub(super) queue: &'a str,
    pub(super) retries: u32,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum End {
    Returned(Value),
    Failed {
        exception: String,
        traceback: String,
    },
    /// It asks to be run again after a pause.
    Again(Duration),
}

/// The processes that run the tasks of Director's projects. Clones share them.
#[derive(Debug, Clone)]
pub struct DirectorWorkers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: OperatorsConfig,
    clock: Arc<dyn Clock>,
    idle: Mutex<Vec<Idle>>,
    /// What the files of projects were when they were last looked at.
    prints: Mutex<BTreeMap<PathBuf, (Duration, Print)>>,
}

#[derive(Debug)]
struct Idle {
    project: PathBuf,
    print: Print,
    since: Duration,
    worker: Worker,
}

/// Tells whether files have changed.
type Print = Vec<(PathBuf, Option<SystemTime>, u64)>;

impl DirectorWorkers {
    /// No processes yet.
    pub fn new(config: OperatorsConfig, clock: Arc<dyn Clock>) -> Self {
        let (idle, prints) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { config, clock, idle, prints }) }
    }

    /// The tasks that a project's files define. For a thread of a tokio runtime that may block.
    ///
    /// # Errors
    /// The text says why no file could be read at all.
    pub fn find(&self, project: &Path) -> Result<ProjectFunctions, String> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let (worker, print, found) = self.started(project).await.map_err(|error| error.to_string())?;
            self.put(project, print, worker);
            Ok(found)
        })
    }

    async fn started(&self, project: &Path) -> Result<(Worker, Print, ProjectFunctions), TaskError> {
        // Looked at before the files are read: what changes meanwhile is noticed.
        let print = print_of(project);
        let mut worker = Worker::start(&self.shared.config, project).await?;
        let ready = tokio::select! {
            biased;
            ready = worker.ready() => ready,
            () = self.shared.clock.sleep(IMPORT) => {
                Err(TaskError::failed(format!("importing the project's tasks takes longer than {IMPORT:?}")))
            }
        };
        match ready {
            Ok((names, problems)) => Ok((worker, print, ProjectFunctions { names, problems })),
            Err(error) => {
                worker.kill().await;
                Err(error)
            }
        }
    }

    /// A process that waits for a task.
    fn take(&self, project: &Path) -> Option<(Worker, Print)> {
        let current = self.print(project);
        let mut idle = self.idle();
        idle.retain(|one| one.project != project || one.print == current);
        let at = idle.iter().rposition(|one| one.project == project)?;
        let Idle { worker, print, .. } = idle.remove(at);
        Some((worker, print))
    }

    /// Keeps a process for the next task, for a while.
    fn put(&self, project: &Path, print: Print, worker: Worker) {
        let since = self.shared.clock.monotonic();
        self.idle().push(Idle { project: project.into(), print, since, worker });
        let (shared, clock) = (Arc::downgrade(&self.shared), Arc::clone(&self.shared.clock));
        tokio::spawn(async move {
            clock.sleep(IDLE).await;
            if let Some(shared) = shared.upgrade() {
                let now = shared.clock.monotonic();
                let old = Self { shared }.take_idle_since(now);
                for one in old {
                    one.worker.kill().await;
                }
            }
        });
    }

    fn take_idle_since(&self, now: Duration) -> Vec<Idle> {
        let mut idle = self.idle();
        let (old, kept) = std::mem::take(&mut *idle).into_iter().partition(|one| one.since + IDLE <= now);
        *idle = kept;
        old
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, project: &Path) -> Print {
        let now = self.shared.clock.monotonic();
        let mut prints = self.shared.prints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, print)) = prints.get(project)
            && now < *at + LOOK
        {
            return print.clone();
        }
        let print = print_of(project);
        prints.insert(project.into(), (now, print.clone()));
        print
    }

    /// Runs a task once.
    pub(super) async fn call(&self, context: &TaskContext, call: &Call<'_>) -> Result<End, TaskError> {
        let file = std::path::absolute(&context.attempt().dag.fileloc).ok();
        let project = file.as_deref().and_then(Path::parent).unwrap_or(Path::new("/")).to_path_buf();
        let mark = format!("\u{4}{}\n", context.attempt().token);
        let message = json!({
            "task": call.task, "id": call.id, "args": call.args, "payload": call.payload,
            "workflow_id": call.workflow_id, "queue": call.queue, "retries": call.retries, "mark": mark,
        });
        let mut is_fresh = false;
        loop {
            let (mut worker, print) = match self.take(&project).filter(|_| !is_fresh) {
                Some(found) => found,
                None => {
                    is_fresh = true;
                    let (worker, print, _) = self.started(&project).await?;
                    (worker, print)
                }
            };
            worker.talk.send(&message).await;
            let taken = match worker.talk.receive().await? {
                Some(taken) => taken,
                // It ended while it waited: another one must do.
                None if !is_fresh => continue,
                None => return Err(TaskError::failed("the Python process ended before it had begun")),
            };
            note_process(context, &worker.process).await?;
            let limit = taken.get("time_limit").and_then(Value::as_f64).filter(|limit| *limit > 0.0);
            let limit = limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok());
            return match self.watch(context, &mut worker, limit, mark.as_bytes()).await {
                Ok(Some(end)) => {
                    self.put(&project, print, worker);
                    Ok(end)
                }
                Ok(None) => {
                    // It has ended, or will at once.
                    let status = tokio::select! {
                        biased;
                        status = worker.process.wait() => status.ok().map(exit_code),
                        () = context.clock().sleep(LAST_WORDS) => None,
                    };
                    worker.kill().await;
                    let code = status.map(|code| format!(" with return code {code}")).unwrap_or_default();
                    let exception = format!("Worker exited prematurely{code}");
                    Ok(End::Failed { exception, traceback: String::new() })
                }
                Err(ended) => {
                    worker.group.terminate();
                    tokio::select! {
                        biased;
                        _ = worker.process.wait() => {}
                        () = context.clock().sleep(self.shared.config.kill_grace) => {}
                    }
                    worker.kill().await;
                    match ended {
                        Stopped::Late(limit) => {
                            let exception = format!("TimeLimitExceeded({},)", limit.as_secs_f64());
                            Ok(End::Failed { exception, traceback: String::new() })
                        }
                        Stopped::Unreadable(error) => {
                            Ok(End::Failed { exception: error.to_string(), traceback: String::new() })
                        }
                        Stopped::Cancelled(reason) => Err(TaskError::Cancelled(reason)),
                    }
                }
            };
        }
    }

    /// Waits until a task has ended, and logs what it writes meanwhile; `None` if the process ends without a word.
    async fn watch(
        &self,
        context: &TaskContext,
        worker: &mut Worker,
        limit: Option<Duration>,
        mark: &[u8],
    ) -> Result<Option<End>, Stopped> {
        let Worker { talk, output, .. } = worker;
        let mut log = Box::pin(output.log_until(context, mark));
        let mut has_logged = false;
        let mut late = Box::pin(async {
            match limit {
                Some(limit) => context.clock().sleep(limit).await,
                None => std::future::pending().await,
            }
        });
        let mut reply = Box::pin(talk.receive());
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut reply => break reply,
                () = &mut log, if !has_logged => has_logged = true,
                reason = context.cancellation().cancelled() => {
                    context.info("Sending SIGTERM signal to process group");
                    return Err(Stopped::Cancelled(reason));
                }
                () = &mut late => return Err(Stopped::Late(limit.unwrap_or_default())),
            }
        };
        if !has_logged {
            tokio::select! {
                biased;
                () = &mut log => {}
                () = context.clock().sleep(LAST_WORDS) => {}
            }
        }
        match reply {
            Ok(message) => Ok(message.map(|message| end_of(&message))),
            Err(error) => Err(Stopped::Unreadable(error)),
        }
    }
}

/// Why a process must end.
enum Stopped {
    /// The task's time limit has passed.
    Late(Duration),
    /// It said what cannot be read.
    Unreadable(TaskError),
    Cancelled(CancelReason),
}

fn end_of(message: &Map<String, Value>) -> End {
    match message.get("end").and_then(Value::as_str) {
        Some("returned") => End::Returned(message.get("value").cloned().unwrap_or_default()),
        Some("retry") => {
            let pause = message.get("countdown").and_then(Value::as_f64).unwrap_or_default();
            End::Again(Duration::try_from_secs_f64(pause).unwrap_or(Duration::MAX))
        }
        _ => {
            End::Failed { exception: Worker::text(message, "exception"), traceback: Worker::text(message, "traceback") }
        }
    }
}

fn print_of(project: &Path) -> Print {
    let mut print = Vec::new();
    let mut open = vec![project.join("tasks")];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                if path.file_name().is_some_and(|name| name != "__pycache__") && print.len() < MAX_FILES {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "py") {
                print.push((path, metadata.modified().ok(), metadata.len()));
            }
        }
    }
    let env = project.join(".env");
    let metadata = std::fs::metadata(&env).ok();
    let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
    print.push((env, modified, metadata.map_or(0, |metadata| metadata.len())));
    print.sort();
    print
}
