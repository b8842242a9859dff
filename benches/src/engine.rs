//! The engine with tasks that do nothing: real DAGs, real scheduler, real executor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use updraft_core::clock::Clock;
use updraft_core::dag::{BuiltDag, DagBuilder, content_hash};
use updraft_core::engine::{EngineError, Runnable, Scheduler, SchedulerParts, SchedulerSettings, SchedulerStatus};
use updraft_core::executor::{LocalExecutor, LocalExecutorParts};
use updraft_core::id::{DagVersionId, IdSource};
use updraft_core::log::MemoryLogs;
use updraft_core::mask::SensitiveNames;
use updraft_core::model::{DEFAULT_POOL, DagVersion, RunState, RunType, TaskState};
use updraft_core::operator::{CodeTasks, Outcome, Registry, StorageTaskStore};
use updraft_core::storage::{DagRegistration, NewRun, PoolUpdate, RunQuery, Storage, TaskInstanceQuery};
use updraft_storage_memory::MemoryStorage;

use crate::graph::Graph;
use crate::report::cpu_time;
use crate::watched::Watched;

/// What every limit is set to; each is still checked.
pub const LIMIT: u32 = 10_000;

/// What the tasks of a DAG write down.
#[derive(Debug)]
pub struct Witness {
    clock: Arc<dyn Clock>,
    ran: Vec<AtomicU32>,
    /// When each task ran, in nanoseconds; empty if nobody wants to know.
    at: Vec<AtomicU64>,
    /// Tasks that hold slots of a pool: how many run, and how many did at most.
    running: AtomicU32,
    most_running: AtomicU32,
}

impl Witness {
    fn new(tasks: usize, stamp: bool, clock: Arc<dyn Clock>) -> Self {
        let at = if stamp { tasks } else { 0 };
        Self {
            clock,
            ran: (0..tasks).map(|_| AtomicU32::new(0)).collect(),
            at: (0..at).map(|_| AtomicU64::new(0)).collect(),
            running: AtomicU32::new(0),
            most_running: AtomicU32::new(0),
        }
    }

    fn runs(&self, task: usize) {
        self.ran[task].fetch_add(1, Ordering::Relaxed);
        if let Some(at) = self.at.get(task) {
            let nanos = u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX);
            at.store(nanos, Ordering::Relaxed);
        }
    }

    /// Runs for a moment, so that others can run at the same time.
    async fn runs_a_while(&self, task: usize) {
        let running = self.running.fetch_add(1, Ordering::AcqRel) + 1;
        self.most_running.fetch_max(running, Ordering::AcqRel);
        self.runs(task);
        tokio::task::yield_now().await;
        self.running.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many tasks of a pool ran at the same time at most.
    pub fn most_running(&self) -> u32 {
        self.most_running.load(Ordering::Acquire)
    }

    /// Whether this task has run.
    pub fn has_run(&self, task: usize) -> bool {
        self.ran.get(task).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// When each task ran last.
    pub fn stamps(&self) -> Vec<Duration> {
        self.at.iter().map(|at| Duration::from_nanos(at.load(Ordering::Relaxed))).collect()
    }
}

/// How a workload differs from a DAG that nothing holds back.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether to note when each task ran.
    pub stamp: bool,
    /// Of active runs, and of active tasks.
    pub limit: u32,
    /// Tasks hold a slot of this pool, and have one of three priorities.
    pub pool: Option<&'static str>,
    /// How often a task is tried again, at once.
    pub retries: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { stamp: false, limit: LIMIT, pool: None, retries: 0 }
    }
}

/// A DAG whose tasks only count that they ran.
#[derive(Debug, Clone)]
pub struct Workload {
    /// How it is called, with how many tasks in all.
    pub name: &'static str,
    /// Tasks of a run.
    pub size: usize,
    /// Runs at a time.
    pub runs: usize,
    built: BuiltDag,
    hash: String,
    witness: Arc<Witness>,
}

impl Workload {
    /// A DAG of this shape, of which `runs` run at a time.
    ///
    /// # Panics
    /// If the graph is no DAG.
    pub fn new(name: &'static str, graph: &Graph, runs: usize, stamp: bool, clock: Arc<dyn Clock>) -> Self {
        Self::with(name, graph, runs, Options { stamp, ..Options::default() }, clock)
    }

    /// A DAG of this shape, of which `runs` run at a time.
    ///
    /// # Panics
    /// If the graph is no DAG.
    pub fn with(name: &'static str, graph: &Graph, runs: usize, options: Options, clock: Arc<dyn Clock>) -> Self {
        let witness = Arc::new(Witness::new(graph.len(), options.stamp, clock));
        let dag = DagBuilder::new(format!("{name}-{}", graph.len()).replace([' ', ','], "-"))
            .max_active_runs(options.limit)
            .max_active_tasks(options.limit);
        let tasks: Vec<_> = (0..graph.len())
            .map(|task| {
                let witness = Arc::clone(&witness);
                let id = format!("t{task}");
                let handle = match options.pool {
                    None => dag.task(&id, move |_| {
                        witness.runs(task);
                        async { Ok(Outcome::success()) }
                    }),
                    Some(pool) => {
                        let work = move |_| {
                            let witness = Arc::clone(&witness);
                            async move {
                                witness.runs_a_while(task).await;
                                Ok(Outcome::success())
                            }
                        };
                        dag.task(&id, work).pool(pool).priority_weight(priority(task))
                    }
                };
                if options.retries > 0 { handle.retries(options.retries).retry_delay(Duration::ZERO) } else { handle }
            })
            .collect();
        for (task, upstream) in tasks.iter().zip(&graph.upstream) {
            for &up in upstream {
                task.after(&tasks[up as usize]);
            }
        }
        let built = dag.build(&Registry::default()).expect("the graphs are DAGs");
        let hash = content_hash(&built.dag);
        Self { name, size: graph.len(), runs, built, hash, witness }
    }

    /// Says how to run it.
    pub fn register_code(&self, code: &CodeTasks) {
        code.register(&self.built.dag, self.built.code.clone());
    }

    /// Makes it ready for its next runs.
    pub fn reset(&self) {
        self.witness.ran.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// Checks that every task ran exactly once in each run.
    ///
    /// # Panics
    /// If not: then nothing would have been measured.
    pub fn check(&self) {
        let runs = u32::try_from(self.runs).unwrap_or(u32::MAX);
        let once = self.witness.ran.iter().all(|count| count.load(Ordering::Relaxed) == runs);
        assert!(once, "{}: every task runs once a run", self.name);
    }

    /// What its tasks write down.
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// Tasks of all runs.
    pub fn tasks(&self) -> usize {
        self.size * self.runs
    }

    /// How it is registered.
    pub fn registration(&self) -> DagRegistration {
        DagRegistration {
            dag: Arc::clone(&self.built.dag),
            content_hash: self.hash.clone(),
            paused_upon_creation: false,
            source: None,
        }
    }
}

/// The priority of a task of a pool: 1, 2 or 3.
pub fn priority(task: usize) -> i32 {
    i32::try_from(task % 3).unwrap_or(0) + 1
}

/// Runs what is registered as code.
#[derive(Debug)]
pub struct Here(pub Arc<CodeTasks>);

impl Runnable for Here {
    fn can_run(&self, version: &DagVersion) -> bool {
        self.0.can_run(&version.dag)
    }
}

/// Limits that no DAG declares.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of the default pool.
    pub pool_slots: u32,
    /// Of the executor.
    pub parallelism: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pool_slots: LIMIT, parallelism: LIMIT }
    }
}

/// A run of a version that somebody triggers for this moment.
pub fn new_run(version: DagVersionId, date: DateTime<Utc>) -> NewRun {
    NewRun {
        uid: uuid::Uuid::from_u64_pair(version.0.unsigned_abs(), date.timestamp_micros().unsigned_abs()),
        dag_version: version,
        run_id: format!("manual__{}", date.timestamp_micros()),
        run_type: RunType::Manual,
        state: RunState::Queued,
        logical_date: date,
        data_interval_start: date,
        data_interval_end: date,
        external_trigger: true,
        conf: serde_json::json!({}),
        note: None,
        audit: None,
    }
}

/// A scheduler with its storage and executor.
#[derive(Debug)]
pub struct Engine {
    clock: Arc<dyn Clock>,
    storage: Arc<dyn Storage>,
    watched: Arc<Watched>,
    stop: oneshot::Sender<Duration>,
    scheduler: JoinHandle<Result<(), EngineError>>,
    versions: Vec<DagVersionId>,
    runs: i64,
}

/// What a run cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Creation of the runs and their task instances.
    pub create: Duration,
    /// From the call that creates the runs until the last is seen as ended.
    pub total: Duration,
    /// Processor time of all threads in that time.
    pub cpu: Duration,
}

impl Engine {
    /// An engine on a memory storage that knows these DAGs and has nothing to do.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(clock: Arc<dyn Clock>, workloads: &[&Workload], pool_slots: u32) -> Self {
        let storage = Arc::new(MemoryStorage::new(Arc::clone(&clock)));
        let limits = Limits { pool_slots, ..Limits::default() };
        Self::start_on(storage, clock, workloads, limits, SchedulerSettings::default()).await
    }

    /// An engine on this storage that knows these DAGs and has nothing to do.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start_on(
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        workloads: &[&Workload],
        limits: Limits,
        settings: SchedulerSettings,
    ) -> Self {
        let slots = i32::try_from(limits.pool_slots).unwrap_or(-1);
        let slots = PoolUpdate { slots: Some(slots), ..PoolUpdate::default() };
        storage.update_pool(DEFAULT_POOL, slots, None).await.expect("there is a default pool");
        let code = Arc::new(CodeTasks::default());
        for workload in workloads {
            workload.register_code(&code);
        }
        let registrations = workloads.iter().map(|workload| workload.registration()).collect();
        let versions = storage.register_dags(clock.now(), registrations).await.expect("DAGs can be registered");
        let executor = LocalExecutor::new(LocalExecutorParts {
            parallelism: limits.parallelism as usize,
            registry: Arc::default(),
            code: Arc::clone(&code),
            renderer: None,
            store: Arc::new(StorageTaskStore::new(storage.clone(), clock.clone())),
            logs: Arc::new(MemoryLogs::default()),
            sensitive_names: SensitiveNames::default(),
            clock: Arc::clone(&clock),
        });
        let status = SchedulerStatus::default();
        let watched = Arc::new(Watched::new(storage.clone()));
        let parts = SchedulerParts {
            storage: watched.clone(),
            executor: Arc::new(executor),
            runnable: Arc::new(Here(code)),
            timetables: Arc::default(),
            clock: Arc::clone(&clock),
            ids: IdSource::from_system(),
            status: status.clone(),
        };
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or_default() };
        let scheduler = tokio::spawn(Scheduler::run(parts, settings, stopped));
        while status.latest_heartbeat().is_none() {
            clock.sleep(Duration::from_millis(1)).await;
        }
        let versions = versions.iter().map(|version| version.id).collect();
        Self { clock, storage, watched, stop, scheduler, versions, runs: 0 }
    }

    /// The version of the DAG with this number.
    pub fn version(&self, dag: usize) -> DagVersionId {
        self.versions[dag]
    }

    /// Its storage.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Creates runs of the DAG with this number.
    ///
    /// # Panics
    /// If they cannot be created.
    pub async fn create(&mut self, dag: usize, runs: usize) {
        let now = self.clock.now();
        let new = (0..runs).map(|_| {
            self.runs += 1;
            new_run(self.versions[dag], now + chrono::TimeDelta::microseconds(self.runs))
        });
        let new = new.collect();
        for run in self.storage.create_runs(now, new).await.expect("the storage is there") {
            run.expect("runs can be created");
        }
    }

    /// What its scheduler writes.
    pub fn watched(&self) -> &Watched {
        &self.watched
    }

    /// Creates the runs of a workload, the DAG with this number, and waits for their end.
    ///
    /// # Panics
    /// If a run did not succeed, or a task did not run exactly once: then nothing would have been measured.
    pub async fn carry_out(&mut self, dag: usize, workload: &Workload) -> Cost {
        let cost = self.carry_out_unchecked(dag, workload).await;
        self.check(workload).await;
        cost
    }

    /// As [`Engine::carry_out`]; whether the tasks ran is left to the caller.
    ///
    /// # Panics
    /// If the runs cannot be created.
    pub async fn carry_out_unchecked(&mut self, dag: usize, workload: &Workload) -> Cost {
        workload.reset();
        self.watched.expect(workload.runs);
        let cpu = cpu_time();
        let start = self.clock.monotonic();
        self.create(dag, workload.runs).await;
        let create = self.clock.monotonic() - start;
        self.watched.all_ended().await;
        let total = self.clock.monotonic() - start;
        let cpu = cpu_time().saturating_sub(cpu);
        Cost { create, total, cpu }
    }

    async fn check(&self, workload: &Workload) {
        workload.check();
        let ended = self.storage.dag_runs(&RunQuery::default()).await.expect("the storage is there");
        assert!(ended.items.iter().all(|run| run.state == RunState::Success), "{}: runs succeed", workload.name);
        let newest = ended.items.into_iter().rev().take(workload.runs);
        let query =
            TaskInstanceQuery { run_ids: Some(newest.map(|run| run.run_id).collect()), ..TaskInstanceQuery::default() };
        let instances = self.storage.task_instances(&query).await.expect("the storage is there").items;
        assert_eq!(instances.len(), workload.tasks());
        let once = instances.iter().all(|one| one.state == TaskState::Success && one.try_number == 1);
        assert!(once, "{}: every instance succeeded at its first try", workload.name);
    }

    /// Stops it.
    ///
    /// # Panics
    /// If the scheduler failed.
    pub async fn stop(self) {
        self.stop.send(Duration::ZERO).ok();
        self.scheduler.await.expect("the scheduler does not panic").expect("the scheduler stops cleanly");
    }

    /// Drops everything at once.
    pub fn abort(self) {
        self.scheduler.abort();
    }

    /// Pauses the DAG with this number, or lets it go on.
    ///
    /// # Panics
    /// If the storage is away.
    pub async fn pause(&self, dag: usize, is_paused: bool) {
        let version = self.storage.dag_version(self.versions[dag]).await.expect("the DAG is registered");
        let ids = [version.dag.dag_id.clone()];
        self.storage.set_paused(self.clock.now(), &ids, is_paused, None).await.expect("the storage is there");
    }

    /// Whether all runs are taken up by the scheduler.
    ///
    /// # Panics
    /// If the storage is away.
    pub async fn all_run(&self) -> bool {
        let queued = RunQuery { states: Some(vec![RunState::Queued]), ..RunQuery::default() };
        self.storage.dag_runs(&queued).await.expect("the storage is there").total == 0
    }
}
