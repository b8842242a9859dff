//! The engine on the memory storage with tasks that do nothing: real DAGs, real scheduler, real executor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use updraft_core::clock::Clock;
use updraft_core::dag::{BuiltDag, DagBuilder, content_hash};
use updraft_core::engine::{EngineError, Runnable, Scheduler, SchedulerParts, SchedulerSettings, SchedulerStatus};
use updraft_core::executor::{LocalExecutor, LocalExecutorParts};
use updraft_core::id::{DagVersionId, IdSource};
use updraft_core::log::MemoryLogs;
use updraft_core::model::{DEFAULT_POOL, DagVersion, RunState, RunType, TaskState};
use updraft_core::operator::{CodeTasks, Outcome, Registry, StorageTaskStore};
use updraft_core::storage::{
    DagRegistration, DagStorage, NewRun, PoolStorage, PoolUpdate, RunQuery, RunStorage, TaskInstanceQuery,
    TaskInstanceStorage,
};
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
}

impl Witness {
    fn new(tasks: usize, stamp: bool, clock: Arc<dyn Clock>) -> Self {
        let at = if stamp { tasks } else { 0 };
        Self {
            clock,
            ran: (0..tasks).map(|_| AtomicU32::new(0)).collect(),
            at: (0..at).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    fn runs(&self, task: usize) {
        self.ran[task].fetch_add(1, Ordering::Relaxed);
        if let Some(at) = self.at.get(task) {
            let nanos = u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX);
            at.store(nanos, Ordering::Relaxed);
        }
    }

    /// When each task ran last.
    pub fn stamps(&self) -> Vec<Duration> {
        self.at.iter().map(|at| Duration::from_nanos(at.load(Ordering::Relaxed))).collect()
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
        let witness = Arc::new(Witness::new(graph.len(), stamp, clock));
        let dag = DagBuilder::new(format!("{name}-{}", graph.len()).replace([' ', ','], "-"))
            .max_active_runs(LIMIT)
            .max_active_tasks(LIMIT);
        let tasks: Vec<_> = (0..graph.len())
            .map(|task| {
                let witness = Arc::clone(&witness);
                dag.task(&format!("t{task}"), move |_| {
                    witness.runs(task);
                    async { Ok(Outcome::success()) }
                })
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

/// Runs what is registered as code.
#[derive(Debug)]
pub struct Here(pub Arc<CodeTasks>);

impl Runnable for Here {
    fn can_run(&self, version: &DagVersion) -> bool {
        self.0.can_run(&version.dag)
    }
}

/// A scheduler with its storage and executor.
#[derive(Debug)]
pub struct Engine {
    clock: Arc<dyn Clock>,
    storage: Arc<MemoryStorage>,
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
    /// An engine that knows these DAGs and has nothing to do.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(clock: Arc<dyn Clock>, workloads: &[&Workload], pool_slots: u32) -> Self {
        let storage = Arc::new(MemoryStorage::new(Arc::clone(&clock)));
        let slots = PoolUpdate { slots: Some(i32::try_from(pool_slots).unwrap_or(-1)), ..PoolUpdate::default() };
        storage.update_pool(DEFAULT_POOL, slots, None).await.expect("there is a default pool");
        let code = Arc::new(CodeTasks::default());
        for workload in workloads {
            workload.register_code(&code);
        }
        let registrations = workloads.iter().map(|workload| workload.registration()).collect();
        let versions = storage.register_dags(clock.now(), registrations).await.expect("DAGs can be registered");
        let executor = LocalExecutor::new(LocalExecutorParts {
            parallelism: LIMIT as usize,
            registry: Arc::default(),
            code: Arc::clone(&code),
            renderer: None,
            store: Arc::new(StorageTaskStore::new(storage.clone(), clock.clone())),
            logs: Arc::new(MemoryLogs::default()),
            clock: Arc::clone(&clock),
        });
        let status = SchedulerStatus::default();
        let watched = Arc::new(Watched::new(storage.clone()));
        let parts = SchedulerParts {
            storage: watched.clone(),
            executor: Arc::new(executor),
            runnable: Arc::new(Here(code)),
            clock: Arc::clone(&clock),
            ids: IdSource::from_system(),
            status: status.clone(),
        };
        let (stop, stopped) = oneshot::channel();
        let stopped = async { stopped.await.unwrap_or_default() };
        let scheduler = tokio::spawn(Scheduler::run(parts, SchedulerSettings::default(), stopped));
        while status.latest_heartbeat().is_none() {
            clock.sleep(Duration::from_millis(1)).await;
        }
        let versions = versions.iter().map(|version| version.id).collect();
        Self { clock, storage, watched, stop, scheduler, versions, runs: 0 }
    }

    /// Its storage.
    pub fn storage(&self) -> &Arc<MemoryStorage> {
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
            let date = now + chrono::TimeDelta::microseconds(self.runs);
            NewRun {
                dag_version: self.versions[dag],
                run_id: format!("manual__{}", self.runs),
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
        });
        let new = new.collect();
        for run in self.storage.create_runs(now, new).await.expect("the storage is there") {
            run.expect("runs can be created");
        }
    }

    /// Creates the runs of a workload, the DAG with this number, and waits for their end.
    ///
    /// # Panics
    /// If a run did not succeed, or a task did not run exactly once: then nothing would have been measured.
    pub async fn carry_out(&mut self, dag: usize, workload: &Workload) -> Cost {
        workload.reset();
        self.watched.expect(workload.runs);
        let cpu = cpu_time();
        let start = self.clock.monotonic();
        self.create(dag, workload.runs).await;
        let create = self.clock.monotonic() - start;
        self.watched.all_ended().await;
        let total = self.clock.monotonic() - start;
        let cpu = cpu_time().saturating_sub(cpu);
        self.check(workload).await;
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
