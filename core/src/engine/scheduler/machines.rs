//! The scheduler's runs and attempts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Place;
use super::admission::{Admissions, Holding};
use super::past_watch::PastWatch;
use super::timeouts::Timeouts;
use crate::engine::ready::Rank;
use crate::engine::run::{Decision, RunMachine};
use crate::engine::{Plan, retry};
use crate::executor::Attempt;
use crate::id::{AttemptToken, DagVersionId, InstanceKey, RunId, TokenMap};
use crate::model::{AttemptPhase, DagRun, RunState, TaskState};
use crate::operator::{Outcome, SkipDownstream, TaskError};
use crate::storage::{Batch, Change, Ended, PastQuery, PreviousRun, RunSnapshot, Transition, Verdict};

/// A run that this scheduler owns.
#[derive(Debug)]
struct Owned {
    machine: RunMachine,
    /// The run's version when it was read.
    version: u64,
    /// Tells this machine's entries in queues and timers from those of earlier machines of the same run.
    generation: u64,
    /// Whether its start is that of the batch that starts it.
    starts_now: bool,
}

/// An attempt that the executor has, or whose end has not been written yet.
#[derive(Debug)]
struct Live {
    place: Place,
    try_number: u32,
    holding: Holding,
    /// It no longer counts: its end only frees what it holds.
    is_obsolete: bool,
    /// How it ended, until that is durable.
    ended: Option<Arc<Ended>>,
}

/// The scheduler's runs and attempts.
#[derive(Debug, Default)]
pub(super) struct Machines {
    runs: BTreeMap<RunId, Owned>,
    /// Only looked up by token, or sorted first.
    attempts: TokenMap<Live>,
    timers: BTreeSet<(DateTime<Utc>, Place, u64)>,
    timeouts: Timeouts,
    past: PastWatch,
    /// Instances that wait for room, by the time since when, for those that the storage does not show as scheduled yet.
    unshown: VecDeque<(DateTime<Utc>, Place, u64)>,
    /// Queued runs that had no room to start.
    held: BTreeSet<RunId>,
    generation: u64,
}

/// What is to be done once a batch is durable.
#[derive(Debug, Default)]
pub(super) struct Acted {
    pub(super) admitted: Vec<Attempt>,
    pub(super) stale: BTreeSet<RunId>,
    pub(super) run_ended: bool,
    /// Attempts that no longer count and must end, sorted.
    pub(super) stopped: Vec<AttemptToken>,
    /// Of attempts that no longer count and have ended already.
    pub(super) released: Vec<Transition>,
}

impl Machines {
    pub(super) fn has_no_attempts(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Whether the run is owned, or waits for room to start.
    pub(super) fn knows(&self, run: RunId) -> bool {
        self.runs.contains_key(&run) || self.held.contains(&run)
    }

    pub(super) fn next_timer(&self) -> Option<DateTime<Utc>> {
        let timer = self.timers.first().map(|(due, ..)| *due);
        timer.into_iter().chain(self.timeouts.next()).min()
    }

    pub(super) fn take_held(&mut self) -> Vec<RunId> {
        std::mem::take(&mut self.held).into_iter().collect()
    }

    /// Builds the machine of a run from what the storage says. Returns attempts that the executor must end.
    pub(super) fn load(
        &mut self,
        plan: Arc<Plan>,
        mut snapshot: RunSnapshot,
        now: DateTime<Utc>,
        admissions: &mut Admissions,
        pending: &mut Vec<Transition>,
    ) -> Vec<AttemptToken> {
        let run_id = snapshot.run.id;
        self.forget(run_id, pending);
        let version = snapshot.run.version;
        let starts = snapshot.run.state == RunState::Queued;
        let mut starts_now = false;
        if starts {
            pending.push(Transition { run: run_id, version, change: Change::StartRun });
            snapshot.run.state = RunState::Running;
            starts_now = snapshot.run.start_date.is_none();
            snapshot.run.start_date = snapshot.run.start_date.or(Some(now));
        }
        let mut to_cancel = Vec::new();
        let mut inherited = Vec::new();
        let mut ended_already = Vec::new();
        for attempt in &snapshot.attempts {
            match self.attempts.get_mut(&attempt.token) {
                Some(live) if attempt.is_obsolete => {
                    live.is_obsolete = true;
                    if live.ended.is_some() {
                        pending.push(Transition { run: run_id, version, change: Change::Release(attempt.token) });
                    } else {
                        to_cancel.push(attempt.token);
                    }
                }
                Some(live) => ended_already.extend(live.ended.clone()),
                // Another scheduler's, or that of an earlier life of this one: nothing runs any more.
                None if attempt.is_obsolete => {
                    pending.push(Transition { run: run_id, version, change: Change::Release(attempt.token) });
                }
                None => inherited.push(attempt.clone()),
            }
        }
        for attempt in snapshot.attempts.iter().filter(|attempt| !attempt.is_obsolete) {
            if let Ok(i) = snapshot.instances.binary_search_by_key(&attempt.key, |instance| instance.key) {
                snapshot.instances[i].state = TaskState::Running;
                snapshot.instances[i].try_number = attempt.try_number;
            }
        }
        let released: BTreeSet<_> = pending
            .iter()
            .filter(|transition| transition.run == run_id)
            .filter_map(|transition| match transition.change {
                Change::Release(token) => Some(token),
                _ => None,
            })
            .collect();
        let mut timers = Vec::new();
        for instance in &mut snapshot.instances {
            match instance.state {
                TaskState::UpForRetry => {
                    let due = instance.due_at.unwrap_or(now);
                    timers.push((due, instance.key));
                }
                TaskState::Restarting => {
                    // It waits for its old attempt; if there is none any more, it starts over at once.
                    let waits = snapshot
                        .attempts
                        .iter()
                        .any(|attempt| attempt.key == instance.key && !released.contains(&attempt.token));
                    if !waits {
                        instance.state = TaskState::None;
                    }
                }
                _ => {}
            }
        }
        self.generation += 1;
        let generation = self.generation;
        let machine = RunMachine::new(plan, Arc::new(snapshot.run), &snapshot.instances);
        // A run that has yet to start counts from then on.
        if !starts {
            self.timeouts.add(&machine);
        }
        if machine.plan().past().is_some() {
            self.past.add(run_id);
        }
        self.runs.insert(run_id, Owned { machine, version, generation, starts_now });
        self.timers.extend(timers.into_iter().map(|(due, key)| (due, (run_id, key), generation)));
        let mut decisions = Vec::new();
        if let Some(owned) = self.runs.get_mut(&run_id) {
            owned.machine.start(&snapshot.skips, &mut decisions);
        }
        self.take_decisions(run_id, decisions, now, admissions, pending);
        for attempt in inherited {
            self.end_inherited(&attempt, now, admissions, pending);
        }
        for ended in ended_already {
            self.apply_end(run_id, ended, now, admissions, pending);
        }
        to_cancel
    }

    /// An attempt of a scheduler that is gone: if it ran, its try has failed; if it waited for a worker, it is given back.
    fn end_inherited(
        &mut self,
        attempt: &crate::model::LiveAttempt,
        now: DateTime<Utc>,
        admissions: &mut Admissions,
        pending: &mut Vec<Transition>,
    ) {
        let run = attempt.run;
        let ended = match attempt.phase {
            AttemptPhase::Queued => Ended {
                token: attempt.token,
                key: attempt.key,
                state: TaskState::Scheduled,
                end_date: now,
                due_at: None,
                value: None,
                skip: SkipDownstream::None,
            },
            AttemptPhase::Running => {
                let lost = Err(TaskError::failed("the scheduler that ran it is gone"));
                match self.runs.get(&run) {
                    Some(owned) => owned.end_of(attempt.token, attempt.key, attempt.try_number, lost, now),
                    None => return,
                }
            }
        };
        self.apply_end(run, Arc::new(ended), now, admissions, pending);
    }

    /// Drops the machine of a run and what it had decided but not written.
    pub(super) fn forget(&mut self, run: RunId, pending: &mut Vec<Transition>) {
        self.past.changed(run);
        if self.remove(run) {
            pending.retain(|transition| transition.run != run || matches!(transition.change, Change::Release(_)));
        }
    }

    fn remove(&mut self, run: RunId) -> bool {
        let removed = self.runs.remove(&run);
        if let Some(owned) = &removed {
            self.timeouts.remove(&owned.machine);
            self.past.remove(run);
        }
        removed.is_some()
    }

    /// What is to be read of the runs before the own ones.
    pub(super) fn past_queries(&mut self) -> Vec<PastQuery> {
        let unread = self.past.take_unread();
        let query = |run| self.runs.get(&run)?.machine.plan().past().map(|past| past.query(run));
        unread.into_iter().filter_map(query).collect()
    }

    /// Has what the past holds read again, if it was not for a while.
    pub(super) fn look_at_past(&mut self, monotonic: Duration) {
        let Self { past, runs, .. } = self;
        past.look_again(monotonic, |run| runs.get(&run).is_some_and(|owned| owned.machine.is_held()));
    }

    pub(super) fn learn_past(
        &mut self,
        queries: &[PastQuery],
        answers: &[Option<PreviousRun>],
        now: DateTime<Utc>,
        admissions: &mut Admissions,
        pending: &mut Vec<Transition>,
    ) {
        for (query, previous) in queries.iter().zip(answers) {
            let run = query.run;
            let Some(owned) = self.runs.get_mut(&run) else { continue };
            let plan = Arc::clone(owned.machine.plan());
            let Some(past) = plan.past() else { continue };
            let mut decisions = Vec::new();
            let holds = past.judge(previous.as_ref()).map(|(ix, hold)| (ix, hold.is_some()));
            owned.machine.learn_past(holds, &mut decisions);
            self.past.learn(run, previous.as_ref().map(|previous| previous.id));
            self.take_decisions(run, decisions, now, admissions, pending);
        }
    }

    /// Attempts of these runs (sorted) that no machine counts on. They no longer count: those that have ended are given
    /// back, the others are returned.
    pub(super) fn orphans(&mut self, runs: &[RunId], pending: &mut Vec<Transition>) -> Vec<AttemptToken> {
        let (mut orphans, mut ended) = (Vec::new(), Vec::new());
        for (&token, live) in &mut self.attempts {
            let (run, key) = live.place;
            if live.is_obsolete || runs.binary_search(&run).is_err() {
                continue;
            }
            let owned = self.runs.get(&run);
            if live.ended.is_none() {
                if owned.is_none_or(|owned| owned.machine.state(key) != Some(TaskState::Running)) {
                    live.is_obsolete = true;
                    orphans.push(token);
                }
            } else if owned.is_none() {
                // The run went away before the end that was decided could be written.
                live.is_obsolete = true;
                ended.push((token, run));
            }
        }
        ended.sort_unstable();
        let release = |(token, run)| Transition { run, version: 0, change: Change::Release(token) };
        pending.extend(ended.into_iter().map(release));
        orphans.sort_unstable();
        orphans
    }

    /// A worker has taken a queued attempt.
    pub(super) fn started(&self, token: AttemptToken) -> Option<Transition> {
        let live = self.attempts.get(&token)?;
        let owned = self.runs.get(&live.place.0)?;
        (!live.is_obsolete).then_some(Transition {
            run: live.place.0,
            version: owned.version,
            change: Change::Started(token),
        })
    }

    /// The executor has ended an attempt.
    pub(super) fn end_attempt(
        &mut self,
        token: AttemptToken,
        result: Result<Outcome, TaskError>,
        now: DateTime<Utc>,
        admissions: &mut Admissions,
        pending: &mut Vec<Transition>,
    ) {
        let Some(live) = self.attempts.get_mut(&token) else { return };
        let (run, key) = live.place;
        let owned = self.runs.get_mut(&run);
        let Some(owned) = owned.filter(|_| !live.is_obsolete) else {
            live.is_obsolete = true;
            pending.push(Transition { run, version: 0, change: Change::Release(token) });
            self.restart(run, key, now, admissions, pending);
            return;
        };
        let ended = Arc::new(owned.end_of(token, key, live.try_number, result, now));
        live.ended = Some(Arc::clone(&ended));
        self.apply_end(run, ended, now, admissions, pending);
    }

    /// The old attempt of a restarting instance has ended.
    fn restart(
        &mut self,
        run: RunId,
        key: InstanceKey,
        now: DateTime<Utc>,
        admissions: &mut Admissions,
        pending: &mut Vec<Transition>,
    ) {
        let mut decisions = Vec::new();
        if let Some(owned) = self.runs.get_mut(&run)
            && owned.machine.state(key) == Some(TaskState::Restarting)
        {
            owned.machine.reopen(key, &mut decisions);
        }
        self.take_decisions(run, decisions, now, admissions, pending);
    }

    /// Takes the end of a current attempt into the machine, and writes it together with what follows from it.
    fn apply_end(
        &mut self,
        run: RunId,
        ended: Arc<Ended>,
        now: DateTime<Utc>,
        admissions: &mut Admissions,
        pending: &mut Vec<Transition>,
    ) {
        let Some(owned) = self.runs.get_mut(&run) else { return };
        if owned.machine.state(ended.key) != Some(TaskState::Running) {
            return;
        }
        let mut decisions = Vec::new();
        if ended.state == TaskState::Scheduled {
            owned.machine.give_back(ended.key, &mut decisions);
        } else {
            owned.machine.end_try(ended.key, ended.state, ended.due_at, &ended.skip, &mut decisions);
        }
        pending.push(Transition { run, version: owned.version, change: Change::Ended(ended) });
        self.take_decisions(run, decisions, now, admissions, pending);
    }

    fn take_decisions(
        &mut self,
        run: RunId,
        decisions: Vec<Decision>,
        now: DateTime<Utc>,
        admissions: &mut Admissions,
        pending: &mut Vec<Transition>,
    ) {
        let Some(owned) = self.runs.get(&run) else { return };
        let (version, generation) = (owned.version, owned.generation);
        for decision in decisions {
            let change = match decision {
                Decision::Ready(key) => {
                    let rank = owned.rank(key, admissions);
                    admissions.push(owned.machine.plan().version(), rank);
                    self.unshown.push_back((now, (run, key), generation));
                    continue;
                }
                Decision::WaitUntil(key, due) => {
                    self.timers.insert((due, (run, key), generation));
                    continue;
                }
                Decision::Settle(key, state) => Change::Settle(key, state),
                Decision::Skip(key) => Change::Skip(key),
                Decision::Stop(stop) => Change::Stop(stop),
                Decision::EndRun(state) => Change::EndRun(state),
                Decision::PauseAfterFailures(most) => Change::PauseAfterFailures(most),
            };
            pending.push(Transition { run, version, change });
        }
    }

    pub(super) fn fire_timers(
        &mut self,
        now: DateTime<Utc>,
        admissions: &mut Admissions,
        pending: &mut Vec<Transition>,
    ) {
        while let Some(run) = self.timeouts.take_due(now) {
            let mut decisions = Vec::new();
            // A run that had no room to start is read again anyway.
            if let Some(owned) = self.runs.get_mut(&run).filter(|_| !self.held.contains(&run)) {
                owned.machine.time_out(&mut decisions);
            }
            self.take_decisions(run, decisions, now, admissions, pending);
        }
        while let Some((due, (run, key), generation)) = self.timers.first().copied() {
            if due > now {
                return;
            }
            self.timers.pop_first();
            let mut decisions = Vec::new();
            if let Some(owned) = self.runs.get_mut(&run).filter(|owned| owned.generation == generation)
                && owned.machine.state(key) == Some(TaskState::UpForRetry)
            {
                owned.machine.reopen(key, &mut decisions);
            }
            self.take_decisions(run, decisions, now, admissions, pending);
        }
    }

    pub(super) fn show_scheduled(&mut self, before: DateTime<Utc>, pending: &mut Vec<Transition>) {
        let mut waiting: BTreeMap<RunId, Vec<InstanceKey>> = BTreeMap::new();
        while self.unshown.front().is_some_and(|(since, ..)| *since <= before) {
            let Some((_, (run, key), generation)) = self.unshown.pop_front() else { break };
            if self.owned(run, generation).is_some_and(|owned| owned.machine.state(key) == Some(TaskState::Scheduled)) {
                waiting.entry(run).or_default().push(key);
            }
        }
        for (run, mut keys) in waiting {
            keys.sort_unstable();
            let version = self.runs[&run].version;
            pending.push(Transition { run, version, change: Change::Schedule(keys) });
        }
    }

    fn owned(&self, run: RunId, generation: u64) -> Option<&Owned> {
        self.runs.get(&run).filter(|owned| owned.generation == generation)
    }

    /// Drops timers of machines that are gone.
    pub(super) fn sweep_timers(&mut self) {
        let Self { runs, timers, .. } = self;
        timers.retain(|(_, (run, _), generation)| runs.get(run).is_some_and(|owned| owned.generation == *generation));
    }

    /// The versions of the DAG and of the run of an instance that still waits for room.
    pub(super) fn waits(&self, rank: &Rank) -> Option<(DagVersionId, u64)> {
        let owned = self.owned(rank.run, rank.generation).filter(|_| !self.held.contains(&rank.run))?;
        (owned.machine.state(rank.key) == Some(TaskState::Scheduled))
            .then(|| (owned.machine.plan().version(), owned.version))
    }

    pub(super) fn admit(&mut self, rank: &Rank) -> Option<u32> {
        self.runs.get_mut(&rank.run)?.machine.admit(rank.key)
    }

    /// Takes in what became of a batch.
    pub(super) fn act(&mut self, batch: Batch, verdicts: Vec<Verdict>, admissions: &mut Admissions) -> Acted {
        let mut acted = Acted::default();
        let mut stopped: BTreeSet<Place> = BTreeSet::new();
        for (transition, verdict) in batch.transitions.into_iter().zip(verdicts) {
            let run = transition.run;
            let moves_on = matches!(
                transition.change,
                Change::Ended(_) | Change::Settle(..) | Change::Skip(_) | Change::Stop(_) | Change::EndRun(_)
            );
            if moves_on && verdict == Verdict::Done {
                self.past.changed(run);
            }
            match (transition.change, verdict) {
                (Change::Admit(admission), Verdict::Done) => {
                    let Some(owned) = self.runs.get_mut(&run) else { continue };
                    owned.machine.run_try(admission.key);
                    let machine = &owned.machine;
                    let Some(holding) = admissions.holding(machine.plan().version(), admission.key, run) else {
                        continue;
                    };
                    let live = Live {
                        place: (run, admission.key),
                        try_number: admission.try_number,
                        holding,
                        is_obsolete: false,
                        ended: None,
                    };
                    self.attempts.insert(admission.token, live);
                    acted.admitted.push(Attempt {
                        token: admission.token,
                        run: Arc::clone(machine.run()),
                        dag: Arc::clone(machine.plan().dag()),
                        key: admission.key,
                        try_number: admission.try_number,
                        max_tries: machine.tries(admission.key).1,
                        queued_when: batch.now,
                    });
                }
                (Change::Admit(admission), Verdict::NoRoom(limit)) => {
                    let Some(owned) = self.runs.get_mut(&run) else { continue };
                    if self.held.contains(&run) {
                        let holding = admissions.holding(owned.machine.plan().version(), admission.key, run);
                        if let Some(holding) = holding {
                            admissions.release(&holding, run);
                        }
                        continue;
                    }
                    owned.machine.refuse(admission.key);
                    let rank = owned.rank(admission.key, admissions);
                    admissions.refuse(owned.machine.plan().version(), rank, limit);
                }
                (Change::Admit(admission), Verdict::StaleRun) => {
                    if let Some(owned) = self.runs.get(&run) {
                        let version = owned.machine.plan().version();
                        if let Some(holding) = admissions.holding(version, admission.key, run) {
                            admissions.release(&holding, run);
                        }
                    }
                    acted.stale.insert(run);
                }
                (Change::Ended(ended), Verdict::Done) => self.close(ended.token, admissions),
                (Change::Release(token), Verdict::Done) => self.close(token, admissions),
                (Change::Stop(stop), Verdict::Done) => drop(stopped.insert((run, stop.key))),
                (Change::EndRun(_), Verdict::Done) => {
                    self.remove(run);
                    acted.run_ended = true;
                }
                (Change::StartRun, Verdict::Done) => {
                    let Some(owned) = self.runs.get_mut(&run) else { continue };
                    if owned.starts_now {
                        let mut started = DagRun::clone(owned.machine.run());
                        started.start_date = Some(batch.now);
                        owned.machine.set_run(Arc::new(started));
                    }
                    self.timeouts.add(&owned.machine);
                }
                (Change::StartRun, Verdict::NoRoom(_)) => {
                    self.held.insert(run);
                }
                (_, Verdict::Done | Verdict::NoRoom(_)) => {}
                (_, Verdict::StaleRun) => {
                    acted.stale.insert(run);
                }
            }
        }
        if !stopped.is_empty() {
            self.stop_attempts(&stopped, &mut acted);
        }
        let mut idle = Vec::new();
        for run in &self.held {
            // A machine with live attempts is kept, so that their ends count; it is read again with the others.
            let is_live = |live: &Live| live.place.0 == *run && !live.is_obsolete;
            if self.runs.contains_key(run) && !self.attempts.values().any(is_live) {
                idle.push(*run);
            }
        }
        for run in idle {
            self.remove(run);
        }
        acted
    }

    /// The attempts of these instances count no longer.
    fn stop_attempts(&mut self, stopped: &BTreeSet<Place>, acted: &mut Acted) {
        let mut ended = Vec::new();
        for (&token, live) in &mut self.attempts {
            if !live.is_obsolete && stopped.contains(&live.place) {
                live.is_obsolete = true;
                match live.ended {
                    // It ended while it was being stopped.
                    Some(_) => ended.push((token, live.place.0)),
                    None => acted.stopped.push(token),
                }
            }
        }
        ended.sort_unstable();
        let release = |(token, run)| Transition { run, version: 0, change: Change::Release(token) };
        acted.released.extend(ended.into_iter().map(release));
        acted.stopped.sort_unstable();
    }

    /// The end of an attempt is durable.
    fn close(&mut self, token: AttemptToken, admissions: &mut Admissions) {
        if let Some(live) = self.attempts.remove(&token) {
            admissions.release(&live.holding, live.place.0);
        }
    }
}

impl Owned {
    fn rank(&self, key: InstanceKey, admissions: &Admissions) -> Rank {
        let run = self.machine.run();
        let date = run.logical_date.timestamp_micros();
        admissions.rank(self.machine.plan().version(), run.id, date, key, self.generation)
    }

    /// What the end of a try means for its instance.
    fn end_of(
        &self,
        token: AttemptToken,
        key: InstanceKey,
        try_number: u32,
        result: Result<Outcome, TaskError>,
        now: DateTime<Utc>,
    ) -> Ended {
        let mut ended = Ended {
            token,
            key,
            state: TaskState::Success,
            end_date: now,
            due_at: None,
            value: None,
            skip: SkipDownstream::None,
        };
        let dag = self.machine.plan().dag();
        let task = &dag.tasks[key.task.index()];
        match result {
            Ok(Outcome::Success { value, skip }) => {
                ended.value = value.filter(|_| task.do_xcom_push);
                ended.skip = skip;
            }
            Ok(Outcome::Skipped) => ended.state = TaskState::Skipped,
            Err(error) => {
                let (_, max_tries) = self.machine.tries(key);
                if error.may_retry() && try_number <= max_tries {
                    let run = self.machine.run();
                    let delay = retry::delay(dag.dag_id.as_str(), task, run.logical_date, try_number);
                    ended.state = TaskState::UpForRetry;
                    // A delay beyond the calendar waits for its last day.
                    let due = chrono::TimeDelta::from_std(delay).ok().and_then(|delay| now.checked_add_signed(delay));
                    ended.due_at = Some(due.unwrap_or(DateTime::<Utc>::MAX_UTC));
                } else {
                    ended.state = TaskState::Failed;
                }
            }
        }
        ended
    }
}
