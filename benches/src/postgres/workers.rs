//! Several scheduler processes on one database.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use updraft_core::clock::Clock;
use updraft_core::engine::SchedulerSettings;
use updraft_core::model::DEFAULT_POOL;
use updraft_core::storage::{DagStorage, PoolStorage, PoolUpdate, RunStorage};
use updraft_storage_postgres::{PostgresSettings, PostgresStorage};

use super::chain::await_all_ended;
use super::throughput::Case;
use super::{Bench, Figures};
use crate::engine::{Engine, LIMIT, Limits, Options, Workload, new_run};
use crate::graph::Graph;
use crate::report::cpu_time_of;

/// Short, so that the others take over soon.
const LEASE: Duration = Duration::from_secs(5);

/// A killed worker's tries are lost, and tried again at once.
const RETRIES: u32 = 2;

/// What workers know, all of them; the places are those of the engines' DAGs.
fn workloads(clock: &Arc<dyn Clock>) -> [Workload; 2] {
    let options = Options { retries: RETRIES, ..Options::default() };
    let of = |name, graph: Graph| Workload::with(name, &graph, 1, options, Arc::clone(clock));
    [of("flat", Graph::flat(10_000)), of("runs", Graph::chain(3))]
}

/// A worker: a scheduler on the database at this URL, until stdin ends.
///
/// # Panics
/// The storage or the scheduler fails.
pub async fn work(clock: Arc<dyn Clock>, url: &str, name: &str) {
    let settings = PostgresSettings::from_url(url).expect("the database's URL");
    let storage = Arc::new(PostgresStorage::new(settings, Arc::clone(&clock)));
    let workloads = workloads(&clock);
    let scheduler = SchedulerSettings { name: name.into(), lease: LEASE, ..SchedulerSettings::default() };
    let known: Vec<&Workload> = workloads.iter().collect();
    let engine = Engine::start_on(storage.clone(), clock, &known, Limits::default(), scheduler).await;
    // Its end is the end of the parent, or the parent's wish.
    tokio::io::stdin().read_exact(&mut [0]).await.ok();
    engine.stop().await;
    storage.close().await;
}

/// Processes that end with this one.
struct Workers(Vec<Child>);

impl Workers {
    fn spawn(url: &str, count: usize) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let spawn = |number: usize| {
            let mut command = Command::new(&program);
            command.args(["worker", url, &format!("worker-{number}")]).stdin(Stdio::piped()).kill_on_drop(true);
            command.spawn().expect("this program can be started")
        };
        Self((0..count).map(spawn).collect())
    }

    fn cpu_time(&self) -> Duration {
        self.0.iter().filter_map(Child::id).map(|process| cpu_time_of(&process.to_string())).sum()
    }

    async fn stop(mut self) {
        for worker in &mut self.0 {
            drop(worker.stdin.take());
            worker.wait().await.expect("a worker ends");
        }
    }
}

impl Bench {
    pub(super) async fn workers(&mut self, case: &Case, processes: usize, kills: bool) -> Figures {
        let clock = Arc::clone(&self.clock);
        let (ceiling, [commit, _]) = self.ceiling(case).await;
        let database = self.server.database().await;
        let mut watcher = database.connect().await;
        let settings = PostgresSettings::from_options(database.options());
        let storage = PostgresStorage::new(settings, Arc::clone(&clock));
        let slots = PoolUpdate { slots: i32::try_from(LIMIT).ok(), ..PoolUpdate::default() };
        storage.update_pool(DEFAULT_POOL, slots, None).await.expect("there is a default pool");
        let registrations = workloads(&clock).map(|workload| workload.registration());
        let versions = storage.register_dags(clock.now(), registrations.into()).await.expect("DAGs can be registered");
        let version = versions[usize::from(case.shape == "runs")].id;

        let mut workers = Workers::spawn(&database.url(), processes);
        let alive = "SELECT count(*) FROM updraft.heartbeat WHERE alive_until > now()";
        while count(&mut watcher, alive).await < i64::try_from(processes).unwrap_or(0) {
            clock.sleep(Duration::from_millis(10)).await;
        }
        // A warm-up for all of them.
        let mut number = 0;
        let mut create = |runs: usize, version| {
            let now = clock.now();
            let new = (0..runs).map(|_| {
                number += 1;
                new_run(version, now + chrono::TimeDelta::microseconds(number))
            });
            let new = new.collect();
            let storage = &storage;
            async move {
                for run in storage.create_runs(now, new).await.expect("the storage is there") {
                    run.expect("runs can be created");
                }
            }
        };
        create(100, versions[1].id).await;
        await_all_ended(clock.as_ref(), &mut watcher).await;

        let (before, cpu) = (self.server.counts(&mut watcher).await, workers.cpu_time());
        let start = clock.monotonic();
        create(case.runs, version).await;
        let mut recovery = None;
        if kills {
            recovery = Some(kill_owner(clock.as_ref(), &mut watcher, &mut workers).await);
        }
        await_all_ended(clock.as_ref(), &mut watcher).await;
        let ended = clock.monotonic();
        let counts = self.server.counts(&mut watcher).await.since(before);
        let cpu = workers.cpu_time().saturating_sub(cpu);
        workers.stop().await;
        storage.close().await;

        let lost = count(&mut watcher, "SELECT count(*) FROM updraft.task_instance WHERE state <> 4").await
            + count(&mut watcher, "SELECT count(*) FROM updraft.dag_run WHERE state <> 2").await
            + count(&mut watcher, "SELECT count(*) FROM updraft.attempt").await;
        assert_eq!(lost, 0, "every run and instance succeeded, and nothing is live");
        let twice = "SELECT count(*) FROM (SELECT FROM updraft.event_log WHERE event = 'success'
            GROUP BY run, task HAVING count(*) > 1) AS t";
        assert_eq!(count(&mut watcher, twice).await, 0, "every instance succeeded once");
        let again = count(&mut watcher, "SELECT count(*) FROM updraft.task_instance WHERE try_number > 1").await;
        let lost_tries = recovery.map_or(0, |(_, lost)| lost);
        assert!(again <= lost_tries, "{again} tasks were tried again, {lost_tries} tries were lost");

        let tasks = (case.graph.len() * case.runs) as f64;
        let speed = tasks / (ended - start).as_secs_f64();
        let a_task = |time: Duration| time.as_secs_f64() * 1e6 / tasks;
        vec![
            ("tasks/s", speed),
            ("% of ceiling", speed / ceiling * 100.0),
            ("CPU us/task, workers'", a_task(cpu)),
            ("CPU us/task, PostgreSQL's", a_task(counts.cpu)),
            ("transactions/task", counts.transactions as f64 / tasks),
            ("tasks tried again", again as f64),
            ("s from kill to end", recovery.map_or(0.0, |(killed, _)| (ended - killed).as_secs_f64())),
            ("ceiling tasks/s", ceiling),
            ("commit us p50", commit),
        ]
    }
}

/// Kills the owner of a run that is on its way. Returns when, and how many tries it leaves.
async fn kill_owner(clock: &dyn Clock, watcher: &mut PgConnection, workers: &mut Workers) -> (Duration, i64) {
    let owner = "SELECT s.name FROM updraft.dag_run r JOIN updraft.scheduler s ON s.id = r.owner
        WHERE r.state = 1 AND EXISTS (SELECT FROM updraft.attempt a WHERE a.run = r.id) LIMIT 1";
    let name: String = loop {
        let found = sqlx::query_scalar(owner).fetch_optional(&mut *watcher).await.expect("the server answers");
        match found {
            Some(name) => break name,
            None => clock.sleep(Duration::from_millis(1)).await,
        }
    };
    let number: usize = name.trim_start_matches("worker-").parse().expect("workers are numbered");
    workers.0.swap_remove(number).kill().await.expect("a worker can be killed");
    let killed = clock.monotonic();
    // What it had sent may still be written.
    clock.sleep(Duration::from_millis(300)).await;
    let left = sqlx::query_scalar(
        "SELECT count(*) FROM updraft.attempt a JOIN updraft.scheduler s ON s.id = a.scheduler WHERE s.name = $1",
    );
    let left = left.bind(&name).fetch_one(watcher).await.expect("the server answers");
    (killed, left)
}

async fn count(connection: &mut PgConnection, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(connection).await.expect("the server answers")
}
