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
use updraft_core::model::{AuditEntry, DagRun, Note, RunState};
use updraft_core::storage::{
    Amendment, NewRun, Page, PageRequest, Range, Result, RunOrder, RunQuery, RunStorage, StorageError, Subject,
};
use uuid::Uuid;

use crate::PostgresStorage;
use crate::audit::write_audit;
use crate::code::{run_state, run_state_code, run_type, run_type_code, unsigned};
use crate::error::storage_error;
use crate::page::{NEAR, Side, Walk, Walks, limit_and_offset, total};
use crate::sql::{ALL_OF_DAG, Schema, sql};

pub(crate) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// How many columns `/* run */` stands for.
pub(crate) const RUN_COLUMNS: usize = 22;

/// Reads a run from the first columns, which are those of `/* run */`. By their places: a look-up of each name would take
/// longer than all else here.
pub(crate) fn read_run(row: &PgRow) -> Result<DagRun> {
    let read = || -> sqlx::Result<(i16, i16, DagRun)> {
        let Json(conf) = row.try_get(12)?;
        let run = DagRun {
            id: RunId(row.try_get(0)?),
            uid: row.try_get(21)?,
            dag_id: DagId::from(row.try_get::<&str, _>(1)?),
            run_id: row.try_get(2)?,
            run_type: updraft_core::model::RunType::Manual,
            state: updraft_core::model::RunState::Queued,
            logical_date: row.try_get(5)?,
            data_interval_start: row.try_get(6)?,
            data_interval_end: row.try_get(7)?,
            queued_at: row.try_get(8)?,
            start_date: row.try_get(9)?,
            end_date: row.try_get(10)?,
            external_trigger: row.try_get(11)?,
            conf,
            note: read_note(row.try_get(13)?, row.try_get(14)?),
            last_scheduling_decision: row.try_get(15)?,
            dag_version: DagVersionId(row.try_get(16)?),
            clear_number: unsigned(row.try_get::<i32, _>(17)?),
            version: u64::try_from(row.try_get::<i64, _>(18)?).unwrap_or(0),
            owner: row.try_get::<Option<i64>, _>(19)?.map(SchedulerId),
            updated_at: row.try_get(20)?,
        };
        Ok((row.try_get(3)?, row.try_get(4)?, run))
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

    /// Whether the statements that go by the index of the runs of a DAG serve.
    pub(crate) fn is_dag(&self) -> bool {
        self.dag.is_some() && self.run_ids.is_none() && self.logical_date == Range::default()
    }

    pub(crate) fn bind<'q>(&'q self, query: Statement<'q>) -> Statement<'q> {
        let query = query.bind(self.dag).bind(self.dags.as_deref()).bind(self.run_ids.as_deref());
        bind_range(query, self.logical_date)
    }
}

/// Binds the bounds of a range.
pub(crate) fn bind_range<'q>(query: Statement<'q>, range: Range<DateTime<Utc>>) -> Statement<'q> {
    query.bind(range.at_least).bind(range.at_most)
}

/// Orders of `dag_run/page`.
pub(crate) const ORDERS: &Walks<RunOrder> = &[
    (RunOrder::Id, &["r.id"]),
    (RunOrder::DagId, &["d.dag_id"]),
    (RunOrder::RunId, &["r.run_id"]),
    (RunOrder::LogicalDate, &["r.logical_date"]),
    (RunOrder::StartDate, &["r.start_date"]),
    (RunOrder::EndDate, &["r.end_date"]),
    // By name: failed, queued, running, success.
    (RunOrder::State, &["(ARRAY[1, 2, 3, 0])[r.state + 1]"]),
    (RunOrder::UpdatedAt, &["r.updated_at"]),
    (RunOrder::ExternalTrigger, &["r.external_trigger"]),
    // Runs without a conf come first.
    (RunOrder::Conf, &["r.conf::text LIKE '{_%}'", r#"r.conf::text COLLATE "C""#]),
    // By name: backfill, dataset_triggered, manual, scheduled.
    (RunOrder::RunType, &["(ARRAY[0, 3, 2, 1])[r.run_type + 1]"]),
    (RunOrder::QueuedAt, &["r.queued_at"]),
    (RunOrder::DataIntervalStart, &["r.data_interval_start"]),
    (RunOrder::DataIntervalEnd, &["r.data_interval_end"]),
    (RunOrder::LastSchedulingDecision, &["r.last_scheduling_decision"]),
];

/// The order of runs that are equal otherwise: that of their creation.
pub(crate) const LAST: &str = "r.id";

/// The only DAG that is asked for, if there is one and it may be seen.
pub(crate) fn one_dag<'q>(
    dag_ids: Option<&'q BTreeSet<DagId>>,
    readable: Option<&BTreeSet<DagId>>,
) -> Option<&'q DagId> {
    let ids = dag_ids.filter(|ids| ids.len() == 1)?;
    let id = ids.first()?;
    let may = readable.is_none_or(|readable| readable.contains(id));
    Some(id).filter(|id| may && is_storable(id.as_str()))
}

/// Binds what runs are asked for by: eight parameters.
fn bind_values<'q>(query: &RunQuery, statement: Statement<'q>) -> Statement<'q> {
    let states: Option<Vec<i16>> =
        query.states.as_ref().map(|states| states.iter().map(|state| run_state_code(*state)).collect());
    let types: Option<Vec<i16>> =
        query.run_types.as_ref().map(|types| types.iter().map(|kind| run_type_code(*kind)).collect());
    let statement = statement.bind(states).bind(types);
    [query.start_date, query.end_date, query.updated_at].into_iter().fold(statement, bind_range)
}

impl PostgresStorage {
    async fn runs_of_dag(&self, dag_id: &DagId, query: &RunQuery) -> Result<Page<DagRun>> {
        let Self { inner } = self;
        let walk = Walk::new(ORDERS, LAST, query.order_by);
        let run_ids = texts(query.run_ids.as_ref());
        let (limit, offset) = limit_and_offset(query.page);
        let is_filtered = is_filtered(query);
        let statement = || {
            let order = walk.order();
            let parts = [("order", order.as_str()), ALL_OF_DAG];
            let parts = if is_filtered { &parts[..1] } else { &parts[..] };
            let statement = sqlx::query(inner.schema.with(sql!("dag_run/of_dag"), parts));
            let statement = bind_range(statement.bind(dag_id.as_str()).bind(run_ids.clone()), query.logical_date);
            bind_values(query, statement.bind(limit)).bind(offset)
        };
        read_runs(&inner.readers.all(statement).await.map_err(storage_error)?)
    }

    /// A page near the beginning of all runs.
    async fn all_runs(&self, page: PageRequest) -> Result<Page<DagRun>> {
        let (limit, offset) = limit_and_offset(page);
        let statement = || sqlx::query(self.inner.schema.sql(sql!("dag_run/all"))).bind(limit).bind(offset);
        read_runs(&self.inner.readers.all(statement).await.map_err(storage_error)?)
    }
}

/// Whether all runs are asked for, and in the order of their creation.
fn is_all(query: &RunQuery) -> bool {
    query.dag_ids.is_none()
        && query.readable.is_none()
        && query.order_by.is_none_or(|order| order.field == RunOrder::Id && !order.descending)
        && !query.without_total
        && !is_filtered(query)
}

/// Whether runs are asked for by more than their DAG.
fn is_filtered(query: &RunQuery) -> bool {
    query.run_ids.is_some()
        || query.states.is_some()
        || query.run_types.is_some()
        || [query.logical_date, query.start_date, query.end_date, query.updated_at] != [Range::default(); 4]
}

/// Reads rows of a run and the total. If the page has no runs, there is one row, or none.
fn read_runs(rows: &[PgRow]) -> Result<Page<DagRun>> {
    let mut page = Page { items: Vec::with_capacity(rows.len()), total: 0 };
    for row in rows {
        page.total = row.try_get(RUN_COLUMNS).map(total).map_err(storage_error)?;
        if row.try_get::<Option<i64>, _>(0).map_err(storage_error)?.is_some() {
            page.items.push(read_run(row)?);
        }
    }
    Ok(page)
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
        let statement = || sqlx::query(self.inner.schema.sql(sql!("dag_run/by_id"))).bind(dag_id).bind(run_id);
        let row = self.inner.readers.optional(statement).await.map_err(storage_error)?;
        read_run(&row.ok_or_else(not_found)?)
    }

    async fn dag_run_by_uid(&self, uid: Uuid) -> Result<DagRun> {
        let query = sqlx::query(self.inner.schema.sql(sql!("dag_run/by_uid"))).bind(uid);
        let row = query.fetch_optional(&self.inner.clients).await.map_err(storage_error)?;
        read_run(&row.ok_or(StorageError::NotFound(Subject::DagRunUid(uid)))?)
    }

    async fn dag_runs(&self, query: &RunQuery) -> Result<Page<DagRun>> {
        let schema = &self.inner.schema;
        let (dags, readable) = (query.dag_ids.as_ref(), query.readable.as_deref());
        if let Some(dag_id) = one_dag(dags, readable) {
            return self.runs_of_dag(dag_id, query).await;
        }
        if is_all(query) && query.page.offset < NEAR {
            return self.all_runs(query.page).await;
        }
        let mut tx = self.snapshot().await?;
        let run_ids = texts(query.run_ids.as_ref());
        let filter = RunFilter::find(&mut tx, schema, dags, readable, run_ids, query.logical_date).await?;
        let Some(filter) = filter else {
            return Ok(Page { items: Vec::new(), total: 0 });
        };
        let walk = Walk::new(ORDERS, LAST, query.order_by);
        let (total, side) = if query.without_total {
            // It is not known whether the end is nearer.
            (0, Side::of(query.page, u64::MAX))
        } else {
            let statement = filter.bind(sqlx::query(schema.sql(sql!("dag_run/count"))));
            let row = bind_values(query, statement).fetch_one(&mut *tx).await.map_err(storage_error)?;
            let total = row.try_get(0).map(total).map_err(storage_error)?;
            (total, Side::of(query.page, total))
        };
        let statement = filter.bind(sqlx::query(schema.with(sql!("dag_run/page"), &walk.texts(side))));
        let statement = bind_values(query, statement).bind(side.limit).bind(side.offset);
        let rows = statement.fetch_all(&mut *tx).await.map_err(storage_error)?;
        tx.commit().await.map_err(storage_error)?;
        Ok(Page { items: rows.iter().map(read_run).collect::<Result<_>>()?, total })
    }

    async fn count_runs(&self, dag_ids: &BTreeSet<DagId>) -> Result<BTreeMap<DagId, BTreeMap<RunState, u64>>> {
        let names: Vec<&str> = dag_ids.iter().map(DagId::as_str).filter(|name| is_storable(name)).collect();
        let rows: Vec<(String, Option<i16>, Option<i64>)> =
            sqlx::query_as(self.inner.schema.sql(sql!("dag_run/count_by_state")))
                .bind(names)
                .fetch_all(&self.inner.clients)
                .await
                .map_err(storage_error)?;
        let mut counts: BTreeMap<DagId, BTreeMap<RunState, u64>> = BTreeMap::new();
        for (dag_id, state, runs) in rows {
            let of_dag = counts.entry(dag_id.into()).or_default();
            if let (Some(state), Some(runs)) = (state, runs) {
                of_dag.insert(run_state(state)?, total(runs));
            }
        }
        Ok(counts)
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
