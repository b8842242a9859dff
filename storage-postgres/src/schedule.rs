//! Where the schedules of DAGs stand.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use updraft_core::id::DagVersionId;
use updraft_core::model::{DataInterval, NextRun};
use updraft_core::storage::{
    DueSchedule, DueSchedules, NewRun, Result, ScheduleStep, ScheduleStorage, ScheduleVerdict, ScheduledRun,
    SchedulerSession, StorageError,
};

use crate::PostgresStorage;
use crate::commit::Failure;
use crate::dag::read_next;
use crate::error::{is_collision, storage_error};
use crate::hint::{News, ReadAt};
use crate::run_write::{Created, Heir, KnownVersions};
use crate::scheduler::epoch_of;
use crate::sql::{Schema, sql};

/// How long it is believed without news that nothing is due before the time that was read.
const TRUSTED: Duration = Duration::from_secs(5);

/// That nothing of these versions is due before a moment.
#[derive(Debug)]
pub(crate) struct NothingDue {
    read: ReadAt,
    versions: Vec<DagVersionId>,
    until: Option<DateTime<Utc>>,
}

/// A DAG whose row is locked.
struct Locked {
    dag: i32,
    sequence: i64,
    is_paused: bool,
    room: usize,
}

/// What became of steps, and what their runs need to be handed over.
struct Advanced {
    verdicts: Vec<ScheduleVerdict>,
    created: Created,
    versions: KnownVersions,
}

fn read_due(row: &PgRow) -> sqlx::Result<Result<DueSchedule, Option<DateTime<Utc>>>> {
    let Some(version) = row.try_get::<Option<i64>, _>("version")? else {
        return Ok(Err(row.try_get("ends")?));
    };
    let (start, end): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) = (row.try_get("starts")?, row.try_get("ends")?);
    Ok(Ok(DueSchedule {
        dag_version: DagVersionId(version),
        sequence: u64::try_from(row.try_get::<i64, _>("sequence")?).unwrap_or(0),
        is_paused: row.try_get("is_paused")?,
        last: start.zip(end).map(|(start, end)| DataInterval { start, end }),
        active_runs: u32::try_from(row.try_get::<i64, _>("runs")?).unwrap_or(u32::MAX),
        planned: read_next(row)?,
        known_since: row.try_get("created_at")?,
    }))
}

/// Locks the DAGs of steps, by the newest version of each.
async fn lock(
    connection: &mut PgConnection,
    schema: &Schema,
    steps: &[ScheduleStep],
) -> Result<BTreeMap<i64, Locked>, sqlx::Error> {
    let versions: Vec<i64> = steps.iter().map(|step| step.dag_version.0).collect();
    let rows = sqlx::query(schema.sql(sql!("schedule/lock"))).bind(versions).fetch_all(&mut *connection).await?;
    let mut dags = Vec::with_capacity(rows.len());
    for row in &rows {
        dags.push(row.try_get::<i32, _>(0)?);
    }
    // In a statement of its own: a count in that of the lock would be of the time before it waited.
    let counts: Vec<(i32, i64)> =
        sqlx::query_as(schema.sql(sql!("schedule/count_unfinished"))).bind(dags).fetch_all(&mut *connection).await?;
    let counts: BTreeMap<i32, i64> = counts.into_iter().collect();
    let mut locked = BTreeMap::new();
    for row in &rows {
        let dag: i32 = row.try_get(0)?;
        let room = row.try_get::<i64, _>(4)?.saturating_sub(counts.get(&dag).copied().unwrap_or(0));
        let entry = Locked {
            dag,
            sequence: row.try_get(2)?,
            is_paused: row.try_get(3)?,
            room: usize::try_from(room).unwrap_or(0),
        };
        locked.insert(row.try_get(1)?, entry);
    }
    Ok(locked)
}

impl PostgresStorage {
    async fn advance_in(
        &self,
        connection: &mut PgConnection,
        session: &SchedulerSession,
        now: DateTime<Utc>,
        steps: &[ScheduleStep],
        heir: Option<&Heir>,
    ) -> Result<Advanced, Failure> {
        let schema = &self.inner.schema;
        let fence = sqlx::query(schema.sql(sql!("claim/fence"))).bind(session.id.0).bind(epoch_of(session));
        if fence.fetch_optional(&mut *connection).await?.is_none() {
            return Err(StorageError::Fenced.into());
        }
        let locked = lock(connection, schema, steps).await?;
        // Those that stand as they were read.
        let valid: Vec<Option<&Locked>> = steps
            .iter()
            .map(|step| {
                let locked = locked.get(&step.dag_version.0)?;
                let is_as_read = u64::try_from(locked.sequence).is_ok_and(|sequence| sequence == step.sequence);
                (is_as_read && (step.runs.is_empty() || !locked.is_paused)).then_some(locked)
            })
            .collect();
        let offered: Vec<NewRun> = steps
            .iter()
            .zip(&valid)
            .filter_map(|(step, locked)| Some(step.runs.iter().take((*locked)?.room)))
            .flatten()
            .cloned()
            .collect();
        let (created, versions) = if offered.is_empty() {
            (Created::new(), KnownVersions::new())
        } else {
            self.create_in(&mut *connection, now, &offered, heir).await?
        };
        let mut results = created.iter();
        let mut verdicts = Vec::with_capacity(steps.len());
        let mut next = Columns::default();
        for (step, locked) in steps.iter().zip(valid) {
            let Some(locked) = locked else {
                verdicts.push(ScheduleVerdict::Changed);
                continue;
            };
            let (mut taken, mut last) = (0, None);
            let mut runs = Vec::with_capacity(step.runs.len());
            for place in 0..step.runs.len() {
                let result = if place < locked.room { results.next() } else { None };
                runs.push(match result {
                    Some(Ok(run)) => {
                        taken += 1;
                        last = step.runs.get(place);
                        ScheduledRun::Created(Box::new(run.clone()))
                    }
                    Some(Err(StorageError::AlreadyExists(_))) => ScheduledRun::Exists,
                    Some(Err(error)) => return Err(StorageError::Internal(error.to_string().into()).into()),
                    None => ScheduledRun::NoRoom,
                });
            }
            let is_held = step.next.is_some() && taken >= locked.room;
            let shown = last.filter(|_| is_held).map(NewRun::as_next).or(step.next);
            // Runs that exist already took no room: those that were not tried are due still.
            let has_more = !is_held && runs.contains(&ScheduledRun::NoRoom);
            let due = if has_more { Some(now) } else { shown.map(|next| next.create_after) };
            next.push(locked.dag, is_held, shown, due);
            verdicts.push(ScheduleVerdict::Done(runs));
        }
        next.write(connection, schema).await?;
        Ok(Advanced { verdicts, created, versions })
    }

    async fn advance(
        &self,
        session: &SchedulerSession,
        now: DateTime<Utc>,
        steps: &[ScheduleStep],
    ) -> Result<Vec<ScheduleVerdict>> {
        let heir = self.heir();
        let mut collisions = 0;
        loop {
            let mut transaction = self.begin_write().await?;
            match self.advance_in(&mut transaction, session, now, steps, heir.as_ref()).await {
                Ok(advanced) => {
                    self.commit_created(transaction, heir.as_ref(), &advanced.created, &advanced.versions).await?;
                    self.inner.hints.note(News::SCHEDULES);
                    return Ok(advanced.verdicts);
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

/// What is written of DAGs, by column.
#[derive(Debug, Default)]
struct Columns {
    dags: Vec<i32>,
    are_held: Vec<bool>,
    dates: Vec<Option<DateTime<Utc>>>,
    starts: Vec<Option<DateTime<Utc>>>,
    ends: Vec<Option<DateTime<Utc>>>,
    create_after: Vec<Option<DateTime<Utc>>>,
    due: Vec<Option<DateTime<Utc>>>,
}

impl Columns {
    fn push(&mut self, dag: i32, is_held: bool, next: Option<NextRun>, due: Option<DateTime<Utc>>) {
        self.dags.push(dag);
        self.are_held.push(is_held);
        self.dates.push(next.map(|next| next.logical_date));
        self.starts.push(next.map(|next| next.data_interval.start));
        self.ends.push(next.map(|next| next.data_interval.end));
        self.create_after.push(next.map(|next| next.create_after));
        self.due.push(due);
    }

    async fn write(self, connection: &mut PgConnection, schema: &Schema) -> Result<(), sqlx::Error> {
        if self.dags.is_empty() {
            return Ok(());
        }
        let advance = sqlx::query(schema.sql(sql!("schedule/advance")))
            .bind(self.dags)
            .bind(self.are_held)
            .bind(self.dates)
            .bind(self.starts)
            .bind(self.ends)
            .bind(self.create_after)
            .bind(self.due);
        advance.execute(connection).await.map(drop)
    }
}

#[async_trait]
impl ScheduleStorage for PostgresStorage {
    async fn due_schedules(&self, now: DateTime<Utc>, versions: &[DagVersionId], limit: usize) -> Result<DueSchedules> {
        let news = News::VERSIONS.and(News::LIMITS).and(News::SCHEDULES);
        let read = self.read_at(news);
        let hints = &self.inner.hints;
        if let Some(next_due) = hints.known_nothing_due(|known| {
            let is_before = known.until.is_none_or(|until| now < until);
            (is_before && known.versions == versions && hints.is_fresh_for(news, known.read, read.time(), TRUSTED))
                .then_some(known.until)
        }) {
            return Ok(DueSchedules { due: Vec::new(), next_due });
        }
        let rows = sqlx::query(self.inner.schema.sql(sql!("schedule/due")))
            .bind(now)
            .bind(versions.iter().map(|version| version.0).collect::<Vec<_>>())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.inner.schedulers)
            .await
            .map_err(storage_error)?;
        let mut found = DueSchedules::default();
        for row in &rows {
            match read_due(row).map_err(storage_error)? {
                Ok(due) => found.due.push(due),
                Err(next_due) => found.next_due = next_due,
            }
        }
        if found.due.is_empty() {
            hints.learn_nothing_due(NothingDue { read, versions: versions.to_vec(), until: found.next_due });
        }
        found.due.truncate(limit);
        Ok(found)
    }

    async fn advance_schedules(
        &self,
        session: &SchedulerSession,
        now: DateTime<Utc>,
        steps: Vec<ScheduleStep>,
    ) -> Result<Vec<ScheduleVerdict>> {
        self.advance(session, now, &steps).await
    }
}
