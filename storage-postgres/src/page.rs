//! Pages, as SQL takes them.

use updraft_core::storage::PageRequest;

/// `LIMIT` and `OFFSET`.
pub(crate) fn limit_and_offset(page: PageRequest) -> (i64, i64) {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    (number(page.limit), number(page.offset))
}

/// A total as it comes from `count(*)` or `sum(…)`.
pub(crate) fn total(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
