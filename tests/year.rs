//! A simulated year of a hundred schedules in ten zones: two schedulers, of which one dies every week, and every run that
//! there must be, once.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "this is a test")]

mod simulation {
    pub mod dice;
    pub mod executor;
}

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use updraft::MemoryStorage;
use updraft::clock::{Clock, SimulatedClock};
use updraft::dag::content_hash;
use updraft::engine::{EngineError, Runnable, Scheduler, SchedulerParts, SchedulerSettings, SchedulerStatus};
use updraft::id::IdSource;
use updraft::model::{Dag, DagRun, DagVersion, DataInterval, OperatorRef, RunState, RunType, Schedule, Task};
use updraft::schedule::{Restriction, Timetables};
use updraft::storage::{DagRegistration, DagStorage, RunQuery, RunStorage};

use simulation::dice::Dice;
use simulation::executor::{SimulatedExecutor, Witness};

const ZONES: [&str; 10] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Asia/Tehran",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Pacific/Apia",
];

const CRONS: [&str; 7] =
    ["@daily", "30 2 * * *", "0 */6 * * *", "15 1 * * mon-fri", "@weekly", "0 0 L * *", "*/20 1-3 * * 0"];

const HOUR: i64 = 3_600_000_000;

fn schedules() -> Vec<Schedule> {
    let cron = |expression: &str| Schedule::Cron { expression: expression.into() };
    let mut schedules: Vec<_> = CRONS.iter().map(|expression| cron(expression)).collect();
    schedules.push(cron("@hourly"));
    schedules.push(Schedule::TimeDelta { microseconds: 7 * HOUR });
    schedules.push(Schedule::Timetable {
        class: "airflow.timetables.trigger.CronTriggerTimetable".into(),
        arguments: serde_json::json!({"args": ["10 4 * * *"], "kwargs": {"timezone": "Europe/Paris"}}),
    });
    schedules
}

#[derive(Debug)]
struct Everything;

impl Runnable for Everything {
    fn can_run(&self, _: &DagVersion) -> bool {
        true
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

type Life = Pin<Box<dyn Future<Output = Result<(), EngineError>>>>;

/// The memory storage answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the memory storage answers at once")
}

struct World {
    clock: SimulatedClock,
    storage: Arc<MemoryStorage>,
    witness: Arc<Mutex<Witness>>,
    lives: [Option<Life>; 2],
}

impl World {
    fn start(&mut self, i: usize, seed: u64) {
        let clock = self.clock.clone();
        let witness = Arc::clone(&self.witness);
        let executor = SimulatedExecutor::new(clock.clone(), self.storage.clone(), witness, Dice::new(seed));
        let parts = SchedulerParts {
            storage: self.storage.clone(),
            executor: Arc::new(executor),
            runnable: Arc::new(Everything),
            timetables: Arc::default(),
            clock: Arc::new(clock),
            ids: IdSource::from_seed(seed),
            status: SchedulerStatus::default(),
        };
        // Nobody polls for a year each second.
        let settings = SchedulerSettings {
            name: format!("scheduler {i}"),
            lease: Duration::from_secs(5 * 3600),
            poll_interval: Duration::from_secs(6 * 3600),
            ..SchedulerSettings::default()
        };
        self.lives[i] = Some(Box::pin(Scheduler::run(parts, settings, std::future::pending())));
    }

    /// Lets time pass until a moment, waking the schedulers whenever they want to be woken.
    fn pass_until(&mut self, end: DateTime<Utc>) {
        loop {
            self.settle();
            let left = (end - self.clock.now()).to_std().unwrap_or_default();
            let next = self.clock.until_next_sleeper().unwrap_or(Duration::MAX);
            self.clock.advance(next.min(left));
            if next > left {
                return self.settle();
            }
        }
    }

    fn settle(&mut self) {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut polls = 0;
        while flag.0.swap(false, Ordering::SeqCst) {
            polls += 1;
            assert!(polls < 100_000, "a scheduler spins");
            for life in self.lives.iter_mut().flatten() {
                if let Poll::Ready(result) = life.as_mut().poll(&mut Context::from_waker(&waker)) {
                    panic!("a scheduler ended: {result:?}");
                }
            }
        }
    }
}

fn date(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn dag(number: usize, zone: &str, schedule: Schedule) -> Dag {
    let mut dag = Dag::new(format!("dag{number:03}"));
    dag.timezone = zone.into();
    dag.schedule = schedule;
    dag.start_date = Some(date("2024-01-01T00:00:00Z") + TimeDelta::hours(i64::try_from(number % 5).unwrap()));
    dag.catchup = true;
    let mut task = Task::new("t", OperatorRef::from_path("simulated"));
    task.is_empty = true;
    dag.tasks.push(task);
    dag
}

/// The intervals that a schedule has in the time, one after another.
fn expected(dag: &Dag, until: DateTime<Utc>) -> Vec<DataInterval> {
    let timetable = Timetables::default().timetable(&dag.schedule, &dag.timezone).unwrap();
    let restriction = Restriction::of(dag);
    let mut intervals: Vec<DataInterval> = Vec::new();
    while let Some(next) = timetable.next_run(intervals.last().copied(), &restriction, until)
        && next.create_after <= until
    {
        let last = intervals.last();
        assert!(last.is_none_or(|last| last.start < next.data_interval.start), "{dag:?}: {next:?} after {last:?}");
        intervals.push(next.data_interval);
    }
    intervals
}

#[test]
fn a_year_has_its_runs() {
    let start = date("2024-01-01T00:00:00Z");
    let end = date("2025-01-01T00:00:00Z");
    let clock = SimulatedClock::new(start);
    let storage = Arc::new(MemoryStorage::new(Arc::new(clock.clone())));
    let dags: Vec<Dag> = ZONES
        .iter()
        .flat_map(|zone| schedules().into_iter().map(move |schedule| (*zone, schedule)))
        .enumerate()
        .map(|(number, (zone, schedule))| dag(number, zone, schedule))
        .collect();
    assert_eq!(dags.len(), 100);
    let registrations = dags.iter().map(|dag| {
        let dag = Arc::new(dag.clone());
        DagRegistration { content_hash: content_hash(&dag), dag, paused_upon_creation: false, source: None }
    });
    now(storage.register_dags(start, registrations.collect())).unwrap();

    let expected: Vec<_> = dags.iter().map(|dag| expected(dag, end)).collect();
    let mut world = World { clock, storage, witness: Arc::default(), lives: [None, None] };
    world.start(0, 1);
    world.start(1, 2);
    let dice = Dice::new(7);
    for week in 0..52 {
        let crash = start + TimeDelta::weeks(week) + TimeDelta::seconds(i64::try_from(dice.below(7 * 86_400)).unwrap());
        world.pass_until(crash);
        let victim = *dice.pick(&[0, 1]);
        world.lives[victim] = None;
        // Sometimes both are gone for a while.
        let other = dice.one_in(4).then(|| world.lives[1 - victim].take()).flatten();
        world.pass_until(crash + TimeDelta::minutes(i64::try_from(dice.below(600)).unwrap()));
        world.start(victim, 100 + u64::try_from(week).unwrap());
        if other.is_some() {
            world.start(1 - victim, 1000 + u64::try_from(week).unwrap());
        }
    }
    // What is due at the very end is made then.
    world.pass_until(end + TimeDelta::minutes(1));

    let mut runs: BTreeMap<String, Vec<DagRun>> = BTreeMap::new();
    for run in now(world.storage.dag_runs(&RunQuery::default())).unwrap().items {
        runs.entry(run.dag_id.to_string()).or_default().push(run);
    }
    let mut total = 0;
    for (dag, expected) in dags.iter().zip(expected) {
        let found = runs.remove(dag.dag_id.as_str()).unwrap_or_default();
        let intervals: Vec<_> = found
            .iter()
            .map(|run| DataInterval { start: run.data_interval_start, end: run.data_interval_end })
            .collect();
        let differs = intervals.iter().zip(&expected).position(|(found, expected)| found != expected);
        let what = (&dag.schedule, &dag.timezone, differs.map(|at| (intervals[at], expected[at])));
        assert_eq!((intervals.len(), differs), (expected.len(), None), "{} {what:?}", dag.dag_id);
        for run in &found {
            assert_eq!((run.run_type, run.state), (RunType::Scheduled, RunState::Success), "{}", run.run_id);
        }
        total += found.len();
    }
    assert!(runs.is_empty());
    assert!(total > 100_000, "{total} runs");
}
