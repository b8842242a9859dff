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

/// By what a list can be sorted, as SQL has it.
pub(crate) type Walks<F> = [(F, &'static [&'static str])];

/// The order of a list that can be walked from both ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk {
    /// What it is sorted by; nothing if by `last` alone.
    pub(crate) keys: &'static [&'static str],
    /// What tells apart those that are equal in the keys, and is the list's default order.
    pub(crate) last: &'static str,
    /// Whether the largest keys come first.
    pub(crate) descending: bool,
}

impl Walk {
    /// The walk that is asked for.
    pub(crate) fn new<F: PartialEq>(walks: &Walks<F>, last: &'static str, order_by: Option<OrderBy<F>>) -> Self {
        let Some(OrderBy { field, descending }) = order_by else { return Self { keys: &[], last, descending: false } };
        let keys = walks.iter().find(|(one, _)| *one == field).map_or(&[] as &[_], |(_, keys)| *keys);
        Self { keys, last, descending }
    }

    /// From the start.
    pub(crate) fn order(self) -> String {
        self.text(self.descending, false)
    }

    /// From the end.
    pub(crate) fn mirrored(self) -> String {
        self.text(!self.descending, true)
    }

    /// What stands for `/* order */`, and for `/* walk */`: the way from that side.
    pub(crate) fn texts(self, side: Side) -> [(&'static str, String); 2] {
        [("order", self.order()), ("walk", if side.from_end { self.mirrored() } else { self.order() })]
    }

    fn text(self, keys_descend: bool, last_descends: bool) -> String {
        let direction = |descends| if descends { " DESC" } else { "" };
        let mut text = String::new();
        for key in self.keys {
            text += key;
            text += direction(keys_descend);
            text += ", ";
        }
        text + self.last + direction(last_descends)
    }
}

/// How many entries are skipped one by one, rather than that it is asked first from which end they are fewer.
pub(crate) const NEAR: usize = 1_000;

/// A page, counted from that end of the list that is nearer: what lies between is read to be skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) limit: i64,
    pub(crate) offset: i64,
    pub(crate) from_end: bool,
}

impl Side {
    pub(crate) fn of(page: PageRequest, total: u64) -> Self {
        let (limit, offset) = limit_and_offset(page);
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        let rest = total.saturating_sub(offset).max(0);
        if offset <= total / 2 {
            return Self { limit, offset, from_end: false };
        }
        let limit = limit.min(rest);
        Self { limit, offset: rest - limit, from_end: true }
    }

    /// Where it ends.
    pub(crate) fn end(self) -> i64 {
        self.offset.saturating_add(self.limit)
    }

    /// What stands for `/* down */`, where lists are walked in the order of their keys.
    pub(crate) fn down(self) -> (&'static str, &'static str) {
        ("down", if self.from_end { "DESC" } else { "" })
    }
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
    /// As [`PostgresStorage::snapshot`], for statements that go by the same indexes whatever is asked for: planned once.
    pub(crate) async fn planned_snapshot(&self) -> Result<Transaction<'static, Postgres>> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL plan_cache_mode = force_generic_plan;
            SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
            SET LOCAL enable_bitmapscan = off";
        self.inner.clients.begin_with(begin).await.map_err(storage_error)
    }

    /// A transaction of a client whose statements all see the same moment.
    pub(crate) async fn snapshot(&self) -> Result<Transaction<'static, Postgres>> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        self.inner.clients.begin_with(begin).await.map_err(storage_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_reached_from_the_nearer_end() {
        let side = |limit, offset, total| {
            let Side { limit, offset, from_end } = Side::of(PageRequest { limit, offset }, total);
            (limit, offset, from_end)
        };
        assert_eq!(side(10, 0, 100), (10, 0, false));
        assert_eq!(side(10, 50, 100), (10, 50, false));
        assert_eq!(side(10, 60, 100), (10, 30, true));
        assert_eq!(side(10, 95, 100), (5, 0, true));
        assert_eq!(side(10, 100, 100), (0, 0, true));
        assert_eq!(side(10, 5000, 100), (0, 0, true));
        assert_eq!(side(usize::MAX, 2, 3), (1, 0, true));
        assert_eq!(side(usize::MAX, 0, 3), (i64::MAX, 0, false));
    }

    #[test]
    fn an_order_from_the_end_is_its_mirror() {
        let walk = Walk { keys: &["a", "b"], last: "id", descending: true };
        assert_eq!(walk.order(), "a DESC, b DESC, id");
        assert_eq!(walk.mirrored(), "a, b, id DESC");
        let walk = Walk { keys: &[], last: "id", descending: false };
        assert_eq!((walk.order(), walk.mirrored()), ("id".into(), "id DESC".into()));
    }
}
