//! Putting an Updraft together.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use updraft_core::clock::{Clock, SystemClock};
use updraft_core::dag::{BuiltDag, DagBuilder, content_hash};
use updraft_core::engine::{EngineError, Scheduler, SchedulerParts, SchedulerSettings, SchedulerStatus};
use updraft_core::executor::{LocalExecutor, LocalExecutorParts};
use updraft_core::id::IdSource;
use updraft_core::log::{LogStore, MemoryLogs};
use updraft_core::mask::SensitiveNames;
use updraft_core::model::{DagRun, Host, TaskEventLog};
use updraft_core::operator::{CodeTasks, Operator, OperatorInfo, Registry, RenderTemplates, StorageTaskStore};
use updraft_core::schedule::{Timetable, Timetables};
use updraft_core::secret::{InvalidKey, Keyring};
use updraft_core::service::{Actor, Service, ServiceError, Settings, TriggerRequest};
use updraft_core::storage::{DagRegistration, Storage};

use crate::error::{BuildError, StartError};
use crate::runnable::Registered;
use crate::running::Running;
use crate::supervisor::{Down, supervise};

/// An orchestrator: storage, DAGs, operators and settings, put together. It does nothing by itself; [`Updraft::start`]
/// runs DAGs, [`Updraft::service`] and the wire APIs ask and change.
#[derive(Debug, Clone)]
pub struct Updraft {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    storage: Arc<dyn Storage>,
    service: Service,
    registry: Arc<Registry>,
    code: Arc<CodeTasks>,
    timetables: Arc<Timetables>,
    renderer: Option<Arc<dyn RenderTemplates>>,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    dags: Vec<BuiltDag>,
    #[cfg(feature = "director")]
    workers: updraft_operators::director::DirectorWorkers,
    settings: BuilderSettings,
    status: SchedulerStatus,
}

#[derive(Debug, Clone)]
pub(crate) struct BuilderSettings {
    pub(crate) parallelism: usize,
    scheduler: SchedulerSettings,
    pub(crate) dags_are_paused_at_creation: bool,
    sensitive_names: Vec<String>,
    #[cfg_attr(not(feature = "yaml"), allow(dead_code, reason = "only DAG files have folders"))]
    pub(crate) folders: Vec<PathBuf>,
    #[cfg_attr(not(feature = "yaml"), allow(dead_code, reason = "only DAG files have variables"))]
    dag_env: Vec<String>,
    #[cfg(feature = "director")]
    projects: Vec<PathBuf>,
    queues: Option<Arc<BTreeSet<String>>>,
}

/// Puts an [`Updraft`] together.
#[derive(Debug)]
pub struct Builder {
    storage: Option<Arc<dyn Storage>>,
    logs: Option<Arc<dyn LogStore>>,
    registry: Registry,
    renderer: Option<Arc<dyn RenderTemplates>>,
    #[cfg(feature = "director")]
    operators: updraft_operators::OperatorsConfig,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    dags: Vec<DagBuilder>,
    timetables: Timetables,
    secret_keys: Result<Keyring, InvalidKey>,
    settings: BuilderSettings,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            storage: None,
            logs: None,
            registry: Registry::default(),
            renderer: None,
            #[cfg(feature = "director")]
            operators: updraft_operators::OperatorsConfig::default(),
            clock: Arc::new(SystemClock::new()),
            ids: IdSource::from_system(),
            dags: Vec::new(),
            timetables: Timetables::default(),
            secret_keys: Ok(Keyring::default()),
            settings: BuilderSettings {
                parallelism: 32,
                scheduler: SchedulerSettings::default(),
                dags_are_paused_at_creation: false,
                sensitive_names: Vec::new(),
                folders: Vec::new(),
                dag_env: Vec::new(),
                #[cfg(feature = "director")]
                projects: Vec::new(),
                queues: None,
            },
        }
    }
}

impl Builder {
    /// Where state is kept; memory by default.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// Where logs are kept; by default in the database if the storage is a `PostgresStorage`, in memory otherwise.
    #[must_use]
    pub fn logs(mut self, logs: Arc<dyn LogStore>) -> Self {
        self.logs = Some(logs);
        self
    }

    /// Adds a timetable of the host's own under the import path by which DAGs declare it. It is made of the arguments of the
    /// declaration, `{"args": […], "kwargs": {…}}`, and the DAG's zone.
    #[must_use]
    pub fn timetable(
        mut self,
        class: impl Into<String>,
        make: impl Fn(&serde_json::Value, &str) -> Result<Arc<dyn Timetable>, String> + Send + Sync + 'static,
    ) -> Self {
        self.timetables.add(class, make);
        self
    }

    /// Where time comes from; the machine by default.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where ids and randomness come from; the machine by default.
    #[must_use]
    pub fn ids(mut self, ids: IdSource) -> Self {
        self.ids = ids;
        self
    }

    /// Adds a DAG. It is checked by [`Builder::build`].
    #[must_use]
    pub fn dag(mut self, dag: DagBuilder) -> Self {
        self.dags.push(dag);
        self
    }

    /// Adds a folder of DAG files, which is watched while the scheduler runs.
    #[cfg(feature = "yaml")]
    #[must_use]
    pub fn dag_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.settings.folders.push(folder.into());
        self
    }

    /// Adds a Celery Director project: the folder with its `workflows.yml`, which is watched while the scheduler runs. Tasks
    /// are operators that were registered by their names ([`Builder::director_task`]), or functions of the folder's
    /// `tasks/`, which are run by the Python interpreter of [`Builder::builtin_operators`].
    #[cfg(feature = "director")]
    #[must_use]
    pub fn director_project(mut self, folder: impl Into<PathBuf>) -> Self {
        self.settings.projects.push(folder.into());
        self
    }

    /// Adds a task that workflows may name.
    #[cfg(feature = "director")]
    #[must_use]
    pub fn director_task(mut self, name: &str, operator: impl Operator + 'static) -> Self {
        let task = updraft_operators::director::DirectorTask::new(operator);
        self.registry.register(OperatorInfo::new(name), task);
        self
    }

    /// Names a queue that this process serves; all by default. It runs the runs of DAGs whose tasks are all in such queues.
    #[must_use]
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        let queues = self.settings.queues.get_or_insert_default();
        Arc::make_mut(queues).insert(name.into());
        self
    }

    /// Names an environment variable that DAG files may use as `$NAME`; `*` allows all.
    #[cfg(feature = "yaml")]
    #[must_use]
    pub fn dag_env(mut self, name: impl Into<String>) -> Self {
        self.settings.dag_env.push(name.into());
        self
    }

    /// Adds an operator that DAGs may name.
    #[must_use]
    pub fn operator(mut self, info: OperatorInfo, operator: impl Operator + 'static) -> Self {
        self.registry.register(info, operator);
        self
    }

    /// Adds the built-in operators, and renders templates.
    #[cfg(feature = "operators")]
    #[must_use]
    pub fn builtin_operators(mut self, config: updraft_operators::OperatorsConfig) -> Self {
        #[cfg(feature = "director")]
        self.operators.clone_from(&config);
        updraft_operators::register_all(&mut self.registry, config);
        self.renderer = Some(Arc::new(updraft_operators::TemplateRenderer::new()));
        self
    }

    /// Who renders templates.
    #[must_use]
    pub fn renderer(mut self, renderer: Arc<dyn RenderTemplates>) -> Self {
        self.renderer = Some(renderer);
        self
    }

    /// Most tries at a time in this process; 32 by default.
    #[must_use]
    pub fn parallelism(mut self, parallelism: usize) -> Self {
        self.settings.parallelism = parallelism;
        self
    }

    /// The scheduler's name; one that starts under the name of another replaces it.
    #[must_use]
    pub fn scheduler_name(mut self, name: impl Into<String>) -> Self {
        self.settings.scheduler.name = name.into();
        self
    }

    /// How long the scheduler may be silent before others on the same storage take its runs over; 30 s by default.
    #[must_use]
    pub fn scheduler_lease(mut self, lease: Duration) -> Self {
        self.settings.scheduler.lease = lease;
        self
    }

    /// Whether DAGs that do not say so themselves start paused; not by default.
    #[must_use]
    pub fn dags_are_paused_at_creation(mut self, paused: bool) -> Self {
        self.settings.dags_are_paused_at_creation = paused;
        self
    }

    /// What passwords, extras and the values of variables are encrypted with where they are kept, each 32 bytes in
    /// URL-safe base64, as Airflow's Fernet keys are: the first encrypts, all decrypt. Without keys they are kept in the
    /// clear. [`Service::rotate_secrets`] encrypts all with the first key; `Keyring::make_key` makes one.
    #[must_use]
    pub fn secret_keys<K: AsRef<str>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.secret_keys = Keyring::new(keys);
        self
    }

    /// Names a part of names whose values are secrets, beside those of Airflow's list (`password`, `token` and so on):
    /// what has such a name is not shown.
    #[must_use]
    pub fn sensitive_name(mut self, name: impl Into<String>) -> Self {
        self.settings.sensitive_names.push(name.into());
        self
    }

    /// Which transitions of task instances go to the event log; all by default.
    #[must_use]
    pub fn task_event_log(mut self, log: TaskEventLog) -> Self {
        self.settings.scheduler.event_log = log;
        self
    }

    /// Checks everything. Nothing is read, written or started.
    ///
    /// # Errors
    /// A DAG is wrong, two have the same id, or there is no storage.
    #[cfg_attr(not(feature = "director"), allow(unused_mut, reason = "only projects add operators"))]
    pub fn build(mut self) -> Result<Updraft, BuildError> {
        if self.settings.parallelism == 0 {
            return Err(BuildError::Invalid("a parallelism of 0 would never run anything".into()));
        }
        if self.settings.scheduler.lease.is_zero() {
            return Err(BuildError::Invalid("a lease of 0 would never hold".into()));
        }
        let storage = match self.storage {
            Some(storage) => storage,
            #[cfg(feature = "memory")]
            None => Arc::new(crate::MemoryStorage::new(Arc::clone(&self.clock))),
            #[cfg(not(feature = "memory"))]
            None => return Err(BuildError::NoStorage),
        };
        #[cfg(feature = "director")]
        let workers = updraft_operators::director::DirectorWorkers::new(self.operators, Arc::clone(&self.clock));
        #[cfg(feature = "director")]
        updraft_operators::director::register(&mut self.registry, workers.clone());
        let code = CodeTasks::default();
        let mut ids = BTreeSet::new();
        let mut dags = Vec::with_capacity(self.dags.len());
        for dag in self.dags {
            let built = dag.build(&self.registry)?;
            if !ids.insert(built.dag.dag_id.clone()) {
                return Err(BuildError::DuplicateDag(built.dag.dag_id.to_string()));
            }
            code.register(&built.dag, built.code.clone());
            dags.push(built);
        }
        let mut settings = Settings::default();
        settings.dags_are_paused_at_creation = self.settings.dags_are_paused_at_creation;
        settings.secret_keys = self.secret_keys.map_err(|error| BuildError::Invalid(error.to_string()))?;
        settings.sensitive_names = SensitiveNames::with(&self.settings.sensitive_names);
        let logs = self.logs.unwrap_or_else(|| logs_beside(storage.as_ref()));
        let timetables = Arc::new(self.timetables);
        let service = Service::new(Arc::clone(&storage), logs, self.ids.clone(), settings);
        let service = service.with_timetables(Arc::clone(&timetables));
        let inner = Inner {
            storage,
            service,
            registry: Arc::new(self.registry),
            code: Arc::new(code),
            timetables,
            renderer: self.renderer,
            clock: self.clock,
            ids: self.ids,
            dags,
            #[cfg(feature = "director")]
            workers,
            settings: self.settings,
            status: SchedulerStatus::default(),
        };
        Ok(Updraft { inner: Arc::new(inner) })
    }
}

impl Updraft {
    /// Begins to put one together.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What a client may ask.
    pub fn service(&self) -> &Service {
        &self.inner.service
    }

    /// Where state is kept.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.inner.storage
    }

    /// Triggers a run.
    ///
    /// # Errors
    /// Those of [`Service::dag_to_trigger`] and [`Service::trigger`].
    pub async fn trigger(&self, dag_id: &str, request: TriggerRequest) -> Result<DagRun, ServiceError> {
        let dag = self.service().dag_to_trigger(dag_id).await?;
        self.service().trigger(&dag, request, &Actor::default()).await
    }

    /// Waits until a run has ended.
    ///
    /// # Errors
    /// The run does not exist (any more), or the storage failed.
    pub async fn wait_for_run(&self, dag_id: &str, run_id: &str) -> Result<DagRun, ServiceError> {
        const PAUSE: Duration = Duration::from_millis(10);
        loop {
            let run = self.service().dag_run(dag_id, run_id).await?;
            if run.state.is_finished() {
                return Ok(run);
            }
            self.inner.clock.sleep(PAUSE).await;
        }
    }

    /// Airflow's stable REST API over this orchestrator, to be completed with who may call. It works with and without a
    /// started scheduler.
    #[cfg(feature = "airflow")]
    pub fn airflow(&self) -> updraft_http_adapter::airflow::AirflowBuilder {
        updraft_http_adapter::airflow::Airflow::builder(self.service().clone(), Arc::clone(&self.inner.clock))
            .scheduler(self.inner.status.clone())
            .config(crate::config::options(self.storage().as_ref(), &self.inner.settings))
    }

    /// Airflow's old experimental API over this orchestrator, to be completed with who may call. A host that has clients of it
    /// mounts it beside the stable one.
    #[cfg(feature = "airflow")]
    pub fn airflow_experimental(&self) -> updraft_http_adapter::airflow_experimental::AirflowExperimentalBuilder {
        let clock = Arc::clone(&self.inner.clock);
        updraft_http_adapter::airflow_experimental::AirflowExperimental::builder(self.service().clone(), clock)
    }

    /// Celery Director's API over this orchestrator, to be completed with who may call. The page size is the first project's
    /// `DIRECTOR_WORKFLOWS_PER_PAGE`.
    #[cfg(feature = "director")]
    pub fn director(&self) -> updraft_http_adapter::director::DirectorBuilder {
        let api = updraft_http_adapter::director::Director::builder(self.service().clone());
        let size =
            self.projects().next().and_then(|project| project.setting("WORKFLOWS_PER_PAGE")?.trim().parse().ok());
        match size {
            Some(size) => api.per_page(size),
            None => api,
        }
    }

    #[cfg(feature = "director")]
    fn projects(&self) -> impl Iterator<Item = updraft_authoring::director::Project> {
        let inner = &self.inner;
        inner.settings.projects.iter().map(|folder| {
            let functions = Arc::new(crate::director::Functions(inner.workers.clone()));
            let (registry, clock) = (Arc::clone(&inner.registry), Arc::clone(&inner.clock));
            updraft_authoring::director::Project::new(folder, registry, functions, clock)
        })
    }

    /// Where time comes from.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Where ids and randomness come from.
    pub fn ids(&self) -> &IdSource {
        &self.inner.ids
    }

    /// Makes the DAGs known and starts to run them, in the current tokio runtime.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn start(&self) -> Result<Running, StartError> {
        let inner = &self.inner;
        let declared = self.register_dags().await?;
        let (stop, stopped) = watch::channel(None);
        let down = Down::default();
        let mut loops = JoinSet::new();
        if !declared.is_empty() {
            let (storage, clock, stopped) = (Arc::clone(&inner.storage), Arc::clone(&inner.clock), stopped.clone());
            let report = move || {
                crate::declared::report(Arc::clone(&storage), Arc::clone(&clock), declared.clone(), stopped.clone())
            };
            loops.spawn(supervise("DAGs", Arc::clone(&inner.clock), down.clone(), report));
        }
        #[cfg(feature = "yaml")]
        for folders in self.folders() {
            crate::folder::scan(&folders, &inner.service).await?;
            let (clock, service, stopped) = (Arc::clone(&inner.clock), inner.service.clone(), stopped.clone());
            let watch =
                move || crate::folder::watch(folders.clone(), service.clone(), Arc::clone(&clock), stopped.clone());
            loops.spawn(supervise("DAG files", Arc::clone(&inner.clock), down.clone(), watch));
        }
        #[cfg(feature = "director")]
        if !inner.settings.projects.is_empty() {
            let (clock, service, stopped) = (Arc::clone(&inner.clock), inner.service.clone(), stopped.clone());
            let clean =
                move || crate::director::keep_to_retention(service.clone(), Arc::clone(&clock), stopped.clone());
            loops.spawn(supervise("retention", Arc::clone(&inner.clock), down.clone(), clean));
        }
        let updraft = self.clone();
        let schedule = move || {
            let parts = updraft.scheduler_parts();
            let executor = Arc::clone(&parts.executor);
            let mut stopped = stopped.clone();
            let stop = async move {
                match stopped.wait_for(Option::is_some).await {
                    Ok(patience) => patience.unwrap_or_default(),
                    // The handle was dropped: there is nobody to wait for.
                    Err(_) => Duration::ZERO,
                }
            };
            let settings = SchedulerSettings { host: this_host(), ..updraft.inner.settings.scheduler.clone() };
            let work = Scheduler::run(parts, settings, stop);
            async move {
                let result = work.await;
                // What a failed loop left running must be gone before another admits its instances again.
                executor.shutdown(Duration::from_secs(10)).await;
                match result {
                    // To start again would take the runs back, and so on in turn.
                    Err(error @ EngineError::Replaced(_)) => {
                        tracing::error!(%error, "the scheduler ends");
                        Ok(())
                    }
                    result => result,
                }
            }
        };
        loops.spawn(supervise("scheduler", Arc::clone(&inner.clock), down.clone(), schedule));
        let clock = Arc::clone(&inner.clock);
        Ok(Running { loops, stop, status: inner.status.clone(), down, clock })
    }

    /// Makes the DAGs known that were declared in code.
    async fn register_dags(&self) -> Result<Arc<[DagRegistration]>, StartError> {
        for built in &self.inner.dags {
            if let Some(problem) = self.service().unknown_role_of(&built.dag).await? {
                return Err(StartError::Invalid(problem));
            }
        }
        let paused = self.inner.settings.dags_are_paused_at_creation;
        let registrations: Arc<[_]> = self
            .inner
            .dags
            .iter()
            .map(|built| DagRegistration {
                content_hash: content_hash(&built.dag),
                paused_upon_creation: built.dag.is_paused_upon_creation.unwrap_or(paused),
                dag: Arc::clone(&built.dag),
                source: None,
            })
            .collect();
        if !registrations.is_empty() {
            let now = self.inner.storage.now().await?;
            self.inner.storage.register_dags(now, registrations.to_vec()).await?;
        }
        Ok(registrations)
    }

    fn scheduler_parts(&self) -> SchedulerParts {
        let inner = &self.inner;
        let store = StorageTaskStore::new(Arc::clone(&inner.storage), Arc::clone(&inner.clock));
        let executor = LocalExecutor::new(LocalExecutorParts {
            parallelism: inner.settings.parallelism,
            registry: Arc::clone(&inner.registry),
            code: Arc::clone(&inner.code),
            renderer: inner.renderer.clone(),
            store: Arc::new(store.secret_keys(inner.service.settings().secret_keys.clone())),
            logs: Arc::clone(inner.service.logs()),
            sensitive_names: inner.service.settings().sensitive_names.clone(),
            clock: Arc::clone(&inner.clock),
        });
        SchedulerParts {
            storage: Arc::clone(&inner.storage) as _,
            executor: Arc::new(executor),
            runnable: Arc::new(Registered {
                registry: Arc::clone(&inner.registry),
                code: Arc::clone(&inner.code),
                queues: inner.settings.queues.clone(),
            }),
            timetables: Arc::clone(&inner.timetables),
            clock: Arc::clone(&inner.clock),
            ids: inner.ids.clone(),
            status: inner.status.clone(),
        }
    }

    #[cfg(feature = "yaml")]
    fn folders(&self) -> Vec<crate::folder::Folders> {
        let inner = &self.inner;
        let paused = inner.settings.dags_are_paused_at_creation;
        let mut loader = updraft_authoring::Loader::new(Arc::clone(&inner.registry), Arc::clone(&inner.clock))
            .timetables(Arc::clone(&inner.timetables))
            .allow_env(inner.settings.dag_env.iter().cloned());
        for folder in &inner.settings.folders {
            loader = loader.folder(folder);
        }
        let mut watched = Vec::new();
        if !inner.settings.folders.is_empty() {
            watched.push(crate::folder::Folders::new(loader, paused));
        }
        #[cfg(feature = "director")]
        watched.extend(self.projects().map(|project| crate::folder::Folders::new(project, paused)));
        watched
    }
}

/// Where logs are kept if nobody says so.
fn logs_beside(storage: &dyn Storage) -> Arc<dyn LogStore> {
    #[cfg(feature = "postgres")]
    if let Some(postgres) = crate::postgres::storage_of(storage) {
        return Arc::new(postgres.logs());
    }
    let _ = storage;
    Arc::new(MemoryLogs::default())
}

/// What the system says of the machine and the user; nothing where it does not know.
fn this_host() -> Host {
    Host {
        hostname: whoami::hostname().unwrap_or_default(),
        unixname: whoami::username().unwrap_or_default(),
        pid: Some(std::process::id()),
    }
}
