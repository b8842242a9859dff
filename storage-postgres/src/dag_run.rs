//! Runs, as clients read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, Row};
use updraft_core::id::{DagId, DagVersionId, InstanceKey, RunId, SchedulerId};
use updraft_core::model::{AuditEntry, DagRun, Note};
use updraft_core::storage::{
    Amendment, NewRun, OrderBy, Page, Range, Result, RunOrder, RunQuery, RunStorage, StorageError, Subject,
};

use crate::PostgresStorage;
use crate::audit::write_audit;
use crate::code::{run_state, run_state_code, run_type, run_type_code, unsigned};
use crate::error::storage_error;
use crate::page::{limit_and_offset, total};
use crate::sql::{Schema, sql};

/// Reads a run from the columns `id`, `dag_id` (the text id, of the DAG's row), `run_id`, `run_type`, `state`,
/// `logical_date`, `data_interval_start`, `data_interval_end`, `queued_at`, `start_date`, `end_date`, `external_trigger`,
/// `conf`, `note`, `note_user`, `last_scheduling_decision`, `dag_version`, `clear_number`, `version`, `owner` and
/// `updated_at`, in any order.
pub(crate) fn read_run(row: &PgRow) -> Result<DagRun> {
    let read = || -> sqlx::Result<(i16, i16, DagRun)> {
        let Json(conf) = row.try_get("conf")?;
        let run = DagRun {
            id: RunId(row.try_get("id")?),
            dag_id: DagId::from(row.try_get::<&str, _>("dag_id")?),
            run_id: row.try_get("run_id")?,
            run_type: updraft_core::model::RunType::Manual,
            state: updraft_core::model::RunState::Queued,
            logical_date: row.try_get("logical_date")?,
            data_interval_start: row.try_get("data_interval_start")?,
            data_interval_end: row.try_get("data_interval_end")?,
            queued_at: row.try_get("queued_at")?,
            start_date: row.try_get("start_date")?,
            end_date: row.try_get("end_date")?,
            external_trigger: row.try_get("external_trigger")?,
            conf,
            note: read_note(row.try_get("note")?, row.try_get("note_user")?),
            last_scheduling_decision: row.try_get("last_scheduling_decision")?,
            dag_version: DagVersionId(row.try_get("dag_version")?),
            clear_number: unsigned(row.try_get::<i32, _>("clear_number")?),
            version: u64::try_from(row.try_get::<i64, _>("version")?).unwrap_or(0),
            owner: row.try_get::<Option<i64>, _>("owner")?.map(SchedulerId),
            updated_at: row.try_get("updated_at")?,
        };
        Ok((row.try_get("run_type")?, row.try_get("state")?, run))
    };
    let (kind, state, run) = read().map_err(storage_error)?;
    Ok(DagRun { run_type: run_type(kind)?, state: run_state(state)?, ..run })
}

pub(crate) fn read_note(content: Option<String>, user: Option<String>) -> Option<Note> {
    content.map(|content| Note { content, user })
}

/// Whether a text can be stored at all; one that cannot names nothing.
pub(crate) fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// Texts of a filter.
pub(crate) fn texts(filter: Option<&BTreeSet<String>>) -> Option<Vec<String>> {
    filter.map(|texts| texts.iter().filter(|text| is_storable(text)).cloned().collect())
}

/// Runs by key; those that do not exist are left out.
pub(crate) async fn runs_by_key(
    connection: &mut PgConnection,
    schema: &Schema,
    keys: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Arc<DagRun>>> {
    let keys: BTreeSet<i64> = keys.into_iter().collect();
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let query = sqlx::query(schema.sql(sql!("dag_run/by_key"))).bind(Vec::from_iter(keys));
    let rows = query.fetch_all(connection).await.map_err(storage_error)?;
    rows.iter().map(|row| read_run(row).map(|run| (run.id.0, Arc::new(run)))).collect()
}

/// From which runs a list starts: the first five parameters of its statements. The keys of DAGs are values, not a part of the
/// statement, so that plans know how many runs each of them has.
#[derive(Debug, Clone)]
pub(crate) struct RunFilter {
    dag: Option<i32>,
    dags: Option<Vec<i32>>,
    run_ids: Option<Vec<String>>,
    logical_date: Range<DateTime<Utc>>,
}

impl RunFilter {
    /// The filter, or `None` where no run can pass.
    pub(crate) async fn find(
        connection: &mut PgConnection,
        schema: &Schema,
        dag_ids: Option<&BTreeSet<DagId>>,
        readable: Option<&BTreeSet<DagId>>,
        run_ids: Option<Vec<String>>,
        logical_date: Range<DateTime<Utc>>,
    ) -> Result<Option<Self>> {
        if run_ids.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let mut filter = Self { dag: None, dags: None, run_ids, logical_date };
        let names: Vec<&str> = match (dag_ids, readable) {
            (None, None) => return Ok(Some(filter)),
            (Some(ids), None) | (None, Some(ids)) => ids.iter().map(DagId::as_str).collect(),
            (Some(ids), Some(readable)) => ids.intersection(readable).map(DagId::as_str).collect(),
        };
        let names: Vec<&str> = names.into_iter().filter(|name| is_storable(name)).collect();
        let query = sqlx::query_scalar(schema.sql(sql!("dag_run/dags"))).bind(names);
        let keys: Vec<i32> = query.fetch_all(connection).await.map_err(storage_error)?;
        match keys.as_slice() {
            [] => return Ok(None),
            [key] => filter.dag = Some(*key),
            _ => filter.dags = Some(keys),
        }
        Ok(Some(filter))
    }

    pub(crate) fn bind<'q>(&'q self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
        let query = query.bind(self.dag).bind(self.dags.as_deref()).bind(self.run_ids.as_deref());
        bind_range(query, self.logical_date)
    }
}

/// Binds the bounds of a range.
pub(crate) fn bind_range<'q>(
    query: Query<'q, Postgres, PgArguments>,
    range: Range<DateTime<Utc>>,
) -> Query<'q, Postgres, PgArguments> {
    query.bind(range.at_least).bind(range.at_most)
}

/// The order of a list of runs, as SQL has it: up, then down. Equal runs keep the order of their creation.
pub(crate) fn order(field: RunOrder) -> [&'static str; 2] {
    match field {
        RunOrder::DagId => ["d.dag_id, r.id", "d.dag_id DESC, r.id"],
        RunOrder::RunId => ["r.run_id, r.id", "r.run_id DESC, r.id"],
        RunOrder::LogicalDate => ["r.logical_date, r.id", "r.logical_date DESC, r.id"],
        RunOrder::StartDate => ["r.start_date, r.id", "r.start_date DESC, r.id"],
        RunOrder::EndDate => ["r.end_date, r.id", "r.end_date DESC, r.id"],
        // By name: failed, queued, running, success.
        RunOrder::State => ["(ARRAY[1, 2, 3, 0])[r.state + 1], r.id", "(ARRAY[1, 2, 3, 0])[r.state + 1] DESC, r.id"],
        RunOrder::UpdatedAt => ["r.updated_at, r.id", "r.updated_at DESC, r.id"],
        RunOrder::ExternalTrigger => ["r.external_trigger, r.id", "r.external_trigger DESC, r.id"],
        // Runs without a conf come first.
        RunOrder::Conf => [
            r#"r.conf::text LIKE '{_%}', r.conf::text COLLATE "C", r.id"#,
            r#"r.conf::text LIKE '{_%}' DESC, r.conf::text COLLATE "C" DESC, r.id"#,
        ],
        // By name: backfill, dataset_triggered, manual, scheduled.
        RunOrder::RunType => {
            ["(ARRAY[0, 3, 2, 1])[r.run_type + 1], r.id", "(ARRAY[0, 3, 2, 1])[r.run_type + 1] DESC, r.id"]
        }
        RunOrder::QueuedAt => ["r.queued_at, r.id", "r.queued_at DESC, r.id"],
        RunOrder::DataIntervalStart => ["r.data_interval_start, r.id", "r.data_interval_start DESC, r.id"],
        RunOrder::DataIntervalEnd => ["r.data_interval_end, r.id", "r.data_interval_end DESC, r.id"],
        RunOrder::LastSchedulingDecision => {
            ["r.last_scheduling_decision, r.id", "r.last_scheduling_decision DESC, r.id"]
        }
        _ => ["r.id", "r.id DESC"],
    }
}

fn bind_run_query<'q>(
    query: &RunQuery,
    filter: &'q RunFilter,
    statement: Query<'q, Postgres, PgArguments>,
) -> Query<'q, Postgres, PgArguments> {
    let states: Option<Vec<i16>> =
        query.states.as_ref().map(|states| states.iter().map(|state| run_state_code(*state)).collect());
    let types: Option<Vec<i16>> =
        query.run_types.as_ref().map(|types| types.iter().map(|kind| run_type_code(*kind)).collect());
    let mut statement = filter.bind(statement).bind(states).bind(types);
    for range in [query.start_date, query.end_date, query.updated_at] {
        statement = bind_range(statement, range);
    }
    statement
}

#[async_trait]
impl RunStorage for PostgresStorage {
    async fn create_runs(&self, now: DateTime<Utc>, runs: Vec<NewRun>) -> Result<Vec<Result<DagRun>>> {
        self.create(now, runs).await
    }

    async fn dag_run(&self, dag_id: &str, run_id: &str) -> Result<DagRun> {
        let not_found = || StorageError::NotFound(Subject::DagRun(dag_id.into(), run_id.into()));
        if !is_storable(dag_id) || !is_storable(run_id) {
            return Err(not_found());
        }
        let query = sqlx::query(self.inner.schema.sql(sql!("dag_run/by_id"))).bind(dag_id).bind(run_id);
        let row = query.fetch_optional(&self.inner.clients).await.map_err(storage_error)?;
        read_run(&row.ok_or_else(not_found)?)
    }

    async fn dag_runs(&self, query: &RunQuery) -> Result<Page<DagRun>> {
        let schema = &self.inner.schema;
        let mut tx = self.snapshot().await?;
        let (dags, readable) = (query.dag_ids.as_ref(), query.readable.as_deref());
        let run_ids = texts(query.run_ids.as_ref());
        let filter = RunFilter::find(&mut tx, schema, dags, readable, run_ids, query.logical_date).await?;
        let Some(filter) = filter else {
            return Ok(Page { items: Vec::new(), total: 0 });
        };
        let statement = sqlx::query(schema.sql(sql!("dag_run/count")));
        let row = bind_run_query(query, &filter, statement).fetch_one(&mut *tx).await.map_err(storage_error)?;
        let count = row.try_get(0).map_err(storage_error)?;
        let OrderBy { field, descending } =
            query.order_by.unwrap_or(OrderBy { field: RunOrder::Id, descending: false });
        let (limit, offset) = limit_and_offset(query.page);
        let statement = sqlx::query(schema.ordered(sql!("dag_run/page"), order(field)[usize::from(descending)]));
        let statement = bind_run_query(query, &filter, statement).bind(limit).bind(offset);
        let rows = statement.fetch_all(&mut *tx).await.map_err(storage_error)?;
        tx.commit().await.map_err(storage_error)?;
        Ok(Page { items: rows.iter().map(read_run).collect::<Result<_>>()?, total: total(count) })
    }

    async fn latest_runs(&self, readable: Option<Arc<BTreeSet<DagId>>>) -> Result<Vec<DagRun>> {
        let readable: Option<Vec<&str>> =
            readable.as_ref().map(|ids| ids.iter().map(DagId::as_str).filter(|id| is_storable(id)).collect());
        let query = sqlx::query(self.inner.schema.sql(sql!("dag_run/latest"))).bind(readable);
        let rows = query.fetch_all(&self.inner.clients).await.map_err(storage_error)?;
        rows.iter().map(read_run).collect()
    }

    async fn amend_runs(
        &self,
        now: DateTime<Utc>,
        amendments: Vec<Amendment>,
        audit: Option<AuditEntry>,
    ) -> Result<Vec<(DagRun, Vec<InstanceKey>)>> {
        self.amend(now, amendments, audit).await
    }

    async fn set_run_note(
        &self,
        now: DateTime<Utc>,
        run: RunId,
        note: Option<Note>,
        audit: Option<AuditEntry>,
    ) -> Result<DagRun> {
        let schema = &self.inner.schema;
        let (content, user) = note.map(|note| (note.content, note.user)).unzip();
        let mut tx = self.begin().await?;
        let query = sqlx::query(schema.sql(sql!("dag_run/set_note"))).bind(run.0).bind(content).bind(user.flatten());
        let row = query.fetch_optional(&mut *tx).await.map_err(storage_error)?;
        let run = read_run(&row.ok_or(StorageError::NotFound(Subject::DagRunKey(run)))?)?;
        write_audit(&mut tx, schema, Some(now), audit).await?;
        tx.commit().await.map_err(storage_error)?;
        Ok(run)
    }

    async fn delete_run(&self, run: RunId, audit: Option<AuditEntry>) -> Result<()> {
        self.delete(run, audit).await
    }
}
