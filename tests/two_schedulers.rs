//! Two schedulers share a database: each try runs once, no limit is exceeded, all runs end. What happened is read from
//! marks that the tasks leave themselves, not from the storage.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use updraft::clock::SystemClock;
use updraft::dag::{DagBuilder, chain};
use updraft::model::TriggerRule;
use updraft::operator::{Outcome, TaskContext, TaskError};
use updraft::postgres::{PostgresSettings, PostgresStorage};
use updraft::service::{Actor, NewPool};
use updraft::{TriggerRequest, Updraft};
use updraft_test_postgres::{Cluster, Database};

const RUNS: usize = 500;

const SCHEDULERS: [&str; 2] = ["one", "two"];

/// Slots of each pool.
const POOLS: [(&str, u32); 2] = [("narrow", 3), ("wide", 20)];

/// What the tasks leave, of both schedulers.
#[derive(Debug, Default)]
struct Marks {
    /// Which schedulers made a try, by run, task and number.
    tries: BTreeMap<(String, String, u32), Vec<&'static str>>,
    /// What is taken of each limit.
    taken: BTreeMap<String, u32>,
    /// The most that ever was.
    most: BTreeMap<String, u32>,
    /// Live tasks of the runs that have some.
    runs: BTreeMap<(String, String), u32>,
    wrong: Vec<String>,
}

type Shared = Arc<Mutex<Marks>>;

fn lock(marks: &Shared) -> MutexGuard<'_, Marks> {
    marks.lock().expect("no task panics with the marks")
}

fn ids(cx: &TaskContext) -> (String, String, String) {
    let attempt = cx.attempt();
    (attempt.dag.dag_id.to_string(), attempt.run.run_id.clone(), cx.task().task_id.to_string())
}

/// Name, share and size of each limit that binds a try.
fn limits(cx: &TaskContext) -> Vec<(String, u32, u32)> {
    let (dag, run, id) = ids(cx);
    let task = cx.task();
    let slots = POOLS.iter().find(|(name, _)| *name == task.pool).map_or(128, |(_, slots)| *slots);
    let mut limits = vec![
        (format!("the instance {dag} {run} {id}"), 1, 1),
        (format!("the pool {}", task.pool), task.pool_slots, slots),
        (format!("the tasks of {dag}"), 1, cx.attempt().dag.max_active_tasks),
    ];
    limits.extend(task.max_active_tis_per_dag.map(|most| (format!("the task {dag} {id}"), 1, most)));
    limits.extend(task.max_active_tis_per_dagrun.map(|most| (format!("the task {dag} {run} {id}"), 1, most)));
    limits
}

impl Marks {
    fn begin(&mut self, cx: &TaskContext, scheduler: &'static str) {
        let (dag, run, task) = ids(cx);
        self.tries.entry((run.clone(), task, cx.attempt().try_number)).or_default().push(scheduler);
        for (name, share, size) in limits(cx) {
            let taken = self.taken.entry(name.clone()).or_default();
            *taken += share;
            if *taken > size {
                self.wrong.push(format!("{taken} of {size} of {name}"));
            }
            let most = self.most.entry(name).or_default();
            *most = (*most).max(*taken);
        }
        *self.runs.entry((dag.clone(), run)).or_default() += 1;
        let runs = u32::try_from(self.runs.keys().filter(|(other, _)| *other == dag).count()).expect("few runs");
        let size = cx.attempt().dag.max_active_runs;
        if runs > size {
            self.wrong.push(format!("{runs} of {size} runs of {dag}"));
        }
    }

    fn end(&mut self, cx: &TaskContext) {
        let (dag, run, _) = ids(cx);
        for (name, share, _) in limits(cx) {
            *self.taken.get_mut(&name).expect("it was taken") -= share;
        }
        let left = self.runs.get_mut(&(dag.clone(), run.clone())).expect("it is live");
        *left -= 1;
        if *left == 0 {
            self.runs.remove(&(dag, run));
        }
    }
}

/// Adds tasks that leave marks.
struct Marked<'a> {
    dag: &'a DagBuilder,
    marks: &'a Shared,
    scheduler: &'static str,
}

impl Marked<'_> {
    /// A task that takes a moment, and fails as many tries as it is told.
    fn task(&self, id: &str, failures: u32) -> updraft::dag::TaskHandle {
        let (marks, scheduler) = (Arc::clone(self.marks), self.scheduler);
        let work = move |cx: TaskContext| {
            let marks = Arc::clone(&marks);
            async move {
                lock(&marks).begin(&cx, scheduler);
                cx.clock().sleep(Duration::from_millis(3)).await;
                lock(&marks).end(&cx);
                match cx.attempt().try_number <= failures {
                    true => Err(TaskError::failed("on purpose")),
                    false => Ok(Outcome::success()),
                }
            }
        };
        self.dag.task(id, work).retry_delay(Duration::ZERO)
    }
}

/// How each DAG's runs end, and how many tries each of its tasks takes.
type Expected = BTreeMap<&'static str, (&'static str, BTreeMap<&'static str, u32>)>;

fn expected() -> Expected {
    let parts = ["0", "1", "2", "3", "4", "5", "6", "7"].map(|part| (part, 1));
    BTreeMap::from([
        ("chain", ("success", BTreeMap::from([("a", 1), ("b", 2), ("c", 1), ("d", 3)]))),
        ("fan", ("success", [("first", 1), ("last", 1)].into_iter().chain(parts).collect())),
        ("slots", ("success", BTreeMap::from([("small", 1), ("large", 1), ("both", 1)]))),
        ("breaks", ("failed", BTreeMap::from([("fails", 2), ("works", 1), ("anyway", 1)]))),
    ])
}

fn dags(marks: &Shared, scheduler: &'static str) -> [DagBuilder; 4] {
    let [line, fan, slots, breaks] = ["chain", "fan", "slots", "breaks"].map(DagBuilder::new);
    let line = line.max_active_runs(40).max_active_tasks(12);
    let marked = Marked { dag: &line, marks, scheduler };
    chain([
        &marked.task("a", 0),
        &marked.task("b", 1).retries(1),
        &marked.task("c", 0).max_active_tis_per_dag(2),
        &marked.task("d", 2).retries(2),
    ]);

    let fan = fan.max_active_runs(5).max_active_tasks(17);
    let marked = Marked { dag: &fan, marks, scheduler };
    let (first, last) = (marked.task("first", 0), marked.task("last", 0));
    for part in 0..8 {
        let part = marked.task(&part.to_string(), 0).pool("wide").max_active_tis_per_dagrun(1);
        chain([&first, &part, &last]);
    }

    let slots = slots.max_active_runs(16).max_active_tasks(16);
    let marked = Marked { dag: &slots, marks, scheduler };
    let both = marked.task("both", 0).pool("wide").pool_slots(7);
    both.after([&marked.task("small", 0).pool("narrow"), &marked.task("large", 0).pool("narrow").pool_slots(2)]);

    let breaks = breaks.max_active_runs(3).max_active_tasks(4);
    let marked = Marked { dag: &breaks, marks, scheduler };
    let fails = marked.task("fails", 2).retries(1);
    fails.before([
        &marked.task("never", 0),
        &marked.task("anyway", 0).trigger_rule(TriggerRule::AllDone).pool("narrow"),
    ]);
    marked.task("works", 0);
    [line, fan, slots, breaks]
}

fn orchestrator(database: &Database, marks: &Shared, scheduler: &'static str) -> (Updraft, PostgresStorage) {
    let clock = Arc::new(SystemClock::new());
    let storage = PostgresStorage::new(PostgresSettings::from_options(database.options()), clock.clone());
    let mut builder =
        Updraft::builder().clock(clock).storage(Arc::new(storage.clone())).scheduler_name(scheduler).parallelism(24);
    for dag in dags(marks, scheduler) {
        builder = builder.dag(dag);
    }
    (builder.build().expect("an orchestrator"), storage)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schedulers_share_the_work_and_the_limits() {
    let database = Cluster::shared().await.database().await;
    let marks = Shared::default();
    let both = SCHEDULERS.map(|name| orchestrator(&database, &marks, name));
    for (name, slots) in POOLS {
        let pool = NewPool { name: name.into(), slots: slots.into(), description: None, include_deferred: false };
        both[0].0.service().create_pool(pool, &Actor::default()).await.expect("a pool");
    }
    let mut running = Vec::new();
    for (updraft, _) in &both {
        running.push(updraft.start().await.expect("a start"));
    }

    let expected = expected();
    let mut runs = Vec::new();
    for (index, dag) in (0..RUNS).zip(expected.keys().cycle()) {
        let request = TriggerRequest { run_id: Some(format!("r{index}")), ..TriggerRequest::default() };
        let run = both[index % 2].0.trigger(dag, request).await.expect("a run");
        runs.push((*dag, run.run_id));
    }
    let mut wrong = Vec::new();
    let end = async {
        for (dag, run) in &runs {
            let state = both[0].0.wait_for_run(dag, run).await.expect("the run").state;
            if state.as_str() != expected[dag].0 {
                wrong.push(format!("{run} of {dag} is {state}"));
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(300), end).await.expect("all runs end");
    for running in running {
        assert!(running.health().is_healthy());
        running.shutdown(Duration::from_secs(5)).await;
    }
    for (_, storage) in &both {
        storage.close().await;
    }

    let marks = lock(&marks);
    wrong.extend(marks.wrong.iter().cloned());
    for ((run, task, number), made_by) in &marks.tries {
        if made_by.len() != 1 {
            wrong.push(format!("try {number} of {task} in {run} ran at {made_by:?}"));
        }
    }
    for (dag, run) in &runs {
        let mut tries = BTreeMap::new();
        for (_, task, _) in marks.tries.keys().filter(|(of, ..)| of == run) {
            *tries.entry(task.as_str()).or_default() += 1;
        }
        if tries != expected[dag].1 {
            wrong.push(format!("{run} of {dag} made the tries {tries:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for name in SCHEDULERS {
        assert!(marks.tries.values().flatten().any(|by| *by == name), "the scheduler {name} did nothing");
    }
    // The limits were reached, so that they could have been exceeded.
    let reached = |name: &str| marks.most.get(name).copied().unwrap_or_default();
    assert_eq!(reached("the pool narrow"), 3);
    assert_eq!(reached("the task chain c"), 2);
}
