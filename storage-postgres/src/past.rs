//! What runs ask of the run before.

use sqlx::Row;
use updraft_core::id::RunId;
use updraft_core::storage::{PastQuery, PastTask, PreviousRun, Result};

use crate::PostgresStorage;
use crate::error::storage_error;
use crate::sql::sql;

impl PostgresStorage {
    pub(crate) async fn read_previous_runs(&self, queries: &[PastQuery]) -> Result<Vec<Option<PreviousRun>>> {
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let mut places = Vec::new();
        let mut tasks: Vec<&str> = Vec::new();
        for (place, query) in (1i64..).zip(queries) {
            places.extend(std::iter::repeat_n(place, query.tasks.len()));
            tasks.extend(query.tasks.iter().map(AsRef::as_ref));
        }
        let rows = sqlx::query(self.inner.schema.sql(sql!("dag_run/previous")))
            .bind(queries.iter().map(|query| query.run.0).collect::<Vec<_>>())
            .bind(queries.iter().map(|query| query.skips_manual).collect::<Vec<_>>())
            .bind(places)
            .bind(tasks)
            .fetch_all(&self.inner.schedulers)
            .await
            .map_err(storage_error)?;
        let mut found: Vec<Option<PreviousRun>> = vec![None; queries.len()];
        for row in &rows {
            read(row, &mut found).map_err(storage_error)?;
        }
        Ok(found)
    }
}

fn read(row: &sqlx::postgres::PgRow, found: &mut [Option<PreviousRun>]) -> Result<(), sqlx::Error> {
    let place = usize::try_from(row.try_get::<i64, _>(0)?).ok().and_then(|place| place.checked_sub(1));
    let Some(entry) = place.and_then(|place| found.get_mut(place)) else { return Ok(()) };
    let (id, logical_date) = (RunId(row.try_get(1)?), row.try_get(2)?);
    let previous = entry.get_or_insert_with(|| PreviousRun { id, logical_date, tasks: Vec::new() });
    previous.tasks.push(if row.try_get::<i64, _>(3)? == 0 {
        PastTask::Absent { ran_before: row.try_get(5)? }
    } else {
        PastTask::Present { unsuccessful: u32::try_from(row.try_get::<i64, _>(4)?).unwrap_or(u32::MAX) }
    });
    Ok(())
}
