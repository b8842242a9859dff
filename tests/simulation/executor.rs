//! An executor whose attempts take simulated time, and that bears witness of what ran when.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use updraft_core::clock::{Clock, SimulatedClock};
use updraft_core::engine::trigger_rule::{self, Judgement};
use updraft_core::executor::{Attempt, Executor, ExecutorEvent};
use updraft_core::id::{AttemptToken, InstanceKey, RunId, UNMAPPED};
use updraft_core::model::{AttemptPhase, DagRun, RunType, TaskState};
use updraft_core::operator::{CancelReason, Outcome, TaskError};
use updraft_core::storage::{RunQuery, Storage, TaskInstanceQuery};

use super::dice::Dice;

/// What all executors of a world saw together: independent of the storage's own tables.
#[derive(Debug, Default)]
pub struct Witness {
    /// What runs now, anywhere.
    pub running: BTreeMap<AttemptToken, Attempt>,
    /// Tries that started, by instance.
    pub tries: BTreeMap<(RunId, InstanceKey), Vec<u32>>,
    pub log: String,
    /// Whether nobody clears or deletes what the past of a task says.
    pub knows_past: bool,
    /// Most slots of a pool since the last time that its size was changed.
    pub pool_slots: BTreeMap<String, u32>,
}

impl Witness {
    fn used(&self, pool: &str) -> u32 {
        self.running
            .values()
            .map(|attempt| attempt.task())
            .filter(|task| task.pool == pool)
            .map(|task| task.pool_slots)
            .sum()
    }

    fn start(&mut self, attempt: &Attempt) {
        for other in self.running.values() {
            assert!(
                (other.run.id, other.key) != (attempt.run.id, attempt.key),
                "attempts of one instance overlap: {attempt:?} and {other:?}"
            );
        }
        let tries = self.tries.entry((attempt.run.id, attempt.key)).or_default();
        assert!(tries.last().is_none_or(|last| *last < attempt.try_number), "a try runs once: {tries:?} {attempt:?}");
        tries.push(attempt.try_number);
        self.running.insert(attempt.token, attempt.clone());
        let task = attempt.task();
        let slots = self.pool_slots.get(&task.pool).copied().unwrap_or(128);
        assert!(self.used(&task.pool) <= slots, "the pool {} is over its {slots} slots", task.pool);
        let of_dag = |other: &&Attempt| other.dag.dag_id == attempt.dag.dag_id;
        let active = self.running.values().filter(of_dag).count();
        assert!(active <= attempt.dag.max_active_tasks as usize, "max_active_tasks of {}", attempt.dag.dag_id);
        let of_task = |other: &&Attempt| of_dag(other) && other.key.task == attempt.key.task;
        let instances = self.running.values().filter(of_task).count();
        assert!(task.max_active_tis_per_dag.is_none_or(|most| instances <= most as usize), "max_active_tis_per_dag");
        self.log.push_str(&format!("start {} {} {}\n", attempt.run.run_id, task.task_id, attempt.try_number));
    }
}

/// When an attempt ends, and whether it was told to.
type Until = (Duration, Attempt, Option<CancelReason>);

#[derive(Debug)]
pub struct SimulatedExecutor {
    clock: SimulatedClock,
    storage: Arc<dyn Storage>,
    witness: Arc<Mutex<Witness>>,
    dice: Dice,
    parallelism: usize,
    live: Mutex<BTreeMap<AttemptToken, Until>>,
}

impl SimulatedExecutor {
    pub fn new(clock: SimulatedClock, storage: Arc<dyn Storage>, witness: Arc<Mutex<Witness>>, dice: Dice) -> Self {
        Self { clock, storage, witness, dice, parallelism: 6, live: Mutex::default() }
    }

    /// What the task would do, decided by the attempt alone, so that a crash does not change it.
    pub fn outcome(attempt: &Attempt) -> Result<Outcome, TaskError> {
        match (attempt.task().arguments.get("then").and_then(|then| then.as_str()), attempt.try_number) {
            (Some("fail"), _) | (Some("fail once"), 1) => Err(TaskError::failed("as told")),
            (Some("skip"), _) => Ok(Outcome::Skipped),
            _ => Ok(Outcome::value(attempt.try_number)),
        }
    }

    /// What the storage says at this moment must allow the start.
    fn check_start(&self, attempt: &Attempt) {
        let query = TaskInstanceQuery {
            dag_ids: Some([attempt.dag.dag_id.clone()].into()),
            run_ids: Some([attempt.run.run_id.clone()].into()),
            ..TaskInstanceQuery::default()
        };
        let page = self.storage.task_instances(&query).now_or_never().expect("memory answers at once").unwrap();
        let Some(own) = page.items.iter().find(|instance| instance.key == attempt.key) else {
            // Deleted between the commit and now: it will be told to end.
            return;
        };
        if own.try_number != attempt.try_number || own.state != TaskState::Running {
            // Changed from outside between the commit and now.
            assert!(matches!(
                own.state,
                TaskState::Restarting | TaskState::Success | TaskState::Failed | TaskState::Skipped
            ));
            return;
        }
        let mut ended = trigger_rule::Ended::default();
        for up in &attempt.task().upstream {
            let up = InstanceKey { task: *up, map_index: UNMAPPED };
            ended.add(page.items.iter().find(|instance| instance.key == up).unwrap().state);
        }
        let task = attempt.task();
        let count = u32::try_from(task.upstream.len()).unwrap();
        let judged = trigger_rule::judge(task.trigger_rule, count, &ended, (0, trigger_rule::Ended::default()));
        // An upstream may be cleared in the very moment between the commit and now, which only ever makes the rule wait.
        if page.items.iter().all(|instance| instance.run.version == attempt.run.version) {
            assert_eq!(judged, Judgement::Run, "{} started although {ended:?}", task.task_id);
        }
    }

    /// A task that depends on the past starts only when that has ended well, told from the lists that clients see.
    fn check_past(&self, attempt: &Attempt) {
        let task = attempt.task();
        let query = RunQuery { dag_ids: Some([attempt.dag.dag_id.clone()].into()), ..RunQuery::default() };
        let runs = self.storage.dag_runs(&query).now_or_never().expect("memory answers at once").unwrap().items;
        let is_manual = |run: &DagRun| run.run_type == RunType::Manual;
        let earlier = runs.iter().filter(|run| run.logical_date < attempt.run.logical_date);
        let counted = earlier.filter(|run| !(attempt.dag.catchup && is_manual(run)));
        let Some(before) = counted.max_by_key(|run| run.logical_date) else { return };
        let query = TaskInstanceQuery {
            dag_ids: Some([before.dag_id.clone()].into()),
            run_ids: Some([before.run_id.clone()].into()),
            ..TaskInstanceQuery::default()
        };
        let past = self.storage.task_instances(&query).now_or_never().expect("memory answers at once").unwrap().items;
        for instance in past {
            let is_own = instance.key == attempt.key;
            let is_next = instance.task().is_some_and(|next| next.upstream.contains(&attempt.key.task));
            if is_own || task.wait_for_downstream && is_next {
                let is_good = matches!(instance.state, TaskState::Success | TaskState::Skipped);
                assert!(is_good, "{} {} started too early", attempt.run.run_id, task.task_id);
            }
        }
    }

    fn take_due(&self, events: &mut Vec<ExecutorEvent>) {
        let now = self.clock.monotonic();
        let mut live = self.live.lock().unwrap();
        let mut due: Vec<_> =
            live.iter().filter(|(_, (at, ..))| *at <= now).map(|(token, (at, ..))| (*at, *token)).collect();
        due.sort();
        for (_, token) in due {
            let (_, attempt, cancelled) = live.remove(&token).unwrap();
            let mut witness = self.witness.lock().unwrap();
            witness.running.remove(&token);
            witness.log.push_str(&format!("end {} {} {cancelled:?}\n", attempt.run.run_id, attempt.task().task_id));
            let result = match cancelled {
                Some(reason) => Err(TaskError::Cancelled(reason)),
                None => Self::outcome(&attempt),
            };
            events.push(ExecutorEvent::Ended { token, result });
        }
    }
}

impl Drop for SimulatedExecutor {
    /// The process died, and all that it ran.
    fn drop(&mut self) {
        let mut witness = self.witness.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for token in self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner).keys() {
            witness.running.remove(token);
        }
    }
}

#[async_trait]
impl Executor for SimulatedExecutor {
    fn admits_to(&self) -> AttemptPhase {
        AttemptPhase::Running
    }

    fn room(&self) -> usize {
        self.parallelism - self.live.lock().unwrap().len()
    }

    fn start(&self, attempts: Vec<Attempt>) {
        for attempt in attempts {
            self.check_start(&attempt);
            if attempt.task().depends_on_past && self.witness.lock().unwrap().knows_past {
                self.check_past(&attempt);
            }
            self.witness.lock().unwrap().start(&attempt);
            let until = self.clock.monotonic() + Duration::from_millis(self.dice.below(3000));
            self.live.lock().unwrap().insert(attempt.token, (until, attempt, None));
        }
        assert!(self.live.lock().unwrap().len() <= self.parallelism);
    }

    fn cancel(&self, token: AttemptToken, reason: CancelReason) {
        if let Some((until, _, cancelled)) = self.live.lock().unwrap().get_mut(&token) {
            *until = self.clock.monotonic() + Duration::from_millis(self.dice.below(2000));
            *cancelled = Some(reason);
        }
    }

    async fn events(&self, events: &mut Vec<ExecutorEvent>) {
        loop {
            self.take_due(events);
            if !events.is_empty() {
                return;
            }
            let next = self.live.lock().unwrap().values().map(|(at, ..)| *at).min();
            match next {
                Some(next) => self.clock.sleep_until(next).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn shutdown(&self, grace: Duration) {
        let tokens: Vec<_> = self.live.lock().unwrap().keys().copied().collect();
        for token in tokens {
            self.cancel(token, CancelReason::Shutdown);
        }
        self.clock.sleep(grace).await;
    }
}
