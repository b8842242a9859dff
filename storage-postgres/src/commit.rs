//! Batches of a scheduler's changes: the hot path.
//!
//! One transaction, a constant number of statements: the fence, the locks of runs and limits and the instances; what the
//! limits hold; what changed. What each change does is decided in memory, one after another, as the contract says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Connection, PgConnection, Row};
use tokio::sync::Mutex;
use updraft_core::id::{AttemptToken, DagId, InstanceKey, RunId, SchedulerId};
use updraft_core::model::{
    AttemptPhase, AuditEntry, Dag, OutletEvent, RETURN_VALUE, RunState, SKIPMIXIN_KEY, TaskEventLog, TaskState,
};
use updraft_core::operator::SkipDownstream;
use updraft_core::storage::{Admission, Batch, Change, Ended, Limit, Result, Stop, StorageError, Transition, Verdict};

use crate::PostgresStorage;
use crate::audit::write_audit;
use crate::code::{int, phase_state, run_state, run_state_code};
use crate::error::{is_collision, is_duplicate, storage_error};
use crate::hint::News;
use crate::image::{Asked, Birth, Event, Holding, Images, Live, Place, decoded};
use crate::outlet::{Update, write_updates};
use crate::room::{Needs, Rooms};
use crate::sql::{Schema, sql};
use crate::verdict::{stored_verdicts, with_stored};
use crate::version::Version;

type LaneKey = (SchedulerId, u32);

/// A lane's connection, which is gone while a batch uses it and after it has failed.
type Slot = Arc<Mutex<Option<PgConnection>>>;

/// Connections of lanes: each has its own order of batches.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<BTreeMap<LaneKey, Slot>>);

impl Lanes {
    async fn slot(&self, key: LaneKey) -> Slot {
        Arc::clone(self.0.lock().await.entry(key).or_default())
    }

    /// Forgets the lanes of a scheduler that has left.
    pub(crate) async fn forget(&self, scheduler: SchedulerId) {
        self.0.lock().await.retain(|(owner, _), _| *owner != scheduler);
    }

    pub(crate) async fn close(&self) {
        self.0.lock().await.clear();
    }
}

/// A run as it was locked.
struct Run {
    version: u64,
    owner: Option<SchedulerId>,
    state: RunState,
    dag_version: Arc<Version>,
    has_started: bool,
    is_changed: bool,
}

impl PostgresStorage {
    pub(crate) async fn commit_batch(&self, batch: &Batch) -> Result<Vec<Verdict>> {
        let slot = self.inner.lanes.slot((batch.session.id, batch.lane)).await;
        let mut slot = slot.lock().await;
        let mut collisions = 0;
        let mut doubts_tokens = false;
        loop {
            // Whoever drops this future leaves the connection in the middle of something: then it is not put back.
            let mut connection = match slot.take() {
                Some(connection) => connection,
                None => self.connect_pinned().await?,
            };
            let result = self.write_batch(&mut connection, batch, doubts_tokens).await;
            match result {
                Ok(verdicts) => {
                    *slot = Some(connection);
                    return Ok(verdicts);
                }
                Err(Failure::Storage(error)) => {
                    // The transaction was rolled back in order, or else the connection is bad and goes.
                    if connection.ping().await.is_ok() {
                        *slot = Some(connection);
                    }
                    return Err(error);
                }
                Err(Failure::Database(error)) if is_collision(&error, collisions) => {
                    collisions += 1;
                    tracing::debug!(%error, "a batch met another transaction; trying again");
                    *slot = Some(connection);
                    self.pause_after_collision(collisions).await;
                }
                // An attempt of the instance or of this name is live already: looked for at the next go only, because it
                // never happens.
                Err(Failure::Database(error)) if is_duplicate(&error) && !doubts_tokens => {
                    doubts_tokens = true;
                    *slot = Some(connection);
                }
                // Whether it was written is found out by the next call for it: the lane knows its last batch.
                Err(Failure::Database(error)) => return Err(storage_error(error)),
            }
        }
    }

    async fn write_batch(
        &self,
        connection: &mut PgConnection,
        batch: &Batch,
        doubts_tokens: bool,
    ) -> Result<Vec<Verdict>, Failure> {
        let writer = self.with_session(&batch.session, |session| (session.host, session.pid));
        let (host, pid) = writer.ok_or(StorageError::Fenced)?;
        let schema = &self.inner.schema;
        let mut transaction = connection.begin().await?;
        let predicted = Needs::of(batch, |run| self.inner.versions.of_run(run));
        let Some(start) = fence(&mut transaction, schema, batch, &predicted, doubts_tokens).await? else {
            if let Some(verdicts) = self.resolve(&mut transaction, batch).await? {
                return Ok(verdicts);
            }
            // The lane is open now.
            transaction.commit().await?;
            return Box::pin(self.write_batch(connection, batch, doubts_tokens)).await;
        };
        let mut step = Step::new(self, &mut transaction, batch, (host, pid), start, &predicted, doubts_tokens).await?;
        let verdicts = step.apply(batch);
        let Step { images, runs, bumped, updates, failing, .. } = step;
        let scheduler = (batch.session.id.0, i64::try_from(batch.session.epoch).unwrap_or(i64::MAX));
        images.write(&mut transaction, schema, batch.now, Some(scheduler)).await?;
        let mut is_news = write_updates(&mut transaction, schema, batch.now, &updates).await?;
        write_runs(&mut transaction, schema, batch.now, &runs).await?;
        let has_paused = write_pauses(&mut transaction, schema, batch.now, &failing).await?;
        let has_bumped = !bumped.is_empty();
        if has_bumped {
            let ids: Vec<i64> = bumped.into_iter().map(|run| run.0).collect();
            sqlx::query(schema.sql(sql!("commit/bump"))).bind(ids).execute(&mut *transaction).await?;
        }
        if let Some(others) = stored_verdicts(&verdicts) {
            sqlx::query(schema.sql(sql!("commit/verdicts")))
                .bind(batch.session.id.0)
                .bind(int(batch.lane))
                .bind(Json(others))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        let ended = || runs.iter().filter(|(_, run)| run.state.is_finished());
        self.inner.versions.forget_runs(ended().map(|(id, _)| *id));
        if ended().any(|(_, run)| run.dag_version.view.dag.schedule.is_timed()) {
            self.inner.hints.note(News::SCHEDULES);
        }
        // There may be room for a run that updates of datasets wait for.
        is_news |= ended().any(|(_, run)| run.dag_version.view.dag.consumed_uris().next().is_some());
        if has_bumped {
            self.announce(News::CHANGES);
        }
        if is_news {
            self.announce(News::DATASETS);
        }
        if has_paused {
            self.announce(News::LIMITS.and(News::RUNS));
        }
        Ok(verdicts)
    }

    /// What became of a batch that the fence did not let through: its verdicts if it was written before, nothing if the
    /// lane had to be opened.
    async fn resolve(&self, connection: &mut PgConnection, batch: &Batch) -> Result<Option<Vec<Verdict>>, Failure> {
        let schema = &self.inner.schema;
        let epoch = i64::try_from(batch.session.epoch).unwrap_or(i64::MAX);
        let lane = sqlx::query(schema.sql(sql!("commit/lane")))
            .bind(batch.session.id.0)
            .bind(int(batch.lane))
            .fetch_optional(&mut *connection)
            .await?;
        let Some(lane) = lane else {
            let opened = sqlx::query(schema.sql(sql!("commit/open_lane")))
                .bind(batch.session.id.0)
                .bind(int(batch.lane))
                .bind(epoch)
                .execute(&mut *connection)
                .await?;
            return if opened.rows_affected() == 1 { Ok(None) } else { Err(StorageError::Fenced.into()) };
        };
        if lane.try_get::<i64, _>(0)? != epoch {
            return Err(StorageError::Fenced.into());
        }
        let last = lane.try_get::<Option<i64>, _>(1)?.unwrap_or(0);
        if u64::try_from(last).is_ok_and(|last| last == batch.sequence) {
            let stored: Option<Json<_>> = lane.try_get(2)?;
            return Ok(Some(with_stored(batch.transitions.len(), stored.map(|json| json.0))?));
        }
        let (sequence, lane) = (batch.sequence, batch.lane);
        Err(StorageError::Invalid(format!("batch {sequence} of lane {lane} does not follow batch {last}")).into())
    }
}

/// What the first statement of a batch reads.
struct Start {
    /// Rows of the locked runs.
    runs: Vec<PgRow>,
    images: Images,
    rooms: Rooms,
}

/// Locks the batch's runs and reads its instances; nothing if the fence did not let the batch through.
async fn fence(
    connection: &mut PgConnection,
    schema: &Schema,
    batch: &Batch,
    predicted: &Needs,
    doubts_tokens: bool,
) -> Result<Option<Start>, sqlx::Error> {
    let ids: BTreeSet<i64> = batch.transitions.iter().map(|transition| transition.run.0).collect();
    let mut asked: BTreeMap<Place, Asked> = BTreeMap::new();
    for transition in &batch.transitions {
        let asks = asks_of(&transition.change, doubts_tokens);
        for place in places_of(transition) {
            let all = asked.entry(place).or_default();
            all.row |= asks.row;
            all.attempt |= asks.attempt;
        }
    }
    let run_if = |wanted: bool, run: RunId| wanted.then_some(run.0);
    let rows = sqlx::query(schema.sql(sql!("commit/fence")))
        .bind(batch.session.id.0)
        .bind(int(batch.lane))
        .bind(i64::try_from(batch.session.epoch).unwrap_or(i64::MAX))
        .bind(i64::try_from(batch.sequence).unwrap_or(i64::MAX))
        .bind(ids.into_iter().collect::<Vec<_>>())
        .bind(asked.keys().map(|(run, _)| run.0).collect::<Vec<_>>())
        .bind(asked.keys().map(|(_, key)| int(key.task.0)).collect::<Vec<_>>())
        .bind(asked.keys().map(|(_, key)| key.map_index).collect::<Vec<_>>())
        .bind(asked.iter().map(|((run, _), asked)| run_if(asked.row, *run)).collect::<Vec<_>>())
        .bind(asked.iter().map(|((run, _), asked)| run_if(asked.attempt, *run)).collect::<Vec<_>>())
        .bind(predicted.dags())
        .bind(predicted.pools())
        .fetch_all(connection)
        .await?;
    let mut is_through = false;
    let mut start = Start { runs: Vec::new(), images: Images::default(), rooms: Rooms::default() };
    for row in rows {
        if row.try_get::<Option<i32>, _>(1)?.is_some() {
            start.images.take_asked(&row, &asked)?;
        } else if row.try_get::<Option<i64>, _>(0)?.is_some() {
            start.runs.push(row);
        } else if !start.rooms.take_limit(&row, [21, 24, 6, 5, 22, 11])? {
            is_through = true;
        }
    }
    Ok(is_through.then_some(start))
}

/// What must be known of an instance for a change. An outcome replaces its row; an admission meets a live attempt when it is
/// written, where that is unique.
fn asks_of(change: &Change, doubts_tokens: bool) -> Asked {
    match change {
        Change::Admit(_) => Asked { row: true, attempt: doubts_tokens },
        Change::Ended(ended) => Asked { row: ended.state == TaskState::Scheduled, attempt: true },
        _ => Asked { row: true, attempt: true },
    }
}

/// The instances that a transition names.
fn places_of(transition: &Transition) -> Vec<Place> {
    let run = transition.run;
    match &transition.change {
        Change::Admit(admission) => vec![(run, admission.key)],
        Change::Ended(ended) => vec![(run, ended.key)],
        Change::Settle(key, _) | Change::Skip(key) => vec![(run, *key)],
        Change::Stop(stop) => vec![(run, stop.key)],
        Change::Schedule(keys) => keys.iter().map(|key| (run, *key)).collect(),
        _ => Vec::new(),
    }
}

/// Either the answer, or the database did not give one.
pub(crate) enum Failure {
    Storage(StorageError),
    Database(sqlx::Error),
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// A batch on its way.
struct Step {
    /// Where its tries run.
    host: i32,
    pid: Option<i32>,
    own: SchedulerId,
    now: DateTime<Utc>,
    event_log: TaskEventLog,
    runs: BTreeMap<RunId, Run>,
    images: Images,
    rooms: Rooms,
    /// Runs of other owners that a release concerns.
    bumped: BTreeSet<RunId>,
    /// Updates of datasets, in the order of the changes that made them.
    updates: Vec<Update>,
    /// DAGs that are paused if so many of their last runs have failed.
    failing: BTreeMap<(i32, u32), DagId>,
}

impl Step {
    async fn new(
        storage: &PostgresStorage,
        connection: &mut PgConnection,
        batch: &Batch,
        (host, pid): (i32, Option<i32>),
        start: Start,
        predicted: &Needs,
        doubts_tokens: bool,
    ) -> Result<Self, Failure> {
        let schema = &storage.inner.schema;
        let Start { runs: rows, mut images, mut rooms } = start;
        let mut ids = Vec::with_capacity(rows.len());
        for row in &rows {
            ids.push(row.try_get::<i64, _>(22)?);
        }
        let versions = storage.inner.versions.get(&mut *connection, schema, ids).await?;
        let mut runs = BTreeMap::new();
        for row in &rows {
            // A run whose version is gone is as good as deleted.
            let Some(version) = versions.get(&row.try_get(22)?) else { continue };
            let run = Run {
                version: u64::try_from(row.try_get::<i64, _>(5)?).unwrap_or(0),
                owner: row.try_get::<Option<i64>, _>(25)?.map(SchedulerId),
                state: decoded(run_state(row.try_get(3)?))?,
                dag_version: Arc::clone(version),
                has_started: false,
                is_changed: false,
            };
            runs.insert(RunId(row.try_get(0)?), run);
        }
        let tokens: Vec<AttemptToken> = batch
            .transitions
            .iter()
            .filter_map(|transition| match &transition.change {
                Change::Started(token) | Change::Release(token) => Some(*token),
                Change::Ended(ended) if images.find(ended.token).is_none() => Some(ended.token),
                Change::Admit(admission) if doubts_tokens => Some(admission.token),
                _ => None,
            })
            .collect();
        // A release holds whatever the run's version is: what it meets is read under the lock.
        let released: BTreeSet<RunId> = batch
            .transitions
            .iter()
            .filter(|transition| matches!(transition.change, Change::Release(_)))
            .map(|transition| transition.run)
            .collect();
        let of_released = batch.transitions.iter().filter(|transition| released.contains(&transition.run));
        let mut places: Vec<Place> = of_released.flat_map(places_of).collect();
        places.extend(images.incomplete());
        images.read_more(connection, schema, &places, &tokens).await?;
        let needs = Needs::of(batch, |run| runs.get(&run).map(|run| Arc::clone(&run.dag_version)));
        rooms.lock_missing(connection, schema, &needs, predicted).await?;
        rooms.count(connection, schema, &needs).await?;
        let (own, now, event_log) = (batch.session.id, batch.now, batch.event_log);
        Ok(Self {
            host,
            pid,
            own,
            now,
            event_log,
            runs,
            images,
            rooms,
            bumped: BTreeSet::new(),
            updates: Vec::new(),
            failing: BTreeMap::new(),
        })
    }

    fn apply(&mut self, batch: &Batch) -> Vec<Verdict> {
        // Runs whose further transitions all get the same verdict.
        let mut blocked: BTreeMap<RunId, Verdict> = BTreeMap::new();
        for transition in batch.transitions.iter().filter(|t| !matches!(t.change, Change::Release(_))) {
            let is_current = self
                .runs
                .get(&transition.run)
                .is_some_and(|run| run.version == transition.version && run.owner == Some(self.own));
            if !is_current {
                blocked.insert(transition.run, Verdict::StaleRun);
            }
        }
        let mut verdicts = Vec::with_capacity(batch.transitions.len());
        for transition in &batch.transitions {
            let run = transition.run;
            let verdict = match (&transition.change, blocked.get(&run)) {
                (Change::Release(token), _) => self.release(run, *token),
                (_, Some(verdict)) => verdict.clone(),
                (change, None) => {
                    let verdict = self.change(run, change).unwrap_or(Verdict::StaleRun);
                    if verdict == Verdict::StaleRun || *change == Change::StartRun && verdict != Verdict::Done {
                        blocked.insert(run, verdict.clone());
                    }
                    verdict
                }
            };
            verdicts.push(verdict);
        }
        verdicts
    }

    /// `None` for what the state of the run or instance does not allow.
    fn change(&mut self, run: RunId, change: &Change) -> Option<Verdict> {
        match change {
            Change::StartRun => self.start_run(run),
            Change::EndRun(state) => self.end_run(run, *state),
            Change::Admit(admission) => self.admit(run, admission),
            Change::Started(token) => self.started(run, *token),
            Change::Ended(ended) => self.ended(run, ended),
            Change::Settle(key, state) => self.settle(run, *key, *state, false),
            Change::Skip(key) => self.settle(run, *key, TaskState::Skipped, true),
            Change::Schedule(keys) => self.schedule(run, keys),
            Change::Stop(stop) => self.stop(run, stop),
            Change::PauseAfterFailures(most) => self.pause_after_failures(run, *most),
            _ => None,
        }
    }

    fn start_run(&mut self, id: RunId) -> Option<Verdict> {
        let run = self.runs.get_mut(&id).filter(|run| run.state == RunState::Queued)?;
        let dag_id = &run.dag_version.view.dag.dag_id;
        let room = self.rooms.dags.get_mut(&run.dag_version.dag)?;
        if room.is_paused {
            return Some(Verdict::NoRoom(Limit::Paused(dag_id.clone())));
        }
        if room.runs < 1 {
            return Some(Verdict::NoRoom(Limit::ActiveRuns(dag_id.clone())));
        }
        room.runs -= 1;
        run.state = RunState::Running;
        run.has_started = true;
        run.is_changed = true;
        Some(Verdict::Done)
    }

    fn end_run(&mut self, id: RunId, state: RunState) -> Option<Verdict> {
        let run = self.runs.get_mut(&id)?;
        if !state.is_finished() || !run.state.may_become(state) {
            return None;
        }
        if run.state == RunState::Running
            && let Some(room) = self.rooms.dags.get_mut(&run.dag_version.dag)
        {
            room.runs += 1;
        }
        run.state = state;
        run.is_changed = true;
        run.owner = None;
        self.images.retire_run(id);
        Some(Verdict::Done)
    }

    fn admit(&mut self, id: RunId, admission: &Admission) -> Option<Verdict> {
        let Admission { key, try_number, token, phase } = *admission;
        let run = self.runs.get(&id)?;
        let image = self.images.get((id, key))?;
        let version = Arc::clone(&run.dag_version);
        let task = version.view.dag.task(key.task)?;
        let is_legal = run.state == RunState::Running
            && image.live.is_none()
            && image.row.state.may_become(phase_state(phase))
            && try_number == image.row.number.saturating_add(1)
            && self.images.find(token).is_none();
        if !is_legal {
            return None;
        }
        let dag_id = &version.view.dag.dag_id;
        let slots = task.pool_slots.max(1);
        let Rooms { dags, tasks, pools, .. } = &mut self.rooms;
        let dag = dags.get_mut(&version.dag)?;
        let mut of_task = tasks.get_mut(&(version.dag, task.task_id.to_string()));
        let of_pool = pools.get_mut(&task.pool);
        let limit = if dag.is_paused {
            Some(Limit::Paused(dag_id.clone()))
        } else if task.max_active_tis_per_dagrun == Some(0) {
            // The one instance of a task that is not mapped is the first of its run.
            Some(Limit::TaskInRun(id, task.task_id.to_string()))
        } else if of_task.as_ref().is_some_and(|room| **room < 1) {
            Some(Limit::TaskInDag(dag_id.clone(), task.task_id.to_string()))
        } else if dag.tasks < 1 {
            Some(Limit::ActiveTasks(dag_id.clone()))
        } else if of_pool.as_ref().is_none_or(|room| **room < i64::from(slots)) {
            Some(Limit::Pool(task.pool.clone()))
        } else {
            None
        };
        if let Some(limit) = limit {
            return Some(Verdict::NoRoom(limit));
        }
        dag.tasks -= 1;
        if let Some(room) = &mut of_task {
            **room -= 1;
        }
        if let Some(room) = of_pool {
            *room = room.saturating_sub(i64::from(slots));
        }
        let is_running = phase == AttemptPhase::Running;
        let live = Live {
            token,
            is_obsolete: false,
            phase,
            number: try_number,
            queued_when: self.now,
            start_date: is_running.then_some(self.now),
            host: Some(self.host),
            pid: self.pid,
        };
        let holding = Holding {
            dag: version.dag,
            task_id: task.task_id.to_string(),
            pool: task.pool.clone(),
            pool_slots: i64::from(slots),
        };
        let birth = Birth { place: (id, key), live, holding, executor: task.executor.clone() };
        self.images.admit(self.now, birth);
        if is_running {
            self.log(self.now, id, key, try_number, TaskState::Running, self.event_log == TaskEventLog::On);
        }
        Some(Verdict::Done)
    }

    fn started(&mut self, id: RunId, token: AttemptToken) -> Option<Verdict> {
        let ((run, key), live) = self.images.find(token)?;
        let live = live.filter(|live| run == id && live.phase == AttemptPhase::Queued)?;
        let (number, is_obsolete) = (live.number, live.is_obsolete);
        self.images.start(self.now, token);
        if !is_obsolete {
            self.log(self.now, id, key, number, TaskState::Running, self.event_log == TaskEventLog::On);
        }
        Some(Verdict::Done)
    }

    fn ended(&mut self, id: RunId, ended: &Ended) -> Option<Verdict> {
        // What has ended already ends once only.
        let Some(((run, key), live)) = self.images.find(ended.token) else {
            return Some(Verdict::Done);
        };
        if run != id || key != ended.key {
            return None;
        }
        let live = live?;
        if live.is_obsolete {
            return Some(self.release(id, ended.token));
        }
        if !phase_state(live.phase).may_become(ended.state) {
            return None;
        }
        let (number, place) = (live.number, (id, key));
        self.free_room(id, key, None);
        if ended.state == TaskState::Scheduled {
            self.images.give_back(place);
            return Some(Verdict::Done);
        }
        self.images.end(place, ended.state, ended.end_date, ended.due_at);
        if let Some(value) = &ended.value {
            self.images.put_xcom(place, RETURN_VALUE, value.clone());
        }
        if ended.skip != SkipDownstream::None {
            let dag: &Dag = &self.runs.get(&id)?.dag_version.view.dag;
            let value = ended.skip.to_xcom(dag, key.task);
            self.images.put_xcom(place, SKIPMIXIN_KEY, value);
            self.images.put_skip(place, ended.skip.clone());
        }
        // Airflow says `failed` of a try that will be retried, too.
        let event = if ended.state == TaskState::UpForRetry { TaskState::Failed } else { ended.state };
        let is_logged = match self.event_log {
            TaskEventLog::On => true,
            TaskEventLog::Failures => event == TaskState::Failed,
            _ => false,
        };
        self.log(ended.end_date, id, key, number, event, is_logged);
        if ended.state == TaskState::Success {
            self.update_outlets(id, key, &ended.outlet_events);
        }
        Some(Verdict::Done)
    }

    /// The instance has succeeded: it updates the datasets among its task's outlets.
    fn update_outlets(&mut self, id: RunId, key: InstanceKey, said: &[OutletEvent]) {
        let dag = self.runs.get(&id).map(|run| &run.dag_version.view.dag);
        let task = dag.and_then(|dag| Some((&dag.dag_id, dag.task(key.task)?)));
        if let Some((dag_id, task)) = task.filter(|(_, task)| !task.outlets.is_empty()) {
            let update = |(uri, extra)| Update::new(uri, extra, (id, key), dag_id, &task.task_id);
            self.updates.extend(task.updates(said).map(update));
        }
    }

    /// Holds whatever the run's version and owner are.
    fn release(&mut self, id: RunId, token: AttemptToken) -> Verdict {
        let Some(((run, key), live)) = self.images.find(token) else { return Verdict::Done };
        if run != id || live.is_some_and(|live| !live.is_obsolete) {
            return Verdict::Done;
        }
        let orphan = self.images.orphan(token).cloned();
        self.free_room(id, key, orphan);
        self.images.release(self.now, (id, key), token);
        // An owner that did not do this itself must see it.
        if let Some(run) = self.runs.get_mut(&id).filter(|run| run.owner.is_some_and(|owner| owner != self.own)) {
            run.version += 1;
            self.bumped.insert(id);
        }
        Verdict::Done
    }

    /// The slots of an attempt of this instance are free again; `orphan` says where they count if the run is gone.
    fn free_room(&mut self, id: RunId, key: InstanceKey, orphan: Option<Holding>) {
        let of_task = || {
            let version = &self.runs.get(&id)?.dag_version;
            let task = version.view.dag.task(key.task)?;
            let (task_id, pool) = (task.task_id.to_string(), task.pool.clone());
            Some(Holding { dag: version.dag, task_id, pool, pool_slots: i64::from(task.pool_slots.max(1)) })
        };
        let Some(holding) = orphan.or_else(of_task) else { return };
        let Rooms { dags, tasks, pools, .. } = &mut self.rooms;
        if let Some(dag) = dags.get_mut(&holding.dag) {
            dag.tasks += 1;
        }
        if let Some(room) = pools.get_mut(&holding.pool) {
            *room = room.saturating_add(holding.pool_slots);
        }
        if let Some(room) = tasks.get_mut(&(holding.dag, holding.task_id)) {
            *room += 1;
        }
    }

    fn settle(&mut self, id: RunId, key: InstanceKey, state: TaskState, is_branched_off: bool) -> Option<Verdict> {
        let place = (id, key);
        let image = self.images.get(place)?;
        if image.live.is_some() || !state.is_finished() || !image.row.state.may_become(state) {
            return None;
        }
        let is_try = state == TaskState::Success;
        if is_try && image.row.number > 0 {
            self.images.archive(self.now, place);
        }
        let now = self.now;
        let row = self.images.get_mut(place)?.row_mut();
        row.state = state;
        row.number += u32::from(is_try);
        row.is_branched_off = is_branched_off;
        row.start_date = Some(now);
        row.end_date = Some(now);
        if is_try {
            self.update_outlets(id, key, &[]);
        }
        Some(Verdict::Done)
    }

    fn schedule(&mut self, id: RunId, keys: &[InstanceKey]) -> Option<Verdict> {
        if keys.iter().any(|&key| self.images.get((id, key)).is_none()) {
            return None;
        }
        for &key in keys {
            let image = self.images.get_mut((id, key))?;
            if image.live.is_none() && image.row.state.may_become(TaskState::Scheduled) {
                image.set_state(TaskState::Scheduled);
            }
        }
        Some(Verdict::Done)
    }

    fn stop(&mut self, id: RunId, stop: &Stop) -> Option<Verdict> {
        let place = (id, stop.key);
        if self.images.get(place)?.state().is_finished() || !stop.state.is_finished() {
            return None;
        }
        self.images.retire(place);
        let now = self.now;
        let image = self.images.get_mut(place)?;
        image.due_at = None;
        let row = image.row_mut();
        row.state = stop.state;
        if stop.sets_dates {
            row.start_date = row.start_date.or(Some(now));
            row.end_date = row.end_date.or(Some(now));
        }
        Some(Verdict::Done)
    }

    fn pause_after_failures(&mut self, id: RunId, most: u32) -> Option<Verdict> {
        let version = &self.runs.get(&id)?.dag_version;
        self.failing.insert((version.dag, most), version.view.dag.dag_id.clone());
        Some(Verdict::Done)
    }

    fn log(
        &mut self,
        when: DateTime<Utc>,
        run: RunId,
        key: InstanceKey,
        number: u32,
        state: TaskState,
        is_logged: bool,
    ) {
        if is_logged {
            self.images.log(Event { when, place: (run, key), number, state });
        }
    }
}

async fn write_runs(
    connection: &mut PgConnection,
    schema: &Schema,
    now: DateTime<Utc>,
    runs: &BTreeMap<RunId, Run>,
) -> Result<(), sqlx::Error> {
    let changed: Vec<(i64, &Run)> =
        runs.iter().filter(|(_, run)| run.is_changed).map(|(id, run)| (id.0, run)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let ended: Vec<i64> = changed.iter().filter(|(_, run)| run.state.is_finished()).map(|(id, _)| *id).collect();
    if !ended.is_empty() {
        sqlx::query(schema.sql(sql!("commit/retire_runs"))).bind(ended).execute(&mut *connection).await?;
    }
    sqlx::query(schema.sql(sql!("commit/write_runs")))
        .bind(changed.iter().map(|(id, _)| *id).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, run)| run_state_code(run.state)).collect::<Vec<_>>())
        .bind(changed.iter().map(|(_, run)| run.has_started).collect::<Vec<_>>())
        .bind(now)
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// Pauses DAGs whose last runs have all failed. Returns whether there are any. Their rows are locked.
async fn write_pauses(
    connection: &mut PgConnection,
    schema: &Schema,
    now: DateTime<Utc>,
    failing: &BTreeMap<(i32, u32), DagId>,
) -> Result<bool, Failure> {
    let mut has_paused = false;
    for ((dag, most), dag_id) in failing {
        let paused = sqlx::query(schema.sql(sql!("commit/pause_after_failures")))
            .bind(dag)
            .bind(i64::from(*most))
            .execute(&mut *connection)
            .await?;
        if paused.rows_affected() > 0 {
            has_paused = true;
            write_audit(connection, schema, Some(now), Some(AuditEntry::paused_by_scheduler(dag_id))).await?;
        }
    }
    Ok(has_paused)
}
