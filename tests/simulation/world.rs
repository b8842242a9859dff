//! A world of DAGs, schedulers and people, on a simulated clock.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use updraft_core::clock::{Clock, SimulatedClock};
use updraft_core::dag::content_hash;
use updraft_core::engine::trigger_rule::{self, Judgement};
use updraft_core::engine::{EngineError, Runnable, Scheduler, SchedulerParts, SchedulerSettings, SchedulerStatus};
use updraft_core::id::{IdSource, InstanceKey, RunId, TaskIx};
use updraft_core::model::*;
use updraft_core::storage::*;
use updraft_storage_memory::MemoryStorage;

use super::dice::Dice;
use super::executor::{SimulatedExecutor, Witness};
use super::storage::Stuttering;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Schedulers die and come back.
    pub crashes: bool,
    /// The storage is slow and sometimes away.
    pub stutters: bool,
    /// People clear, mark, pause, delete and resize.
    pub interventions: bool,
    pub schedulers: usize,
}

type Running = Pin<Box<dyn Future<Output = Result<(), EngineError>>>>;

pub struct World {
    faults: Faults,
    dice: Dice,
    clock: SimulatedClock,
    storage: Arc<MemoryStorage>,
    witness: Arc<Mutex<Witness>>,
    dags: Vec<DagVersion>,
    schedulers: Vec<Option<Running>>,
    runs: u64,
    /// Runs whose failed tasks people marked, so that others could go on.
    helped: BTreeSet<RunId>,
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

/// The memory storage answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the memory storage answers at once")
}

impl World {
    pub fn new(seed: u64, faults: Faults) -> Self {
        let dice = Dice::new(seed);
        let dags = (0..1 + dice.below(4)).map(|i| random_dag(&dice, i)).collect();
        Self::of(dags, dice, faults)
    }

    /// A world of these DAGs.
    pub fn of(dags: Vec<Dag>, dice: Dice, faults: Faults) -> Self {
        let clock = SimulatedClock::new("2024-01-01T00:00:00Z".parse().unwrap());
        let storage = Arc::new(MemoryStorage::new(Arc::new(clock.clone())));
        let witness = Arc::new(Mutex::new(Witness::default()));
        for (name, slots) in [("small", 2), ("wide", 3)] {
            let pool = Pool { id: 0, name: name.into(), slots, description: None, include_deferred: false };
            now(storage.create_pool(pool, None)).unwrap();
            witness.lock().unwrap().pool_slots.insert(name.into(), slots.try_into().unwrap());
        }
        let registrations = dags.into_iter().map(|dag| {
            let dag = Arc::new(dag);
            DagRegistration { content_hash: content_hash(&dag), dag, paused_upon_creation: false, source: None }
        });
        let registrations = registrations.collect();
        let dags = now(storage.register_dags(clock.now(), registrations)).unwrap();
        let schedulers = (0..faults.schedulers).map(|_| None).collect();
        witness.lock().unwrap().knows_past = !faults.interventions;
        Self { faults, dice, clock, storage, witness, dags, schedulers, runs: 0, helped: BTreeSet::new() }
    }

    /// A time with faults, then a time to heal in which all must come to an end. Returns what happened.
    pub fn live(mut self) -> String {
        for _ in 0..40 {
            self.start_missing();
            self.something_happens();
            self.pass(Duration::from_millis(self.dice.below(2000)));
        }
        self.heal();
        let mut patience = 3000;
        let (mut left, mut still) = (u64::MAX, 0);
        loop {
            let total = now(self.storage.dag_runs(&self.unfinished())).unwrap().total;
            if total == 0 {
                break;
            }
            still = if total == left { still + 1 } else { 0 };
            left = total;
            if still == 60 {
                self.help();
                still = 0;
            }
            patience -= 1;
            if patience == 0 {
                self.tell();
            }
            assert!(patience > 0, "runs do not end: {}", self.describe_unfinished());
            self.pass(Duration::from_secs(1));
        }
        self.pass(Duration::from_secs(5));
        self.tell();
        self.check_ends();
        std::mem::take(&mut self.witness.lock().unwrap().log)
    }

    fn unfinished(&self) -> RunQuery {
        RunQuery { states: Some(vec![RunState::Queued, RunState::Running]), ..RunQuery::default() }
    }

    /// Nothing goes on: failures have paused DAGs, or failed tasks hold those of the next runs. People see to it.
    fn help(&mut self) {
        self.witness.lock().unwrap().log.push_str("help\n");
        let pausing = self.dags.iter().filter(|version| version.dag.max_consecutive_failed_dag_runs > 0);
        let ids: Vec<_> = pausing.map(|version| version.dag.dag_id.clone()).collect();
        now(self.storage.set_paused(self.clock.now(), &ids, false, None)).unwrap();
        let only = StateSet::of(&[TaskState::Success, TaskState::Skipped]).complement();
        for run in now(self.storage.dag_runs(&RunQuery::default())).unwrap().items {
            let instances = self.instances(&run);
            // A cleared run stays queued while all runs that may be active wait for it, as in Airflow.
            if run.state != RunState::Running && instances[0].dag.tasks.iter().any(|task| task.depends_on_past) {
                let mark = InstanceAmendment::Mark { state: TaskState::Success, only };
                let instances = instances.iter().map(|instance| (instance.key, mark.clone())).collect();
                let amendment = Amendment { run: run.id, state: None, restarts: false, instances };
                now(self.storage.amend_runs(self.clock.now(), vec![amendment], None)).unwrap();
                self.helped.insert(run.id);
            }
        }
    }

    fn describe_unfinished(&self) -> String {
        let runs = now(self.storage.dag_runs(&self.unfinished())).unwrap();
        let mut text = String::new();
        for run in runs.items {
            let is_paused = now(self.storage.dag(run.dag_id.as_str())).unwrap().is_paused;
            let paused = if is_paused { " (paused)" } else { "" };
            text.push_str(&format!("\n{}{paused} {} owner {:?}:", run.run_id, run.state, run.owner));
            for instance in self.instances(&run) {
                let task = instance.task().unwrap();
                text.push_str(&format!(" {}({})={}", task.task_id, task.pool, instance.state));
            }
        }
        text
    }

    fn instances(&self, run: &DagRun) -> Vec<TaskInstance> {
        let query = TaskInstanceQuery {
            dag_ids: Some([run.dag_id.clone()].into()),
            run_ids: Some([run.run_id.clone()].into()),
            ..TaskInstanceQuery::default()
        };
        now(self.storage.task_instances(&query)).unwrap().items
    }

    /// Shows what happened, if asked to.
    fn tell(&self) {
        if std::env::var_os("SIMULATION_TELL").is_some() {
            eprintln!("{}", self.witness.lock().unwrap_or_else(std::sync::PoisonError::into_inner).log);
        }
    }

    fn start_missing(&mut self) {
        for (i, slot) in self.schedulers.iter_mut().enumerate().filter(|(_, slot)| slot.is_none()) {
            let executor = SimulatedExecutor::new(
                self.clock.clone(),
                self.storage.clone(),
                Arc::clone(&self.witness),
                Dice::new(self.dice.below(u64::MAX)),
            );
            let parts = SchedulerParts {
                storage: Arc::new(Stuttering {
                    inner: self.storage.clone(),
                    clock: self.clock.clone(),
                    dice: Dice::new(self.dice.below(u64::MAX)),
                    stutters: self.faults.stutters,
                }),
                executor: Arc::new(executor),
                runnable: Arc::new(Everything),
                clock: Arc::new(self.clock.clone()),
                ids: IdSource::from_seed(self.dice.below(u64::MAX)),
                status: SchedulerStatus::default(),
            };
            let settings = SchedulerSettings {
                name: format!("scheduler {i}"),
                lease: Duration::from_secs(4),
                claim_limit: 3,
                ..SchedulerSettings::default()
            };
            *slot = Some(Box::pin(Scheduler::run(parts, settings, std::future::pending())));
        }
    }

    fn something_happens(&mut self) {
        match self.dice.below(if self.faults.interventions { 12 } else { 4 }) {
            0..=2 => self.trigger(),
            3 if self.faults.crashes => {
                let i = usize::try_from(self.dice.below(self.schedulers.len() as u64)).unwrap();
                self.schedulers[i] = None;
                self.witness.lock().unwrap().log.push_str("crash\n");
            }
            4 | 5 => self.amend(InstanceAmendment::Clear { retries: 1, only: StateSet::ALL }, Some(RunState::Queued)),
            6 => self.amend(InstanceAmendment::Mark { state: TaskState::Success, only: StateSet::ALL }, None),
            7 => self.amend(InstanceAmendment::Mark { state: TaskState::Failed, only: StateSet::STARTED }, None),
            8 | 9 => {
                let dag = self.dice.pick(&self.dags).dag.dag_id.clone();
                now(self.storage.set_paused(self.clock.now(), &[dag], self.dice.one_in(2), None)).unwrap();
            }
            10 => self.delete(),
            11 => self.resize("small", i32::try_from(self.dice.below(4)).unwrap()),
            _ => {}
        }
    }

    fn trigger(&mut self) {
        self.runs += 1;
        let version = self.dice.pick(&self.dags);
        let date = self.clock.now() + chrono::TimeDelta::microseconds(i64::try_from(self.runs).unwrap());
        let run = NewRun {
            uid: IdSource::from_seed(self.runs).uuid(date),
            dag_version: version.id,
            run_id: format!("{}-{}", version.dag.dag_id, self.runs),
            run_type: *self.dice.pick(&[RunType::Manual, RunType::Manual, RunType::Scheduled]),
            state: RunState::Queued,
            logical_date: date,
            data_interval_start: date,
            data_interval_end: date,
            external_trigger: true,
            conf: serde_json::json!({}),
            note: None,
            audit: None,
        };
        now(self.storage.create_runs(self.clock.now(), vec![run])).unwrap().remove(0).unwrap();
    }

    fn some_run(&self) -> Option<DagRun> {
        let runs = now(self.storage.dag_runs(&RunQuery::default())).unwrap().items;
        (!runs.is_empty()).then(|| self.dice.pick(&runs).clone())
    }

    fn amend(&mut self, amendment: InstanceAmendment, state: Option<RunState>) {
        let Some(run) = self.some_run() else { return };
        let instances = self.instances(&run);
        let chosen: Vec<_> =
            instances.iter().filter(|_| self.dice.one_in(3)).map(|i| (i.key, amendment.clone())).collect();
        self.witness.lock().unwrap().log.push_str(&format!("amend {} {amendment:?} {}\n", run.run_id, chosen.len()));
        let amendment = Amendment { run: run.id, state, restarts: false, instances: chosen };
        now(self.storage.amend_runs(self.clock.now(), vec![amendment], None)).unwrap();
    }

    fn delete(&mut self) {
        if let Some(run) = self.some_run() {
            self.witness.lock().unwrap().log.push_str(&format!("delete {}\n", run.run_id));
            now(self.storage.delete_run(run.id, None)).unwrap();
        }
    }

    fn resize(&mut self, pool: &str, slots: i32) {
        now(self.storage.update_pool(pool, PoolUpdate { slots: Some(slots), ..PoolUpdate::default() }, None)).unwrap();
        // What already runs may be over a smaller pool: only growth is checked until it fits again.
        let most = self.witness.lock().unwrap().pool_slots[pool].max(u32::try_from(slots).unwrap());
        self.witness.lock().unwrap().pool_slots.insert(pool.into(), most);
    }

    fn heal(&mut self) {
        self.start_missing();
        let ids: Vec<_> = self.dags.iter().map(|version| version.dag.dag_id.clone()).collect();
        now(self.storage.set_paused(self.clock.now(), &ids, false, None)).unwrap();
        self.resize("small", 2);
        // Runs whose tasks were cleared after they had ended belong to nobody; people queue them again.
        let runs = now(self.storage.dag_runs(&RunQuery::default())).unwrap().items;
        for run in runs.into_iter().filter(|run| run.state.is_finished()) {
            if self.instances(&run).iter().any(|instance| !instance.state.is_finished()) {
                let amendment =
                    Amendment { run: run.id, state: Some(RunState::Queued), restarts: false, instances: Vec::new() };
                self.helped.insert(run.id);
                now(self.storage.amend_runs(self.clock.now(), vec![amendment], None)).unwrap();
            }
        }
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let end = self.clock.monotonic() + time;
        loop {
            self.settle();
            let next = self.clock.until_next_sleeper().unwrap_or(Duration::MAX);
            let left = end.saturating_sub(self.clock.monotonic());
            if next > left {
                self.clock.advance(left);
                self.settle();
                return;
            }
            self.clock.advance(next);
            // A death between any two steps.
            if self.faults.crashes && self.dice.one_in(3000) {
                self.schedulers[0] = None;
                self.witness.lock().unwrap().log.push_str("crash\n");
                self.start_missing();
            }
        }
    }

    /// Polls the schedulers until none can go on without time.
    fn settle(&mut self) {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut polls = 0;
        while flag.0.swap(false, Ordering::SeqCst) {
            polls += 1;
            assert!(polls < 100_000, "a scheduler spins");
            for slot in &mut self.schedulers {
                let Some(scheduler) = slot else { continue };
                match scheduler.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Pending => {}
                    Poll::Ready(result) => panic!("a scheduler ended: {result:?}"),
                }
            }
        }
    }

    /// Every run ended as the states of its tasks say, and each task as those of its upstreams say.
    fn check_ends(&self) {
        assert!(self.witness.lock().unwrap().running.is_empty());
        for pool in now(self.storage.pools(None, PageRequest::ALL)).unwrap().items {
            assert_eq!(pool.occupied(), 0, "slots of {} leak", pool.pool.name);
        }
        for run in now(self.storage.dag_runs(&RunQuery::default())).unwrap().items {
            let instances = self.instances(&run);
            let states: BTreeMap<InstanceKey, TaskState> = instances.iter().map(|i| (i.key, i.state)).collect();
            let dag = &instances[0].dag;
            assert_eq!(instances.len(), dag.tasks.len());
            let times_out =
                |timeout| run.end_date.zip(run.start_date).is_some_and(|(end, start)| end - start >= timeout);
            let timeout = dag.dagrun_timeout.map(|timeout| chrono::TimeDelta::from_std(timeout).unwrap());
            let has_timed_out = run.state == RunState::Failed && timeout.is_some_and(times_out);
            for instance in &instances {
                assert!(
                    instance.state.is_finished() || has_timed_out && instance.state == TaskState::None,
                    "{} {}: {} {}",
                    run.run_id,
                    run.state,
                    instance.task().unwrap().task_id,
                    instance.state
                );
            }
            let has_stopped = dag.fail_stop && states.values().any(|state| *state == TaskState::Failed);
            let is_cut = has_timed_out || has_stopped || self.helped.contains(&run.id);
            if self.faults.interventions || self.faults.crashes || is_cut {
                continue;
            }
            let mut leaves_failed = false;
            let downstream = dag.downstream();
            for (ix, task) in dag.tasks() {
                let state = states[&InstanceKey::unmapped(ix)];
                let mut ended = trigger_rule::Ended::default();
                task.upstream.iter().for_each(|&up| ended.add(states[&InstanceKey::unmapped(up)]));
                let count = u32::try_from(task.upstream.len()).unwrap();
                match trigger_rule::judge(task.trigger_rule, count, &ended, Default::default()) {
                    Judgement::Settle(judged) => {
                        // all_success skips or fails by whichever comes first, as Airflow does.
                        let either = task.trigger_rule == TriggerRule::AllSuccess && ended.skipped > 0;
                        assert!(state == judged || either, "{} {}: {state}, not {judged}", run.run_id, task.task_id);
                    }
                    Judgement::Run => assert_eq!(state, self.expected(dag, ix), "{} {}", run.run_id, task.task_id),
                    Judgement::Wait => panic!("{} {} never was decided", run.run_id, task.task_id),
                }
                leaves_failed |= downstream[ix.index()].is_empty() && state.is_failure();
            }
            assert_eq!(run.state == RunState::Failed, leaves_failed, "{}", run.run_id);
        }
    }

    /// How a task ends that may start.
    fn expected(&self, dag: &Dag, ix: TaskIx) -> TaskState {
        let task = dag.task(ix).unwrap();
        match task.arguments.get("then").and_then(|then| then.as_str()) {
            _ if task.is_empty => TaskState::Success,
            Some("fail") => TaskState::Failed,
            Some("fail once") if task.retries == 0 => TaskState::Failed,
            Some("skip") => TaskState::Skipped,
            _ => TaskState::Success,
        }
    }
}

fn random_dag(dice: &Dice, number: u64) -> Dag {
    let mut dag = Dag::new(format!("dag{number}"));
    dag.max_active_runs = 1 + u32::try_from(dice.below(3)).unwrap();
    dag.max_active_tasks = 1 + u32::try_from(dice.below(5)).unwrap();
    dag.catchup = dice.one_in(2);
    dag.dagrun_timeout = dice.one_in(4).then(|| Duration::from_secs(2 + dice.below(8)));
    dag.fail_stop = dice.one_in(6);
    dag.max_consecutive_failed_dag_runs = if dice.one_in(6) { 2 } else { 0 };
    let depends_on_past = dice.one_in(3);
    let count = 1 + dice.below(12);
    for i in 0..count {
        let mut task = Task::new(format!("t{i}"), OperatorRef::from_path("simulated"));
        task.upstream = (0..i).filter(|_| dice.one_in(3)).map(|up| TaskIx(up.try_into().unwrap())).collect();
        task.wait_for_downstream = depends_on_past && dice.one_in(4);
        task.depends_on_past = depends_on_past && dice.one_in(2) || task.wait_for_downstream;
        task.trigger_rule =
            if dice.one_in(3) && !dag.fail_stop { *dice.pick(&TriggerRule::ALL) } else { TriggerRule::AllSuccess };
        task.is_empty = dice.one_in(8);
        task.retries = u32::try_from(dice.below(3)).unwrap();
        task.retry_delay = Duration::from_secs(dice.below(4));
        task.pool = (*dice.pick(&["default_pool", "default_pool", "small", "wide"])).into();
        task.pool_slots = if task.pool == "wide" { 1 + u32::try_from(dice.below(3)).unwrap() } else { 1 };
        task.effective_priority = i32::try_from(dice.below(5)).unwrap();
        task.max_active_tis_per_dag = dice.one_in(5).then_some(1);
        task.max_active_tis_per_dagrun = dice.one_in(5).then_some(1);
        let then = *dice.pick(&["succeed", "succeed", "fail", "fail once", "skip"]);
        task.arguments.insert("then".into(), then.into());
        dag.tasks.push(task);
    }
    dag
}
