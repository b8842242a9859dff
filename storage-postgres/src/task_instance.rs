//! Task instances, as clients see them, and what live attempts say of themselves.
//!
//! Lists start from what is few. The total and the page of a list are found in one of five ways, by what is asked for:
//!
//! - nothing but runs and tasks: the total is the number of runs of each version times that of its tasks; the page is found
//!   by walking runs up to it;
//! - states: runs that have ended know how many of their instances are in each state, in others they are counted; the page
//!   is found by walking runs, and only those with a part of it are opened;
//! - states of instances with a live attempt, and anything else: from the attempts, by one statement;
//! - some tasks, and anything else: the instances of these tasks are counted, each found by its key;
//! - anything else is counted: what is stored, and what live attempts make different of it.
//!
//! A page in the second half of a list is walked to from its end. Lists of one run are a way of their own, of one statement
//! that is planned once, and so is the beginning of all instances of one DAG; else those of one DAG have their first two ways
//! planned once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row, SqlStr};
use updraft_core::id::{AttemptToken, DagId, InstanceKey, RunId, TaskIx};
use updraft_core::model::{AuditEntry, DagRun, Note, TaskInstance, TaskInstanceTry, TaskState};
use updraft_core::storage::{
    Page, PageRequest, Range, Result, StorageError, Subject, TaskInstanceQuery, TaskInstanceStorage,
};

use crate::PostgresStorage;
use crate::audit::write_audit;
use crate::code::{int, task_state, task_state_code, unsigned};
use crate::dag_run::{
    RUN_COLUMNS, RunFilter, Statement, bind_range, is_storable, one_dag, read_note, read_run, runs_by_key, texts,
};
use crate::error::{storage_error, unreadable};
use crate::page::{NEAR, Side, limit_and_offset, total};
use crate::sql::{RUNS_OF_DAG, Schema, sql};
use crate::version::Version;

/// States in which an instance has a live attempt, be it an obsolete one.
const LIVE: [TaskState; 3] = [TaskState::Queued, TaskState::Running, TaskState::Restarting];

/// How the total and the page of a list are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Tasks,
    States,
    Live,
    OfTasks,
    Any,
}

impl Way {
    fn of(query: &TaskInstanceQuery) -> Self {
        let by_task =
            query.task_ids.is_some() || query.pools.is_some() || query.queues.is_some() || query.executors.is_some();
        let by_values = asks_for_values(query);
        match &query.states {
            None if !by_values => Self::Tasks,
            Some(states) if states.iter().all(|state| LIVE.contains(state)) => Self::Live,
            Some(_) if !by_task && !by_values => Self::States,
            _ if by_task => Self::OfTasks,
            _ => Self::Any,
        }
    }
}

/// Whether instances are asked for by what only they themselves tell.
fn asks_for_values(query: &TaskInstanceQuery) -> bool {
    let is_range = |range: &Range<DateTime<Utc>>| *range != Range::default();
    query.map_indexes.is_some()
        || is_range(&query.start_date)
        || is_range(&query.end_date)
        || is_range(&query.updated_at)
        || query.duration != Range::default()
}

fn task_filters(query: &TaskInstanceQuery) -> [Option<Vec<String>>; 4] {
    [&query.task_ids, &query.pools, &query.queues, &query.executors].map(|filter| texts(filter.as_ref()))
}

fn state_codes(query: &TaskInstanceQuery) -> Option<Vec<i16>> {
    let states = query.states.as_ref()?;
    Some(states.iter().map(|state| task_state_code(*state)).collect())
}

/// A query, as its statements take it.
#[derive(Debug)]
struct Filter {
    runs: RunFilter,
    tasks: [Option<Vec<String>>; 4],
    map_indexes: Option<Vec<i32>>,
    states: Option<Vec<i16>>,
    dates: [Range<DateTime<Utc>>; 3],
    duration: Range<f64>,
}

impl Filter {
    fn new(query: &TaskInstanceQuery, runs: RunFilter) -> Self {
        Self {
            runs,
            tasks: task_filters(query),
            map_indexes: query.map_indexes.as_ref().map(|indexes| indexes.iter().copied().collect()),
            states: state_codes(query),
            dates: [query.start_date, query.end_date, query.updated_at],
            duration: query.duration,
        }
    }

    /// Binds the parameters of the statements of this way, but for limit and offset.
    fn bind<'q>(&'q self, way: Way, statement: SqlStr) -> Statement<'q> {
        let statement = self.bind_tasks(self.runs.bind(sqlx::query(statement)));
        match way {
            Way::Tasks => statement,
            Way::States => statement.bind(self.states.as_deref()),
            Way::Live | Way::OfTasks | Way::Any => {
                let statement = statement.bind(self.states.as_deref()).bind(self.map_indexes.as_deref());
                let statement = self.dates.iter().fold(statement, |statement, range| bind_range(statement, *range));
                statement.bind(self.duration.at_least).bind(self.duration.at_most)
            }
        }
    }

    fn bind_tasks<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        self.tasks.iter().fold(statement, |statement, filter| statement.bind(filter.as_deref()))
    }

    async fn total(&self, connection: &mut PgConnection, schema: &Schema, way: Way) -> Result<u64> {
        let statement = match way {
            Way::Tasks => sql!("task_instance/total_by_tasks"),
            Way::States => sql!("task_instance/total_by_states"),
            // Live ones have a statement of their own, which tells the same.
            Way::OfTasks | Way::Live => sql!("task_instance/count_of_tasks"),
            Way::Any => sql!("task_instance/count"),
        };
        let runs = if self.is_planned(way) { &[RUNS_OF_DAG] as &[_] } else { &[] };
        let statement = self.bind(way, schema.with(statement, runs));
        let row = statement.fetch_one(connection).await.map_err(storage_error)?;
        row.try_get(0).map(total).map_err(storage_error)
    }

    /// Whether the statements are planned once.
    fn is_planned(&self, way: Way) -> bool {
        matches!(way, Way::Tasks | Way::States) && self.runs.is_dag()
    }

    async fn page(&self, connection: &mut PgConnection, schema: &Schema, way: Way, side: Side) -> Result<Vec<PgRow>> {
        let statement = match way {
            Way::Tasks => sql!("task_instance/runs_by_tasks"),
            Way::States => sql!("task_instance/runs_by_states"),
            Way::OfTasks | Way::Live => sql!("task_instance/page_of_tasks"),
            Way::Any => sql!("task_instance/page"),
        };
        let parts = [side.down(), RUNS_OF_DAG];
        let parts = if self.is_planned(way) { &parts[..] } else { &parts[..1] };
        let statement = self.bind(way, schema.with(statement, parts));
        if !matches!(way, Way::Tasks | Way::States) {
            let statement = statement.bind(side.limit).bind(side.offset);
            return statement.fetch_all(connection).await.map_err(storage_error);
        }
        let statement = statement.bind(side.end()).bind(side.offset);
        let rows = statement.fetch_all(&mut *connection).await.map_err(storage_error)?;
        let (mut runs, mut skipped, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for row in &rows {
            let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
            let (run, count, before): (i64, i64, i64) = read().map_err(storage_error)?;
            let (from, to) = ((side.offset - before).max(0), (side.end() - before).min(count));
            runs.push(run);
            skipped.push(if side.from_end { count - to } else { from });
            taken.push(to - from);
        }
        if runs.is_empty() {
            return Ok(rows);
        }
        let statement = sqlx::query(schema.sql(sql!("task_instance/of_runs"))).bind(runs).bind(skipped).bind(taken);
        let statement = self.bind_tasks(statement.bind(self.states.as_deref()));
        statement.fetch_all(connection).await.map_err(storage_error)
    }
}

fn read_key(row: &PgRow, first: usize) -> sqlx::Result<InstanceKey> {
    let task = TaskIx(unsigned(row.try_get::<i32, _>(first)?));
    Ok(InstanceKey { task, map_index: row.try_get(first + 1)? })
}

/// Reads an instance from columns that follow each other: `run`, `task`, `map_index`, `state`, `is_branched_off`,
/// `try_number`, `max_tries`, `queued_when`, `start_date`, `end_date`, `due_at`, `hostname`, `unixname`, `pid`, `note`,
/// `note_user` and `rendered_fields`.
fn read_instance(row: &PgRow, first: usize, run: &Arc<DagRun>, version: &Version) -> Result<TaskInstance> {
    let at = |column: usize| first + column;
    let read = || {
        let fields: Option<Json<Value>> = row.try_get(at(16))?;
        let instance = TaskInstance {
            run: Arc::clone(run),
            dag: Arc::clone(&version.view.dag),
            key: read_key(row, at(1))?,
            state: TaskState::None,
            is_branched_off: row.try_get(at(4))?,
            try_number: unsigned(row.try_get::<i32, _>(at(5))?),
            max_tries: unsigned(row.try_get::<i64, _>(at(6))?),
            queued_when: row.try_get(at(7))?,
            start_date: row.try_get(at(8))?,
            end_date: row.try_get(at(9))?,
            due_at: row.try_get(at(10))?,
            hostname: row.try_get(at(11))?,
            unixname: row.try_get(at(12))?,
            pid: read_pid(row.try_get(at(13))?),
            note: read_note(row.try_get(at(14))?, row.try_get(at(15))?),
            rendered_fields: fields.map_or_else(|| Value::Object(Map::new()), |Json(fields)| fields),
            rendered_map_index: None,
        };
        Ok((row.try_get(at(3))?, instance))
    };
    let (state, instance) = read().map_err(storage_error)?;
    Ok(TaskInstance { state: task_state(state)?, ..instance })
}

fn read_pid(pid: Option<i32>) -> Option<u32> {
    pid.and_then(|pid| u32::try_from(pid).ok())
}

fn read_try(row: &PgRow) -> Result<TaskInstanceTry> {
    let read = || {
        let one = TaskInstanceTry {
            try_number: unsigned(row.try_get::<i32, _>("try_number")?),
            state: TaskState::None,
            max_tries: unsigned(row.try_get::<i64, _>("max_tries")?),
            start_date: row.try_get("start_date")?,
            end_date: row.try_get("end_date")?,
            is_branched_off: row.try_get("is_branched_off")?,
            queued_when: row.try_get("queued_when")?,
            hostname: row.try_get("hostname")?,
            unixname: row.try_get("unixname")?,
            pid: read_pid(row.try_get("pid")?),
        };
        Ok((row.try_get("state")?, one))
    };
    let (state, one) = read().map_err(storage_error)?;
    // Passed, but not in the history before the next begins.
    let state = match task_state(state)? {
        TaskState::UpForRetry => TaskState::Failed,
        state => state,
    };
    Ok(TaskInstanceTry { state, ..one })
}

impl PostgresStorage {
    /// A page of one run.
    async fn instances_of_run(
        &self,
        dag_id: &DagId,
        run_id: &str,
        query: &TaskInstanceQuery,
    ) -> Result<Page<TaskInstance>> {
        if !is_storable(run_id) {
            return Ok(Page { items: Vec::new(), total: 0 });
        }
        let tasks = task_filters(query);
        let states = state_codes(query);
        let (limit, offset) = limit_and_offset(query.page);
        let is_whole = states.is_none() && tasks.iter().all(Option::is_none);
        let statement = || {
            let text = if is_whole { sql!("task_instance/of_run") } else { sql!("task_instance/chosen_of_run") };
            let statement = sqlx::query(self.inner.schema.sql(text)).bind(dag_id.as_str()).bind(run_id).bind(limit);
            if is_whole {
                return statement.bind(offset);
            }
            let statement = statement.bind(states.clone());
            tasks.iter().fold(statement, |statement, filter| statement.bind(filter.clone())).bind(offset)
        };
        let rows = self.inner.readers.all(statement).await.map_err(storage_error)?;
        self.read_with_runs(&rows).await
    }

    /// A page near the beginning of all instances of a DAG.
    async fn instances_of_dag(&self, dag_id: &DagId, page: PageRequest) -> Result<Page<TaskInstance>> {
        let (limit, offset) = limit_and_offset(page);
        let statement = || {
            let statement = sqlx::query(self.inner.schema.sql(sql!("task_instance/of_dag")));
            statement.bind(dag_id.as_str()).bind(offset.saturating_add(limit)).bind(offset)
        };
        let rows = self.inner.readers.all(statement).await.map_err(storage_error)?;
        self.read_with_runs(&rows).await
    }

    /// A page of instances with a live attempt; these are few, and read wholly whatever is asked for.
    async fn live_instances(&self, query: &TaskInstanceQuery) -> Result<Page<TaskInstance>> {
        let Self { inner } = self;
        let mut connection = inner.clients.acquire().await.map_err(storage_error)?;
        let (dags, readable) = (query.dag_ids.as_ref(), query.readable.as_deref());
        let run_ids = texts(query.run_ids.as_ref());
        // The keys of DAGs never change: what is read by them may see a later moment.
        let runs = RunFilter::find(&mut connection, &inner.schema, dags, readable, run_ids, query.logical_date).await?;
        drop(connection);
        let Some(runs) = runs else { return Ok(Page { items: Vec::new(), total: 0 }) };
        let filter = Filter::new(query, runs);
        let (limit, offset) = limit_and_offset(query.page);
        let statement = || {
            let statement = filter.bind(Way::Live, inner.schema.sql(sql!("task_instance/live")));
            statement.bind(limit).bind(offset)
        };
        let rows = inner.readers.all(statement).await.map_err(storage_error)?;
        self.read_with_runs(&rows).await
    }

    /// Reads rows that begin with the columns of the run, where they are the first of a run; those of the instance follow, and
    /// the total. If the page has no instances, there is one row, or none.
    async fn read_with_runs(&self, rows: &[PgRow]) -> Result<Page<TaskInstance>> {
        let Self { inner } = self;
        let mut page = Page { items: Vec::with_capacity(rows.len()), total: 0 };
        let mut of: Option<(Arc<DagRun>, Arc<Version>)> = None;
        for row in rows {
            page.total = row.try_get("total").map(total).map_err(storage_error)?;
            if row.try_get::<Option<i64>, _>(0).map_err(storage_error)?.is_some() {
                let run = Arc::new(read_run(row)?);
                let version = inner.versions.one(&inner.clients, &inner.schema, run.dag_version).await?;
                of = Some((run, version));
            }
            let Some((run, version)) = &of else { continue };
            page.items.push(read_instance(row, RUN_COLUMNS, run, version)?);
        }
        Ok(page)
    }

    async fn views(&self, connection: &mut PgConnection, rows: &[PgRow]) -> Result<Vec<TaskInstance>> {
        let schema = &self.inner.schema;
        let keys: Vec<i64> =
            rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>().map_err(storage_error)?;
        let runs = runs_by_key(connection, schema, keys.iter().copied()).await?;
        let ids: BTreeSet<i64> = runs.values().map(|run| run.dag_version.0).collect();
        let versions: BTreeMap<i64, Arc<Version>> = self.inner.versions.get(connection, schema, ids).await?;
        let views = keys.iter().zip(rows).map(|(key, row)| {
            let run = runs.get(key).ok_or_else(|| unreadable(format!("the run {key} has instances but no row")))?;
            let version = versions.get(&run.dag_version.0);
            let version = version.ok_or_else(|| unreadable(format!("the run {key} has no version")))?;
            read_instance(row, 0, run, version)
        });
        views.collect()
    }

    /// Runs a statement on an attempt, which does nothing unless the attempt is live and not obsolete.
    pub(crate) async fn write_of_attempt(&self, statement: Statement<'_>) -> Result<()> {
        let done = statement.execute(&self.inner.clients).await.map_err(storage_error)?;
        if done.rows_affected() == 0 { Err(StorageError::Fenced) } else { Ok(()) }
    }
}

#[async_trait]
impl TaskInstanceStorage for PostgresStorage {
    async fn task_instance(&self, dag_id: &str, run_id: &str, task_id: &str, map_index: i32) -> Result<TaskInstance> {
        let Self { inner } = self;
        let no_run = || StorageError::NotFound(Subject::DagRun(dag_id.into(), run_id.into()));
        let not_found =
            || StorageError::NotFound(Subject::TaskInstance(dag_id.into(), run_id.into(), task_id.into(), map_index));
        if !is_storable(dag_id) || !is_storable(run_id) {
            return Err(no_run());
        }
        let statement = || {
            sqlx::query(inner.schema.sql(sql!("task_instance/by_id")))
                .bind(dag_id)
                .bind(run_id)
                .bind(Some(task_id).filter(|task_id| is_storable(task_id)))
                .bind(map_index)
        };
        let row = inner.readers.optional(statement).await.map_err(storage_error)?.ok_or_else(no_run)?;
        if row.try_get::<Option<i64>, _>("run").map_err(storage_error)?.is_none() {
            return Err(not_found());
        }
        let run = Arc::new(read_run(&row)?);
        let version = inner.versions.one(&inner.clients, &inner.schema, run.dag_version).await?;
        read_instance(&row, RUN_COLUMNS, &run, &version)
    }

    async fn task_instances(&self, query: &TaskInstanceQuery) -> Result<Page<TaskInstance>> {
        let schema = &self.inner.schema;
        let mut page = Page { items: Vec::new(), total: 0 };
        if [query.duration.at_least, query.duration.at_most].into_iter().flatten().any(f64::is_nan) {
            return Ok(page);
        }
        let (dags, readable) = (query.dag_ids.as_ref(), query.readable.as_deref());
        let one_dag = one_dag(dags, readable).filter(|_| query.logical_date == Range::default());
        let one_run = query.run_ids.as_ref().filter(|ids| ids.len() == 1).and_then(BTreeSet::first);
        if let (Some(dag_id), Some(run_id), false) = (one_dag, one_run, asks_for_values(query)) {
            return self.instances_of_run(dag_id, run_id, query).await;
        }
        if let (Some(dag_id), None, Way::Tasks) = (one_dag, &query.run_ids, Way::of(query))
            && task_filters(query).iter().all(Option::is_none)
            && query.page.offset < NEAR
        {
            return self.instances_of_dag(dag_id, query.page).await;
        }
        let way = Way::of(query);
        if way == Way::Live {
            return self.live_instances(query).await;
        }
        let is_planned = matches!(way, Way::Tasks | Way::States) && one_dag.is_some() && query.run_ids.is_none();
        let mut tx = if is_planned { self.planned_snapshot().await? } else { self.snapshot().await? };
        let run_ids = texts(query.run_ids.as_ref());
        let runs = RunFilter::find(&mut tx, schema, dags, readable, run_ids, query.logical_date).await?;
        let Some(runs) = runs else {
            return Ok(page);
        };
        let filter = Filter::new(query, runs);
        page.total = filter.total(&mut tx, schema, way).await?;
        if page.total > 0 {
            let rows = filter.page(&mut tx, schema, way, Side::of(query.page, page.total)).await?;
            page.items = self.views(&mut tx, &rows).await?;
        }
        tx.commit().await.map_err(storage_error)?;
        Ok(page)
    }

    async fn instance_states(&self, places: &[(RunId, InstanceKey)]) -> Result<Vec<Option<TaskState>>> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let query = sqlx::query_scalar(self.inner.schema.sql(sql!("task_instance/states")))
            .bind(places.iter().map(|(run, _)| run.0).collect::<Vec<_>>())
            .bind(places.iter().map(|(_, key)| int(key.task.0)).collect::<Vec<_>>())
            .bind(places.iter().map(|(_, key)| key.map_index).collect::<Vec<_>>());
        let states: Vec<Option<i16>> = query.fetch_all(&self.inner.clients).await.map_err(storage_error)?;
        states.into_iter().map(|state| state.map(task_state).transpose()).collect()
    }

    async fn tries(&self, run: RunId, key: InstanceKey) -> Result<Vec<TaskInstanceTry>> {
        let query = sqlx::query(self.inner.schema.sql(sql!("task_instance/tries")))
            .bind(run.0)
            .bind(int(key.task.0))
            .bind(key.map_index);
        let rows = query.fetch_all(&self.inner.clients).await.map_err(storage_error)?;
        rows.iter().map(read_try).collect()
    }

    async fn set_task_instance_note(
        &self,
        now: DateTime<Utc>,
        run: RunId,
        key: InstanceKey,
        note: Option<Note>,
        audit: Option<AuditEntry>,
    ) -> Result<()> {
        let schema = &self.inner.schema;
        let place = (run.0, int(key.task.0), key.map_index);
        let mut tx = self.begin().await?;
        let query = sqlx::query(schema.sql(sql!("task_instance/names"))).bind(place.0).bind(place.1).bind(place.2);
        let row = query.fetch_optional(&mut *tx).await.map_err(storage_error)?;
        let row = row.ok_or(StorageError::NotFound(Subject::DagRunKey(run)))?;
        let names = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
        let (dag_id, run_id, task_id, exists): (_, _, Option<String>, bool) = names().map_err(storage_error)?;
        if !exists {
            let task_id = task_id.unwrap_or_else(|| key.task.to_string());
            return Err(StorageError::NotFound(Subject::TaskInstance(dag_id, run_id, task_id, key.map_index)));
        }
        let query = match note {
            Some(note) => sqlx::query(schema.sql(sql!("task_instance/set_note")))
                .bind(place.0)
                .bind(place.1)
                .bind(place.2)
                .bind(note.content)
                .bind(note.user),
            None => {
                sqlx::query(schema.sql(sql!("task_instance/remove_note"))).bind(place.0).bind(place.1).bind(place.2)
            }
        };
        query.execute(&mut *tx).await.map_err(storage_error)?;
        write_audit(&mut tx, schema, Some(now), audit).await?;
        tx.commit().await.map_err(storage_error)
    }

    async fn set_process(&self, token: AttemptToken, pid: u32) -> Result<()> {
        let statement = sqlx::query(self.inner.schema.sql(sql!("task_instance/set_process")));
        self.write_of_attempt(statement.bind(token.0).bind(int(pid))).await
    }

    async fn set_rendered_fields(&self, token: AttemptToken, fields: Value) -> Result<()> {
        let statement = sqlx::query(self.inner.schema.sql(sql!("task_instance/set_rendered_fields")));
        self.write_of_attempt(statement.bind(token.0).bind(fields.to_string())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_follows_from_what_is_asked_for() {
        let query = TaskInstanceQuery::default;
        let texts = || Some(["a".to_owned()].into());
        let states = |state| Some([state].into());
        let dates = Range { at_least: DateTime::from_timestamp(0, 0), at_most: None };
        for (query, way) in [
            (query(), Way::Tasks),
            (TaskInstanceQuery { task_ids: texts(), run_ids: texts(), ..query() }, Way::Tasks),
            (TaskInstanceQuery { states: states(TaskState::Failed), run_ids: texts(), ..query() }, Way::States),
            (TaskInstanceQuery { states: states(TaskState::Running), pools: texts(), ..query() }, Way::Live),
            (TaskInstanceQuery { states: states(TaskState::Failed), pools: texts(), ..query() }, Way::OfTasks),
            (TaskInstanceQuery { start_date: dates, task_ids: texts(), ..query() }, Way::OfTasks),
            (TaskInstanceQuery { start_date: dates, states: states(TaskState::Failed), ..query() }, Way::Any),
            (TaskInstanceQuery { map_indexes: Some([-1].into()), ..query() }, Way::Any),
        ] {
            assert_eq!(Way::of(&query), way, "{query:?}");
        }
    }
}
