//! Random histories, to compare storages with each other and with themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::json;

use super::Trial;
use super::world::{Scheduler, World, admit, at, clear, dag, end_of, key, mark, pool};
use crate::id::{AttemptToken, DagVersionId, InstanceKey, RunId};
use crate::model::{AttemptPhase, Note, RunState, TaskState};
use crate::operator::SkipDownstream;
use crate::storage::{
    Change, DagQuery, EventLogQuery, PageRequest, PoolUpdate, RunQuery, TaskInstanceQuery, XComQuery,
};

const POOLS: [&str; 3] = ["p", "q", "default_pool"];

struct History {
    world: World,
    rng: ChaCha12Rng,
    schedulers: Vec<Scheduler>,
    dags: Vec<(String, DagVersionId)>,
    live: BTreeMap<AttemptToken, (RunId, u32, AttemptPhase)>,
    text: String,
}

/// Does `steps` random things to an empty storage, and says what became of each and all that can be seen at the end. Two
/// storages that keep the contract say the same for a seed, tokens included; keys of runs may have gaps.
pub async fn random_history(trial: &dyn Trial, seed: u64, steps: usize) -> String {
    let world = World::new(trial);
    let mut schedulers = Vec::new();
    for name in ["one", "two"] {
        schedulers.push(world.scheduler(name).await);
    }
    let mut history = History {
        world,
        rng: ChaCha12Rng::seed_from_u64(seed),
        schedulers,
        dags: Vec::new(),
        live: BTreeMap::new(),
        text: String::new(),
    };
    for index in 0..3 {
        history.register(index).await;
    }
    for step in 0..steps {
        history.step(step).await;
    }
    history.dump().await;
    history.text
}

impl History {
    fn pick(&mut self, n: usize) -> usize {
        self.rng.next_u32() as usize % n.max(1)
    }

    fn say(&mut self, text: impl std::fmt::Debug) {
        writeln!(self.text, "{text:?}").expect("writing to a string never fails");
    }

    async fn register(&mut self, index: usize) {
        let id = format!("dag{index}");
        let count = 2 + self.pick(3);
        let mut declared = dag(&id, &["a", "b", "c", "d", "e"][..count]);
        declared.max_active_runs = 2 + u32::try_from(self.pick(3)).unwrap();
        declared.max_active_tasks = 2 + u32::try_from(self.pick(4)).unwrap();
        for task in &mut declared.tasks {
            task.pool = POOLS[self.pick(3)].into();
            task.pool_slots = 1 + u32::try_from(self.pick(2)).unwrap();
            task.retries = u32::try_from(self.pick(3)).unwrap();
            task.max_active_tis_per_dag = (self.pick(4) == 0).then_some(1);
        }
        let version = self.world.register(declared).await;
        self.dags.retain(|(other, _)| *other != id);
        self.dags.push((id, version));
        self.dags.sort();
    }

    async fn step(&mut self, step: usize) {
        let now = at(i64::try_from(step).unwrap());
        let storage = Arc::clone(&self.world.storage);
        let which = self.pick(2);
        match self.pick(40) {
            0..=4 => {
                let dag = self.pick(self.dags.len());
                let mut new = self.world.new_run(self.dags[dag].1, &format!("r{}", step % 50));
                new.conf = json!({ "step": step });
                let created = storage.create_runs(now, vec![new]).await.unwrap().remove(0);
                self.say(created.map_err(|error| error.to_string()));
            }
            5..=9 => {
                let mut versions: Vec<_> = self.dags.iter().map(|(_, version)| *version).collect();
                versions.sort_unstable();
                let claimed = self.schedulers[which].claim_some(&versions, 3).await;
                self.say(&claimed);
                let starts = claimed.iter().map(|snapshot| (snapshot.run.id, Change::StartRun)).collect();
                let verdicts = self.schedulers[which].commit(now, starts).await;
                self.say(verdicts);
            }
            10..=20 => self.admit(now, which).await,
            21..=28 => self.end(now, which).await,
            29 => {
                let Some(run) = self.any_run(which) else { return };
                let task = u32::try_from(self.pick(5)).unwrap();
                let change = if self.pick(2) == 0 {
                    Change::Schedule(vec![key(task)])
                } else {
                    Change::Settle(
                        key(task),
                        [TaskState::Skipped, TaskState::UpstreamFailed, TaskState::Success][self.pick(3)],
                    )
                };
                let verdict = self.schedulers[which].apply(now, run, change).await;
                self.say(verdict);
                self.reload(which, run).await;
            }
            30 => {
                let Some(run) = self.any_run(which) else { return };
                let state = [RunState::Success, RunState::Failed][self.pick(2)];
                let verdict = self.schedulers[which].apply(now, run, Change::EndRun(state)).await;
                self.say(verdict);
            }
            31..=33 => {
                let Some(run) = self.any_run(which) else { return };
                let mut changes: Vec<(InstanceKey, _)> = Vec::new();
                for task in 0..u32::try_from(1 + self.pick(3)).unwrap() {
                    let retries = u32::try_from(self.pick(3)).unwrap();
                    let marks = [TaskState::Success, TaskState::Failed, TaskState::Skipped];
                    changes
                        .push((key(task), if self.pick(2) == 0 { clear(retries) } else { mark(marks[self.pick(3)]) }));
                }
                let state = [None, None, Some(RunState::Queued), Some(RunState::Failed)][self.pick(4)];
                if storage.reload_runs(&self.schedulers[which].session, &[run]).await.unwrap().is_empty() {
                    return;
                }
                let changed = self.world.amend(now, run, state, changes).await;
                self.say(changed);
                self.reload(which, run).await;
            }
            34 => {
                let dag = self.pick(self.dags.len());
                let is_paused = self.pick(3) == 0;
                storage.set_paused(now, &[self.dags[dag].0.as_str().into()], is_paused, None).await.unwrap();
            }
            35 => {
                let (name, slots) = (POOLS[self.pick(2)], i32::try_from(self.pick(6)).unwrap() - 1);
                if storage.pool(name).await.is_err() {
                    storage.create_pool(pool(name, slots), None).await.unwrap();
                } else if self.pick(5) == 0 {
                    storage.delete_pool(name, None).await.unwrap();
                } else {
                    let update = PoolUpdate { slots: Some(slots), ..PoolUpdate::default() };
                    let usage = storage.update_pool(name, update, None).await.unwrap();
                    self.say(usage);
                }
            }
            36 => {
                let index = self.pick(3);
                self.register(index).await;
            }
            37 => {
                let Some(run) = self.any_run(which) else { return };
                let deleted = self.pick(3) == 0;
                let result = if deleted {
                    storage.delete_run(run, None).await
                } else {
                    let note = Some(Note { content: step.to_string(), user: None });
                    storage.set_task_instance_note(now, run, key(0), note, None).await
                };
                self.say(result.map_err(|error| error.to_string()));
                self.reload(which, run).await;
            }
            38 => {
                let name = ["one", "two"][which];
                self.schedulers[which] = self.world.scheduler(name).await;
            }
            _ => {
                let changed = storage.changed_runs(&self.schedulers[which].session).await.unwrap();
                self.say(&changed);
                for run in changed {
                    self.reload(which, run).await;
                }
            }
        }
    }

    fn any_run(&mut self, which: usize) -> Option<RunId> {
        let runs: Vec<_> = self.schedulers[which].known.keys().copied().collect();
        let picked = self.pick(runs.len());
        runs.get(picked).copied()
    }

    async fn reload(&mut self, which: usize, run: RunId) {
        if self.schedulers[which].reload(run).await.is_none() {
            self.schedulers[which].known.remove(&run);
        }
    }

    async fn admit(&mut self, now: chrono::DateTime<chrono::Utc>, which: usize) {
        let Some(run) = self.any_run(which) else { return };
        let Some(snapshot) = self.schedulers[which].reload(run).await else {
            self.schedulers[which].known.remove(&run);
            return;
        };
        let mut changes = Vec::new();
        for instance in &snapshot.instances {
            let token = self.world.token();
            let phase = [AttemptPhase::Queued, AttemptPhase::Running][self.pick(2)];
            let is_live = snapshot.attempts.iter().any(|attempt| attempt.key == instance.key);
            if is_live || instance.state.is_finished() || self.pick(2) == 0 {
                continue;
            }
            changes.push((run, admit(instance.key.task.0, instance.try_number + 1, token, phase)));
            self.live.insert(token, (run, instance.key.task.0, phase));
        }
        let verdicts = self.schedulers[which].commit(now, changes).await;
        self.say(verdicts);
    }

    async fn end(&mut self, now: chrono::DateTime<chrono::Utc>, which: usize) {
        let tokens: Vec<_> = self.live.keys().copied().collect();
        let picked = self.pick(tokens.len());
        let Some(&token) = tokens.get(picked) else { return };
        let (run, task, phase) = self.live[&token];
        let change = if phase == AttemptPhase::Queued && self.pick(2) == 0 {
            self.live.insert(token, (run, task, AttemptPhase::Running));
            Change::Started(token)
        } else if self.pick(3) == 0 {
            Change::Release(token)
        } else {
            if phase == AttemptPhase::Running {
                let said = self.world.storage.set_xcom(now, token, "k", json!(task)).await;
                self.say(said.map_err(|error| error.to_string()));
            }
            use TaskState as S;
            let state = [S::Success, S::Success, S::Failed, S::Skipped, S::UpForRetry, S::Scheduled][self.pick(6)];
            let mut end = end_of(token, task, state, now);
            end.due_at = (state == S::UpForRetry).then(|| now + chrono::TimeDelta::seconds(60));
            end.value = (state == S::Success && self.pick(2) == 0).then(|| json!([task]));
            if state == S::Success && self.pick(4) == 0 {
                end.skip = SkipDownstream::Follow(vec!["b".into()]);
            }
            Change::Ended(Arc::new(end))
        };
        let verdict = self.schedulers[which].apply(now, run, change).await;
        self.say(verdict);
    }

    async fn dump(&mut self) {
        let storage = Arc::clone(&self.world.storage);
        for dag in storage.dags(&DagQuery::default()).await.unwrap().items {
            self.say((dag.dag_id(), dag.version.id, &dag.version.content_hash, dag.is_paused, dag.is_active));
        }
        for run in storage.dag_runs(&RunQuery::default()).await.unwrap().items {
            self.say(run);
        }
        for instance in storage.task_instances(&TaskInstanceQuery::default()).await.unwrap().items {
            let tries = storage.tries(instance.run.id, instance.key).await.unwrap();
            let dates = (instance.start_date, instance.end_date, instance.queued_when, instance.due_at);
            let counts = (instance.try_number, instance.max_tries, instance.pid);
            let state = (instance.run.id, instance.key, instance.state);
            self.say((state, counts, dates, instance.note, instance.rendered_fields, tries));
        }
        for entry in storage.xcoms(&XComQuery::default()).await.unwrap().items {
            self.say((entry.run.id, entry.task_id, entry.xcom));
        }
        for usage in storage.pools(None, PageRequest::ALL).await.unwrap().items {
            self.say(usage);
        }
        for entry in storage.events(&EventLogQuery::default()).await.unwrap().items {
            self.say(entry);
        }
    }
}
