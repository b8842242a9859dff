//! The scheduler loop.

mod admission;
mod consumers;
mod machines;
mod past_watch;
mod schedules;
mod timeouts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{self, Either, FusedFuture, FutureExt};

use self::admission::Admissions;
use self::consumers::Consumers;
use self::machines::Machines;
use self::schedules::Schedules;
use super::{EngineError, Plan, SchedulerState, SchedulerStatus};
use crate::clock::{Clock, Sleep};
use crate::executor::{Executor, ExecutorEvent};
use crate::id::{DagVersionId, IdSource, InstanceKey, RunId};
use crate::model::{DagVersion, Host, TaskEventLog};
use crate::operator::CancelReason;
use crate::schedule::Timetables;
use crate::storage::{Batch, RunSnapshot, SchedulerSession, SchedulerStorage, StorageError, Transition, Verdict};

/// Which versions of DAGs a scheduler can run.
pub trait Runnable: Send + Sync + Debug {
    /// Whether every task of the version can run here: its operators are known by name, or the same code is registered.
    fn can_run(&self, version: &DagVersion) -> bool;
}

/// What a scheduler is made of.
#[derive(Debug, Clone)]
pub struct SchedulerParts {
    /// Where state is.
    pub storage: Arc<dyn SchedulerStorage>,
    /// Who carries out attempts.
    pub executor: Arc<dyn Executor>,
    /// Which DAGs can run here.
    pub runnable: Arc<dyn Runnable>,
    /// What schedules mean.
    pub timetables: Arc<Timetables>,
    /// Timers. The wall clock is the storage's.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: IdSource,
    /// What it shows of itself.
    pub status: SchedulerStatus,
}

/// How a scheduler works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerSettings {
    /// Its name. A scheduler that registers under the name of another replaces it.
    pub name: String,
    /// Where its tries run.
    pub host: Host,
    /// How long it may stay silent before others take its runs.
    pub lease: Duration,
    /// How often it looks for what no announcement told.
    pub poll_interval: Duration,
    /// Most runs that it takes at a time.
    pub claim_limit: usize,
    /// Which transitions of task instances go to the event log.
    pub event_log: TaskEventLog,
    /// How long an instance may wait for room before the storage shows it as scheduled.
    pub show_scheduled_after: Duration,
    /// How long attempts may take to end once a shutdown has told them to.
    pub kill_grace: Duration,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            name: "scheduler".into(),
            host: Host::default(),
            lease: Duration::from_secs(30),
            poll_interval: Duration::from_secs(1),
            claim_limit: 256,
            event_log: TaskEventLog::On,
            show_scheduled_after: Duration::from_secs(1),
            kill_grace: Duration::from_secs(10),
        }
    }
}

/// Claims runs, asks their machines, chooses by priority and limits, writes batches, and hands what is durable to an
/// executor. It is one future that spawns nothing; given the same answers, clock and seed it does the same.
///
/// The loop writes one batch at a time. What happens meanwhile gathers with the executor and makes the next batch, so
/// under load batches grow by themselves, and an idle hop costs one commit.
#[derive(Debug)]
pub struct Scheduler {
    parts: SchedulerParts,
    settings: SchedulerSettings,
    session: SchedulerSession,
    sequence: u64,
    /// Plans of versions that can run here.
    plans: BTreeMap<DagVersionId, Arc<Plan>>,
    consumers: Consumers,
    /// The newest version that was looked at.
    newest_version: Option<DagVersionId>,
    schedules: Schedules,
    machines: Machines,
    admissions: Admissions,
    /// Transitions to be written, in order.
    pending: Vec<Transition>,
    /// The storage's time and when, by the monotonic clock, it was read.
    now: (DateTime<Utc>, Duration),
    may_claim_more: bool,
    /// Whether the answer to a claim was lost, and with it perhaps runs that are ours.
    has_lost_claim: bool,
    /// Until when, in microseconds of monotonic time, nothing is claimed.
    no_claims_until: AtomicU64,
    is_stopping: bool,
}

/// Most admissions of one batch: while the storage writes the next one, the executor works on those before.
const ADMISSIONS_A_BATCH: usize = 1000;

/// Why the loop woke up.
enum Wake {
    Events(Vec<ExecutorEvent>),
    Announcement(u64),
    Time,
    Stop(Duration),
}

/// What the loop goes on waiting for from one round to the next: to begin anew would cost more than a task does.
struct Waits<'a> {
    announcement: Pin<Box<dyn Future<Output = u64> + Send + 'a>>,
    /// Until when.
    sleep: Option<(Duration, Sleep)>,
}

impl Scheduler {
    /// Registers and runs until `stop` ends: then it admits nothing more, waits as long as `stop` said for what runs, tells
    /// the rest to end, records them as failed tries with the reason `shutdown`, and leaves.
    ///
    /// Dropping the future is like a crash: nothing more is written, and the executor's attempts are left to their owner.
    ///
    /// # Errors
    /// The scheduler was replaced, or the storage failed for good. While the storage is unavailable, it waits.
    pub async fn run(
        parts: SchedulerParts,
        settings: SchedulerSettings,
        stop: impl Future<Output = Duration> + Send,
    ) -> Result<(), EngineError> {
        let status = parts.status.clone();
        status.set(SchedulerState::Starting);
        let result = Self::register_and_run(parts, settings, stop).await;
        status.set(SchedulerState::Stopped);
        result
    }

    async fn register_and_run(
        parts: SchedulerParts,
        settings: SchedulerSettings,
        stop: impl Future<Output = Duration> + Send,
    ) -> Result<(), EngineError> {
        let patience = Patience::new(&parts, &settings);
        let register = || parts.storage.register_scheduler(&settings.name, settings.lease, &settings.host);
        let began = parts.clock.monotonic();
        let session = patience.retry(register).await?;
        let no_claims_until = no_claims_until(began, parts.clock.monotonic(), &settings).unwrap_or_default();
        let now = patience.retry(|| parts.storage.now()).await?;
        let now = (now, parts.clock.monotonic());
        parts.status.set(SchedulerState::Healthy);
        parts.status.beat(now.0);
        let heartbeats = heartbeats(parts.clone(), settings.clone(), session.clone());
        let scheduler = Self {
            admissions: Admissions::default(),
            machines: Machines::default(),
            schedules: Schedules::default(),
            sequence: 0,
            plans: BTreeMap::new(),
            consumers: Consumers::default(),
            newest_version: None,
            pending: Vec::new(),
            now,
            may_claim_more: true,
            has_lost_claim: false,
            no_claims_until: AtomicU64::new(no_claims_until),
            is_stopping: false,
            parts,
            settings,
            session,
        };
        let work = std::pin::pin!(scheduler.work(stop));
        let heartbeats = std::pin::pin!(heartbeats);
        match future::select(work, heartbeats).await {
            Either::Left((result, _)) | Either::Right((result, _)) => result,
        }
    }

    async fn work(mut self, stop: impl Future<Output = Duration> + Send) -> Result<(), EngineError> {
        let mut stop = std::pin::pin!(stop.fuse());
        let storage = Arc::clone(&self.parts.storage);
        let mut waits = Waits { announcement: storage.announcement(0), sleep: None };
        let mut deadline = None;
        let mut next_poll = Duration::ZERO;
        let mut poll_now = true;
        loop {
            let monotonic = self.parts.clock.monotonic();
            if let Some(patience) = stop.as_mut().now_or_never() {
                deadline = Some(self.begin_to_stop(patience));
            }
            if deadline.is_some_and(|deadline| monotonic >= deadline) {
                self.parts.executor.shutdown(self.settings.kill_grace).await;
                deadline = None;
            }
            if let Some(seen) = (&mut waits.announcement).now_or_never() {
                waits.announcement = storage.announcement(seen);
                poll_now = true;
            }
            if poll_now || monotonic >= next_poll || self.schedules.are_due(self.now()) {
                self.poll().await?;
                next_poll = monotonic + self.settings.poll_interval;
                poll_now = false;
            } else if self.may_claim_more {
                self.claim().await?;
            }
            self.read_past().await?;
            self.take_events();
            self.fire_timers();
            if self.write().await? || self.may_claim_more {
                continue;
            }
            if self.is_stopping && self.machines.has_no_attempts() {
                break;
            }
            let wake_at = self.next_wake(next_poll).min(deadline.unwrap_or(Duration::MAX));
            match self.wait(stop.as_mut(), &mut waits, wake_at).await {
                Wake::Events(events) => self.apply_events(events),
                Wake::Announcement(seen) => {
                    waits.announcement = storage.announcement(seen);
                    poll_now = true;
                }
                Wake::Time => {}
                Wake::Stop(patience) => deadline = Some(self.begin_to_stop(patience)),
            }
        }
        let patience = Patience::new(&self.parts, &self.settings);
        patience.retry(|| self.parts.storage.unregister_scheduler(&self.session)).await
    }

    /// Admits nothing more from now on. Returns when what runs then is told to end.
    fn begin_to_stop(&mut self, patience: Duration) -> Duration {
        self.is_stopping = true;
        self.may_claim_more = false;
        self.schedules = Schedules::default();
        self.parts.status.set(SchedulerState::Stopping);
        self.parts.clock.monotonic().saturating_add(patience)
    }

    /// Waits for the first thing that happens.
    async fn wait(
        &self,
        mut stop: Pin<&mut impl FusedFuture<Output = Duration>>,
        waits: &mut Waits<'_>,
        wake_at: Duration,
    ) -> Wake {
        let sleep = match waits.sleep.take() {
            Some((until, sleep)) if until == wake_at => sleep,
            _ => self.parts.clock.sleep_until(wake_at),
        };
        let (_, sleep) = waits.sleep.insert((wake_at, sleep));
        let mut events = Vec::new();
        let wake = {
            let mut happened = self.parts.executor.events(&mut events).fuse();
            let mut announcement = (&mut waits.announcement).fuse();
            let mut time = sleep.fuse();
            futures_util::select_biased! {
                () = happened => Wake::Events(Vec::new()),
                seen = announcement => Wake::Announcement(seen),
                patience = stop => Wake::Stop(patience),
                () = time => Wake::Time,
            }
        };
        match wake {
            Wake::Events(_) => Wake::Events(events),
            Wake::Time => {
                waits.sleep = None;
                Wake::Time
            }
            other => other,
        }
    }

    fn take_events(&mut self) {
        let mut events = Vec::new();
        let ready = self.parts.executor.events(&mut events).now_or_never();
        if ready.is_some() {
            self.apply_events(events);
        }
    }

    fn apply_events(&mut self, events: Vec<ExecutorEvent>) {
        if events.is_empty() {
            return;
        }
        let now = self.now();
        let Self { machines, admissions, pending, .. } = self;
        for event in events {
            match event {
                ExecutorEvent::Started { token } => {
                    pending.extend(machines.started(token));
                }
                ExecutorEvent::Ended { token, result } => {
                    machines.end_attempt(token, result, now, admissions, pending);
                }
            }
        }
    }

    /// Looks for versions, changes and runs that are new.
    async fn poll(&mut self) -> Result<(), EngineError> {
        let now = self.retry(|scheduler| scheduler.parts.storage.now()).await?;
        self.now = (now, self.parts.clock.monotonic());
        if self.is_stopping {
            return self.reload_changed().await;
        }
        self.learn_versions().await?;
        self.reload_changed().await?;
        self.machines.look_at_past(self.parts.clock.monotonic());
        if self.admissions.must_know_pools() {
            let pools = self.retry(|scheduler| scheduler.parts.storage.pool_slots()).await?;
            self.admissions.set_pools(&pools);
        }
        self.admissions.unpark_all();
        self.create_scheduled().await?;
        self.create_dataset_runs().await?;
        self.claim().await?;
        // Runs that could not start for lack of room are read and tried again.
        let held = self.machines.take_held();
        self.reload(&held).await?;
        self.show_scheduled();
        Ok(())
    }

    /// Creates the runs that schedules want by now.
    async fn create_scheduled(&mut self) -> Result<(), EngineError> {
        const AT_A_TIME: usize = 1000;
        // Enough for a DAG to begin to catch up; what is left follows with the next round of the loop.
        const ROUNDS: usize = 4;
        if self.schedules.is_empty() {
            return Ok(());
        }
        let versions = self.schedules.versions();
        for _ in 0..ROUNDS {
            let now = self.now();
            let found =
                self.retry(|scheduler| scheduler.parts.storage.due_schedules(now, &versions, AT_A_TIME)).await?;
            self.schedules.next_due = found.next_due;
            let ids = &self.parts.ids;
            let steps: Vec<_> = found.due.iter().filter_map(|due| self.schedules.step(due, now, ids)).collect();
            if steps.is_empty() {
                return Ok(());
            }
            let verdicts = self
                .retry(|scheduler| scheduler.parts.storage.advance_schedules(&scheduler.session, now, steps.clone()))
                .await?;
            for (step, verdict) in steps.iter().zip(&verdicts) {
                self.schedules.act(step, verdict);
            }
        }
        self.schedules.next_due = Some(self.now());
        Ok(())
    }

    /// Takes runs that nobody runs.
    async fn claim(&mut self) -> Result<(), EngineError> {
        self.may_claim_more = false;
        if micros(self.parts.clock.monotonic()) < self.no_claims_until.load(Ordering::Relaxed) {
            return Ok(());
        }
        let versions: Vec<_> = self.plans.keys().copied().collect();
        let limit = self.settings.claim_limit;
        let claimed = match self.parts.storage.claim_runs(&self.session, &versions, limit).await {
            Err(error) if error.is_retryable() => {
                // Not simply repeated: once the storage is back, it may be too early for a claim.
                tracing::warn!(%error, "runs cannot be claimed");
                self.has_lost_claim = true;
                return self.retry(|scheduler| scheduler.parts.storage.now()).await.map(drop);
            }
            result => result.map_err(|error| self.failure(error))?,
        };
        if std::mem::take(&mut self.has_lost_claim) {
            let owned = self.retry(|scheduler| scheduler.parts.storage.owned_runs(&scheduler.session)).await?;
            let given: BTreeSet<_> = claimed.iter().map(|snapshot| snapshot.run.id).collect();
            let is_unknown = |run: &RunId| !self.machines.knows(*run) && !given.contains(run);
            let unknown: Vec<_> = owned.into_iter().filter(is_unknown).collect();
            self.reload(&unknown).await?;
        }
        self.may_claim_more = claimed.len() >= limit;
        for snapshot in claimed {
            self.load(snapshot);
        }
        Ok(())
    }

    async fn learn_versions(&mut self) -> Result<(), EngineError> {
        const AT_A_TIME: usize = 1000;
        loop {
            let after = self.newest_version;
            let versions = self.retry(|scheduler| scheduler.parts.storage.versions_after(after, AT_A_TIME)).await?;
            for version in &versions {
                self.newest_version = Some(version.id);
                if self.parts.runnable.can_run(version) {
                    let plan = Arc::new(Plan::new(version));
                    self.admissions.add_plan(&plan);
                    self.schedules.add_plan(&plan, &self.parts.timetables);
                    self.consumers.add_plan(&plan);
                    self.plans.insert(version.id, plan);
                }
            }
            if versions.len() < AT_A_TIME {
                return Ok(());
            }
        }
    }

    async fn reload_changed(&mut self) -> Result<(), EngineError> {
        let changed = self.retry(|scheduler| scheduler.parts.storage.changed_runs(&scheduler.session)).await?;
        self.reload(&changed).await
    }

    /// Reads runs (sorted) again and builds their machines anew.
    async fn reload(&mut self, runs: &[RunId]) -> Result<(), EngineError> {
        if runs.is_empty() {
            return Ok(());
        }
        let snapshots = self.retry(|scheduler| scheduler.parts.storage.reload_runs(&scheduler.session, runs)).await?;
        for &run in runs {
            self.machines.forget(run, &mut self.pending);
        }
        for snapshot in snapshots {
            self.load(snapshot);
        }
        // What the executor still has of runs that are gone, or that no longer counts, must end.
        for token in self.machines.orphans(runs, &mut self.pending) {
            self.parts.executor.cancel(token, CancelReason::Obsolete);
        }
        self.admissions.sweep(&mut self.machines);
        Ok(())
    }

    fn load(&mut self, snapshot: RunSnapshot) {
        let Some(plan) = self.plans.get(&snapshot.run.dag_version).cloned() else {
            tracing::error!(run = %snapshot.run.run_id, "a claimed run has a version that cannot run here");
            return;
        };
        let now = self.now();
        let Self { machines, admissions, pending, .. } = self;
        for token in machines.load(plan, snapshot, now, admissions, pending) {
            self.parts.executor.cancel(token, CancelReason::Obsolete);
        }
    }

    /// Reads what the runs before have to say for those that depend on them.
    async fn read_past(&mut self) -> Result<(), EngineError> {
        let queries = self.machines.past_queries();
        if queries.is_empty() {
            return Ok(());
        }
        let answers = self.retry(|scheduler| scheduler.parts.storage.previous_runs(&queries)).await?;
        let now = self.now();
        let Self { machines, admissions, pending, .. } = self;
        machines.learn_past(&queries, &answers, now, admissions, pending);
        Ok(())
    }

    fn fire_timers(&mut self) {
        let now = self.now();
        let Self { machines, admissions, pending, .. } = self;
        machines.fire_timers(now, admissions, pending);
    }

    /// Instances that have waited for room for a while are shown as scheduled.
    fn show_scheduled(&mut self) {
        let after = TimeDelta::from_std(self.settings.show_scheduled_after).ok();
        if let Some(before) = after.and_then(|after| self.now().checked_sub_signed(after)) {
            self.machines.show_scheduled(before, &mut self.pending);
        }
    }

    /// Writes what waits, admissions included, and acts on it. Returns whether there was anything to write.
    async fn write(&mut self) -> Result<bool, EngineError> {
        let now = self.now();
        let mut transitions = std::mem::take(&mut self.pending);
        if !self.is_stopping {
            let room = self.parts.executor.room().min(ADMISSIONS_A_BATCH);
            let (ids, phase) = (&self.parts.ids, self.parts.executor.admits_to());
            self.admissions.select(room, &mut self.machines, &mut transitions, |_| (ids.attempt_token(now), phase));
        }
        if transitions.is_empty() {
            return Ok(false);
        }
        self.sequence += 1;
        let batch = Batch {
            session: self.session.clone(),
            lane: 0,
            sequence: self.sequence,
            now,
            event_log: self.settings.event_log,
            transitions,
        };
        let verdicts = self.retry(|scheduler| scheduler.parts.storage.commit(&batch)).await?;
        self.act(batch, verdicts).await?;
        Ok(true)
    }

    /// Acts on the verdicts of a batch.
    async fn act(&mut self, batch: Batch, verdicts: Vec<Verdict>) -> Result<(), EngineError> {
        let Self { machines, admissions, .. } = self;
        let acted = machines.act(batch, verdicts, admissions);
        for token in acted.stopped {
            self.parts.executor.cancel(token, CancelReason::Obsolete);
        }
        self.pending.extend(acted.released);
        if !acted.admitted.is_empty() {
            self.parts.executor.start(acted.admitted);
        }
        self.may_claim_more |= !acted.ended.is_empty() && !self.is_stopping;
        let now = self.now();
        for version in acted.ended {
            self.schedules.run_ended(version, now);
        }
        let stale: Vec<_> = acted.stale.into_iter().collect();
        self.reload(&stale).await
    }

    /// The storage's time.
    fn now(&self) -> DateTime<Utc> {
        let elapsed = self.parts.clock.monotonic().saturating_sub(self.now.1);
        let now = self.now.0 + TimeDelta::from_std(elapsed).unwrap_or(TimeDelta::zero());
        DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
    }

    /// When, by the monotonic clock, something is to be done without anything happening.
    fn next_wake(&self, next_poll: Duration) -> Duration {
        let first = [self.machines.next_timer(), self.schedules.next_due].into_iter().flatten().min();
        let timer = first.map(|due| {
            let wait = (due - self.now()).to_std().unwrap_or(Duration::ZERO);
            // Rounded up: a timer must be due once the loop wakes for it.
            self.parts.clock.monotonic() + wait + Duration::from_micros(1)
        });
        timer.map_or(next_poll, |timer| timer.min(next_poll))
    }

    async fn retry<'a, T, F>(&'a self, call: impl Fn(&'a Self) -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, StorageError>>,
    {
        let began = self.parts.clock.monotonic();
        let result = Patience::new(&self.parts, &self.settings).retry(|| call(self)).await;
        if let Some(until) = no_claims_until(began, self.parts.clock.monotonic(), &self.settings) {
            self.no_claims_until.fetch_max(until, Ordering::Relaxed);
        }
        result
    }

    fn failure(&self, error: StorageError) -> EngineError {
        failure(error, &self.settings)
    }
}

fn failure(error: StorageError, settings: &SchedulerSettings) -> EngineError {
    match error {
        StorageError::Fenced => EngineError::Replaced(settings.name.clone()),
        error => EngineError::Storage(error),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Until when nothing may be claimed after a call that took so long: leases of schedulers that live may have passed while
/// the storage was away, and each of them must have said that it lives before another may take its runs.
fn no_claims_until(began: Duration, ended: Duration, settings: &SchedulerSettings) -> Option<u64> {
    let is_long = ended.saturating_sub(began) > settings.lease / 2;
    is_long.then(|| micros(ended + LONGEST_PAUSE * 2 + settings.lease / 5))
}

/// Tells the storage that the scheduler lives, apart from the loop, so that a long step does not look like death.
async fn heartbeats(
    parts: SchedulerParts,
    settings: SchedulerSettings,
    session: SchedulerSession,
) -> Result<(), EngineError> {
    let patience = Patience::new(&parts, &settings);
    loop {
        parts.clock.sleep(settings.lease / 5).await;
        patience.retry(|| parts.storage.heartbeat(&session)).await?;
        let now = patience.retry(|| parts.storage.now()).await?;
        parts.status.beat(now);
    }
}

/// The longest pause before a call to a storage that was unavailable is repeated.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Repeats a call while the storage is unavailable.
struct Patience<'a> {
    parts: &'a SchedulerParts,
    settings: &'a SchedulerSettings,
}

impl<'a> Patience<'a> {
    fn new(parts: &'a SchedulerParts, settings: &'a SchedulerSettings) -> Self {
        Self { parts, settings }
    }

    async fn retry<T, F>(&self, call: impl Fn() -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, StorageError>>,
    {
        const FIRST: Duration = Duration::from_millis(10);
        let mut pause = FIRST;
        loop {
            match call().await {
                Ok(value) => {
                    if pause > FIRST {
                        self.parts.status.set(SchedulerState::Healthy);
                        tracing::info!("the storage is back");
                    }
                    return Ok(value);
                }
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "the storage is unavailable; trying again");
                    self.parts.status.set(SchedulerState::StorageUnavailable);
                    self.parts.clock.sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(failure(error, self.settings)),
            }
        }
    }
}

/// Names an instance of one of the scheduler's runs.
type Place = (RunId, InstanceKey);
