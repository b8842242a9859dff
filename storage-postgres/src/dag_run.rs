//! stub
use updraft_core::model::DagRun;
use updraft_core::storage::Result;
pub(crate) fn read_run(_row: &sqlx::postgres::PgRow) -> Result<DagRun> {
    Err(crate::error::unreadable("stub"))
}
