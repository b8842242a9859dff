//! Creating, amending and deleting runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, Row, Transaction};
use updraft_core::id::{DagVersionId, InstanceKey, RunId, SchedulerId};
use updraft_core::model::{AuditEntry, DagRun, RunState, TaskState};
use updraft_core::storage::{Amendment, InstanceAmendment, NewRun, Result, SchedulerSession, StorageError, Subject};

use crate::PostgresStorage;
use crate::audit::write_audit;
use crate::claim::new_snapshot;
use crate::code::{int, run_state, run_state_code, run_type_code, unsigned};
use crate::commit::Failure;
use crate::dag_run::read_run;
use crate::error::{is_collision, storage_error};
use crate::hint::News;
use crate::image::{Images, decoded};
use crate::sql::{Schema, sql};
use crate::version::Version;

/// What became of each run to be created, in the order given.
pub(crate) type Created = Vec<Result<DagRun>>;

/// The versions that new runs run, by id.
pub(crate) type KnownVersions = BTreeMap<i64, Arc<Version>>;

/// The session that new runs may belong to at once.
#[derive(Clone)]
pub(crate) struct Heir {
    session: SchedulerSession,
    versions: Vec<DagVersionId>,
}

/// Makes sure that a scheduler asks for runs that became its own while the answer was lost.
struct Handover<'a> {
    storage: &'a PostgresStorage,
    session: Option<SchedulerSession>,
}

impl Drop for Handover<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.storage.with_session(&session, |known| known.has_lost_runs = true);
        }
    }
}

impl PostgresStorage {
    pub(crate) async fn create(&self, now: DateTime<Utc>, runs: Vec<NewRun>) -> Result<Created> {
        let heir = self.heir();
        let mut collisions = 0;
        loop {
            let mut transaction = self.begin_write().await?;
            match self.create_in(&mut transaction, now, &runs, heir.as_ref()).await {
                Ok((created, versions)) => {
                    self.commit_created(transaction, heir.as_ref(), &created, &versions).await?;
                    return Ok(created);
                }
                Err(Failure::Database(error)) if is_collision(&error, collisions) => {
                    collisions += 1;
                    drop(transaction);
                    self.pause_after_collision(collisions).await;
                }
                Err(Failure::Database(error)) => return Err(storage_error(error)),
                Err(Failure::Storage(error)) => return Err(error),
            }
        }
    }

    /// Makes the creation of runs durable, and tells the schedulers.
    pub(crate) async fn commit_created(
        &self,
        transaction: Transaction<'_, Postgres>,
        heir: Option<&Heir>,
        created: &[Result<DagRun>],
        versions: &KnownVersions,
    ) -> Result<()> {
        let mut handover = Handover { storage: self, session: heir.map(|heir| heir.session.clone()) };
        transaction.commit().await.map_err(storage_error)?;
        let session = handover.session.take();
        self.hand_over(session, created, versions);
        Ok(())
    }

    /// Creates runs in a transaction of the host, as
    /// [`RunStorage::create_runs`](updraft_core::storage::RunStorage::create_runs) does in one of its own: they exist once
    /// the host commits. Whatever this answers, the transaction can go on. It should end soon: whoever creates a run of the
    /// same logical date or text id waits for it.
    ///
    /// Nothing is announced. Schedulers find the runs within a second, or at once if
    /// [`PostgresStorage::announce_runs`] is called after the commit.
    ///
    /// # Errors
    /// As of `create_runs`; the connection must be in a transaction. If that is `REPEATABLE READ` or stricter and met
    /// another, `Unavailable`: the host tries all of it again.
    pub async fn create_runs_in(
        &self,
        transaction: &mut PgConnection,
        now: DateTime<Utc>,
        runs: Vec<NewRun>,
    ) -> Result<Vec<Result<DagRun>>> {
        sqlx::raw_sql("SAVEPOINT updraft_runs").execute(&mut *transaction).await.map_err(storage_error)?;
        let created = self.create_in(transaction, now, &runs, None).await;
        let end = match created {
            Ok(_) => "RELEASE SAVEPOINT updraft_runs",
            Err(_) => "ROLLBACK TO SAVEPOINT updraft_runs; RELEASE SAVEPOINT updraft_runs",
        };
        let ended = sqlx::raw_sql(end).execute(transaction).await;
        match created {
            Ok((created, _)) => ended.map(|_| created).map_err(storage_error),
            Err(Failure::Database(error)) => Err(storage_error(error)),
            Err(Failure::Storage(error)) => Err(error),
        }
    }

    /// Tells schedulers, also of other processes, that there may be new runs.
    pub fn announce_runs(&self) {
        self.announce(News::RUNS);
    }

    /// The scheduler of this process, if there is just one.
    pub(crate) fn heir(&self) -> Option<Heir> {
        if !self.inner.own_triggers {
            return None;
        }
        let sessions = self.sessions();
        let (&id, known) = sessions.first_key_value().filter(|_| sessions.len() == 1)?;
        let session = SchedulerSession { id, epoch: known.epoch, lease: std::time::Duration::ZERO };
        Some(Heir { session, versions: known.versions.clone() })
    }

    /// Tells the schedulers: the own one has its runs already.
    fn hand_over(&self, session: Option<SchedulerSession>, created: &[Result<DagRun>], versions: &KnownVersions) {
        let mut own = Vec::new();
        let mut is_news = false;
        for run in created.iter().flatten() {
            match versions.get(&run.dag_version.0).filter(|_| run.owner.is_some()) {
                Some(version) => {
                    self.inner.versions.remember_run(run.id, run.dag_version);
                    own.push(new_snapshot(run.clone(), version));
                }
                None => is_news = true,
            }
        }
        if !own.is_empty()
            && let Some(session) = session
        {
            self.with_session(&session, |known| known.created.extend(own));
            self.announce_here();
        }
        if is_news {
            self.announce(News::RUNS);
        }
    }

    pub(crate) async fn create_in(
        &self,
        connection: &mut PgConnection,
        now: DateTime<Utc>,
        runs: &[NewRun],
        heir: Option<&Heir>,
    ) -> Result<(Created, KnownVersions), Failure> {
        let schema = &self.inner.schema;
        let versions =
            self.inner.versions.get(&mut *connection, schema, runs.iter().map(|run| run.dag_version.0)).await?;
        let made = insert_runs(connection, schema, now, runs, heir).await?;
        let mut created: BTreeMap<(i32, &str), (i64, Option<SchedulerId>)> = BTreeMap::new();
        for (id, dag, run_id, owner) in &made {
            created.insert((*dag, run_id.as_str()), (*id, owner.map(SchedulerId)));
        }
        let mut results = Vec::with_capacity(runs.len());
        let mut instances: (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
        let mut audits: Vec<&AuditEntry> = Vec::new();
        for new in runs {
            let version = versions.get(&new.dag_version.0);
            // Of two with the same id, the first was created.
            let made = version.and_then(|version| created.remove(&(version.dag, new.run_id.as_str())));
            let (Some(version), Some((id, owner))) = (version, made) else {
                results.push(Err(self.obstacle(&mut *connection, new, version.map(Arc::as_ref)).await?));
                continue;
            };
            instances.0.push(id);
            instances.1.push(new.dag_version.0);
            audits.extend(&new.audit);
            results.push(Ok(new_run(RunId(id), owner, now, new, version)));
        }
        if !instances.0.is_empty() {
            sqlx::query(schema.sql(sql!("dag_run/create_instances")))
                .bind(instances.0)
                .bind(instances.1)
                .bind(now)
                .execute(&mut *connection)
                .await?;
        }
        write_audits(connection, schema, now, &audits).await?;
        Ok((results, versions))
    }

    /// Why a run was not created.
    async fn obstacle(
        &self,
        connection: &mut PgConnection,
        new: &NewRun,
        version: Option<&Version>,
    ) -> Result<StorageError, sqlx::Error> {
        let row = sqlx::query(self.inner.schema.sql(sql!("dag_run/who_has")))
            .bind(new.dag_version.0)
            .bind(new.logical_date)
            .fetch_optional(connection)
            .await?;
        let (Some(row), Some(version)) = (row, version) else {
            self.inner.versions.forget(&[new.dag_version.0]);
            return Ok(StorageError::NotFound(Subject::DagVersion(new.dag_version.0)));
        };
        let dag_id = version.view.dag.dag_id.to_string();
        Ok(StorageError::AlreadyExists(if row.try_get(0)? {
            Subject::LogicalDate(dag_id, new.logical_date)
        } else {
            Subject::DagRun(dag_id, new.run_id.clone())
        }))
    }

    pub(crate) async fn amend(
        &self,
        now: DateTime<Utc>,
        amendments: Vec<Amendment>,
        audit: Option<AuditEntry>,
    ) -> Result<Vec<(DagRun, Vec<InstanceKey>)>> {
        let mut collisions = 0;
        loop {
            let mut transaction = self.begin_write().await?;
            match self.amend_in(&mut transaction, now, &amendments, audit.clone()).await {
                Ok(amended) => {
                    transaction.commit().await.map_err(storage_error)?;
                    self.announce(News::CHANGES.and(News::RUNS).and(News::SCHEDULES));
                    return Ok(amended);
                }
                Err(Failure::Database(error)) if is_collision(&error, collisions) => {
                    collisions += 1;
                    drop(transaction);
                    self.pause_after_collision(collisions).await;
                }
                Err(Failure::Database(error)) => return Err(storage_error(error)),
                Err(Failure::Storage(error)) => return Err(error),
            }
        }
    }

    async fn amend_in(
        &self,
        connection: &mut PgConnection,
        now: DateTime<Utc>,
        amendments: &[Amendment],
        audit: Option<AuditEntry>,
    ) -> Result<Vec<(DagRun, Vec<InstanceKey>)>, Failure> {
        let schema = &self.inner.schema;
        let ids: BTreeSet<i64> = amendments.iter().map(|amendment| amendment.run.0).collect();
        let ids: Vec<i64> = ids.into_iter().collect();
        let mut runs = lock_to_amend(connection, schema, &ids).await?;
        if let Some(gone) = amendments.iter().find(|amendment| !runs.contains_key(&amendment.run)) {
            return Err(StorageError::NotFound(Subject::DagRunKey(gone.run)).into());
        }
        sqlx::query(schema.sql(sql!("dag_run/tell_followers"))).bind(&ids).execute(&mut *connection).await?;
        let places: BTreeSet<_> = amendments
            .iter()
            .flat_map(|amendment| amendment.instances.iter().map(|(key, _)| (amendment.run, *key)))
            .collect();
        let places: Vec<_> = places.into_iter().collect();
        let mut images = Images::read(connection, schema, &places, &[]).await?;
        let mut changed = Vec::with_capacity(amendments.len());
        let mut ended = Vec::new();
        for amendment in amendments {
            let mut keys = Vec::new();
            for (key, change) in &amendment.instances {
                if amend_instance(&mut images, now, (amendment.run, *key), change) {
                    keys.push(*key);
                }
            }
            keys.sort_unstable();
            keys.dedup();
            changed.push(keys);
            if let Some(run) = runs.get_mut(&amendment.run) {
                run.amend(now, amendment);
                if run.state.is_finished() && amendment.state.is_some() {
                    images.retire_run(amendment.run);
                    ended.push(amendment.run.0);
                }
            }
        }
        images.write(connection, schema, now, None).await?;
        if !ended.is_empty() {
            sqlx::query(schema.sql(sql!("commit/retire_runs"))).bind(ended).execute(&mut *connection).await?;
        }
        write_amended(connection, schema, now, &runs).await?;
        write_audit(connection, schema, Some(now), audit).await?;
        let rows = sqlx::query(schema.sql(sql!("dag_run/by_key"))).bind(&ids).fetch_all(&mut *connection).await?;
        let mut records = BTreeMap::new();
        for row in &rows {
            let run = read_run(row)?;
            records.insert(run.id, run);
        }
        let amended = amendments.iter().zip(changed);
        Ok(amended.filter_map(|(amendment, keys)| Some((records.get(&amendment.run)?.clone(), keys))).collect())
    }

    pub(crate) async fn delete(&self, run: RunId, audit: Option<AuditEntry>) -> Result<()> {
        let schema = &self.inner.schema;
        let mut collisions = 0;
        loop {
            let mut transaction = self.begin_write().await?;
            let deleted = async {
                let deleted = delete_runs(&mut transaction, schema, &[run.0]).await?;
                if deleted == 0 {
                    return Err(Failure::Storage(StorageError::NotFound(Subject::DagRunKey(run))));
                }
                Ok(write_audit(&mut transaction, schema, None, audit.clone()).await?)
            };
            match deleted.await {
                Ok(()) => {
                    transaction.commit().await.map_err(storage_error)?;
                    self.announce(News::CHANGES.and(News::RUNS).and(News::SCHEDULES));
                    return Ok(());
                }
                Err(Failure::Database(error)) if is_collision(&error, collisions) => {
                    collisions += 1;
                    drop(transaction);
                    self.pause_after_collision(collisions).await;
                }
                Err(Failure::Database(error)) => return Err(storage_error(error)),
                Err(Failure::Storage(error)) => return Err(error),
            }
        }
    }
}

/// Deletes runs with all that belongs to them but their entries of the event log, which take the names over, and tells
/// their schedulers. Returns how many there were.
pub(crate) async fn delete_runs(
    connection: &mut PgConnection,
    schema: &Schema,
    runs: &[i64],
) -> Result<u64, sqlx::Error> {
    for text in
        [sql!("dag_run/lock"), sql!("dag_run/tell_followers"), sql!("dag_run/keep_names"), sql!("schedule/reconsider")]
    {
        sqlx::query(schema.sql(text)).bind(runs).execute(&mut *connection).await?;
    }
    let deleted = sqlx::query(schema.sql(sql!("dag_run/delete"))).bind(runs).execute(&mut *connection).await?;
    Ok(deleted.rows_affected())
}

async fn insert_runs(
    connection: &mut PgConnection,
    schema: &Schema,
    now: DateTime<Utc>,
    runs: &[NewRun],
    heir: Option<&Heir>,
) -> Result<Vec<(i64, i32, String, Option<i64>)>, sqlx::Error> {
    let rows = sqlx::query(schema.sql(sql!("dag_run/create")))
        .bind(runs.iter().map(|run| run.dag_version.0).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.run_id.as_str()).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.logical_date).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.data_interval_start).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.data_interval_end).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run_type_code(run.run_type)).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run_state_code(run.state)).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.external_trigger).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.conf.to_string()).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.note.as_ref().map(|note| note.content.as_str())).collect::<Vec<_>>())
        .bind(runs.iter().map(|run| run.note.as_ref().and_then(|note| note.user.as_deref())).collect::<Vec<_>>())
        .bind(heir.map(|heir| heir.session.id.0))
        .bind(heir.map(|heir| i64::try_from(heir.session.epoch).unwrap_or(i64::MAX)))
        .bind(now)
        .bind(heir.map(|heir| heir.versions.iter().map(|version| version.0).collect::<Vec<_>>()).unwrap_or_default())
        .bind(runs.iter().map(|run| run.uid).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))).collect()
}

fn new_run(id: RunId, owner: Option<SchedulerId>, now: DateTime<Utc>, new: &NewRun, version: &Version) -> DagRun {
    DagRun {
        id,
        uid: new.uid,
        dag_id: version.view.dag.dag_id.clone(),
        run_id: new.run_id.clone(),
        run_type: new.run_type,
        state: new.state,
        logical_date: new.logical_date,
        data_interval_start: new.data_interval_start,
        data_interval_end: new.data_interval_end,
        queued_at: now,
        start_date: (new.state == RunState::Running).then_some(now),
        end_date: None,
        external_trigger: new.external_trigger,
        conf: new.conf.clone(),
        note: new.note.clone(),
        last_scheduling_decision: None,
        dag_version: new.dag_version,
        clear_number: 0,
        version: 0,
        owner,
        updated_at: now,
    }
}

async fn write_audits(
    connection: &mut PgConnection,
    schema: &Schema,
    now: DateTime<Utc>,
    audits: &[&AuditEntry],
) -> Result<(), sqlx::Error> {
    if audits.is_empty() {
        return Ok(());
    }
    sqlx::query(schema.sql(sql!("event_log/append_many")))
        .bind(now)
        .bind(audits.iter().map(|entry| entry.event.as_str()).collect::<Vec<_>>())
        .bind(audits.iter().map(|entry| entry.dag_id.as_ref().map(AsRef::as_ref)).collect::<Vec<Option<&str>>>())
        .bind(audits.iter().map(|entry| entry.task_id.as_deref()).collect::<Vec<_>>())
        .bind(audits.iter().map(|entry| entry.run_id.as_deref()).collect::<Vec<_>>())
        .bind(audits.iter().map(|entry| entry.map_index).collect::<Vec<_>>())
        .bind(audits.iter().map(|entry| entry.logical_date).collect::<Vec<_>>())
        .bind(audits.iter().map(|entry| entry.owner.as_deref()).collect::<Vec<_>>())
        .bind(audits.iter().map(|entry| entry.extra.as_deref()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// What an amendment changes of a run.
struct Amended {
    owner: Option<i64>,
    state: RunState,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    queued_at: DateTime<Utc>,
    last_scheduling_decision: Option<DateTime<Utc>>,
    clear_number: u32,
    version: i64,
}

impl Amended {
    fn amend(&mut self, now: DateTime<Utc>, amendment: &Amendment) {
        let was_finished = self.state.is_finished();
        let state = amendment.state.or((amendment.restarts && was_finished).then_some(RunState::Queued));
        match state {
            None => {}
            Some(RunState::Queued) => {
                self.queued_at = now;
                self.start_date = None;
                self.end_date = None;
                self.last_scheduling_decision = None;
                self.clear_number += 1;
            }
            Some(RunState::Running) => {
                self.start_date = if was_finished { Some(now) } else { self.start_date.or(Some(now)) };
                self.end_date = None;
            }
            Some(_) => {
                self.end_date = if was_finished { self.end_date.or(Some(now)) } else { Some(now) };
                self.owner = None;
            }
        }
        self.state = state.unwrap_or(self.state);
        self.version += 1;
    }
}

async fn lock_to_amend(
    connection: &mut PgConnection,
    schema: &Schema,
    ids: &[i64],
) -> Result<BTreeMap<RunId, Amended>, Failure> {
    let rows = sqlx::query(schema.sql(sql!("dag_run/to_amend"))).bind(ids).fetch_all(connection).await?;
    let mut runs = BTreeMap::new();
    for row in &rows {
        let run = Amended {
            owner: row.try_get(1)?,
            state: decoded(run_state(row.try_get(2)?))?,
            start_date: row.try_get(3)?,
            end_date: row.try_get(4)?,
            queued_at: row.try_get(5)?,
            last_scheduling_decision: row.try_get(6)?,
            clear_number: unsigned(row.try_get::<i32, _>(7)?),
            version: row.try_get(8)?,
        };
        runs.insert(RunId(row.try_get(0)?), run);
    }
    Ok(runs)
}

async fn write_amended(
    connection: &mut PgConnection,
    schema: &Schema,
    now: DateTime<Utc>,
    runs: &BTreeMap<RunId, Amended>,
) -> Result<(), sqlx::Error> {
    sqlx::query(schema.sql(sql!("dag_run/amend")))
        .bind(runs.keys().map(|id| id.0).collect::<Vec<_>>())
        .bind(runs.values().map(|run| run_state_code(run.state)).collect::<Vec<_>>())
        .bind(runs.values().map(|run| run.owner).collect::<Vec<_>>())
        .bind(runs.values().map(|run| run.start_date).collect::<Vec<_>>())
        .bind(runs.values().map(|run| run.end_date).collect::<Vec<_>>())
        .bind(runs.values().map(|run| run.queued_at).collect::<Vec<_>>())
        .bind(runs.values().map(|run| run.last_scheduling_decision).collect::<Vec<_>>())
        .bind(runs.values().map(|run| int(run.clear_number)).collect::<Vec<_>>())
        .bind(runs.values().map(|run| run.version).collect::<Vec<_>>())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether the instance changed.
fn amend_instance(
    images: &mut Images,
    now: DateTime<Utc>,
    place: (RunId, InstanceKey),
    change: &InstanceAmendment,
) -> bool {
    let Some(image) = images.get(place) else { return false };
    let (was, is_live) = (image.state(), image.live.is_some());
    match change {
        InstanceAmendment::Clear { retries, only } if only.contains(was) => {
            if was.is_finished() || was == TaskState::UpForRetry || is_live {
                images.archive(now, place);
            }
            images.retire(place);
            images.forget_values(place);
            let Some(image) = images.get_mut(place) else { return false };
            image.due_at = None;
            image.max_tries = Some(image.row.number.saturating_add(*retries));
            image.set_state(if is_live { TaskState::Restarting } else { TaskState::None });
            true
        }
        InstanceAmendment::Mark { state, only } if only.contains(was) && was != *state => {
            if was == TaskState::UpForRetry {
                images.archive(now, place);
            }
            images.retire(place);
            let Some(image) = images.get_mut(place) else { return false };
            image.due_at = None;
            let row = image.row_mut();
            if row.start_date.is_none() || matches!(was, TaskState::None | TaskState::Scheduled) {
                row.start_date = Some(now);
            }
            if row.end_date.is_none() || !was.is_finished() {
                row.end_date = Some(now);
            }
            row.state = *state;
            true
        }
        _ => false,
    }
}
