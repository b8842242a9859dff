//! Pages and orders, as SQL takes them.

use sqlx::postgres::PgRow;
use sqlx::{Postgres, Row, Transaction};
use updraft_core::storage::{OrderBy, Page, PageRequest, Result};

use crate::PostgresStorage;
use crate::error::storage_error;

/// What stands for `/* order */` in a statement, ascending and descending; each ends with a comma, because the list's
/// default order follows.
pub(crate) type Orders<F> = [(F, [&'static str; 2])];

/// The order that is asked for; nothing if it is the default.
pub(crate) fn order<F: PartialEq>(orders: &Orders<F>, order_by: Option<OrderBy<F>>) -> &'static str {
    let Some(OrderBy { field, descending }) = order_by else { return "" };
    orders.iter().find(|(one, _)| *one == field).map_or("", |(_, texts)| texts[usize::from(descending)])
}

/// `LIMIT` and `OFFSET`.
pub(crate) fn limit_and_offset(page: PageRequest) -> (i64, i64) {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    (number(page.limit), number(page.offset))
}

/// A total as it comes from `count(*)` or `sum(…)`.
pub(crate) fn total(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Reads rows that all have the list's `total`. If the page has no items, there is one row, and its `id` is null.
pub(crate) fn read_page<T>(rows: &[PgRow], read: impl Fn(&PgRow) -> sqlx::Result<T>) -> Result<Page<T>> {
    let read = || -> sqlx::Result<Page<T>> {
        let mut page = Page { items: Vec::with_capacity(rows.len()), total: 0 };
        for row in rows {
            page.total = total(row.try_get("total")?);
            if row.try_get::<Option<i64>, _>("id")?.is_some() {
                page.items.push(read(row)?);
            }
        }
        Ok(page)
    };
    read().map_err(storage_error)
}

impl PostgresStorage {
    /// A transaction of a client whose statements all see the same moment.
    pub(crate) async fn snapshot(&self) -> Result<Transaction<'static, Postgres>> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        self.inner.clients.begin_with(begin).await.map_err(storage_error)
    }
}
