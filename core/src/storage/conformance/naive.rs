//! Orders and pages as simply as they can be written.

use std::cmp::Ordering;

use crate::storage::PageRequest;

pub(super) type Compare<T> = Box<dyn Fn(&T, &T) -> Ordering + Send + Sync>;

/// The pages that lists are tried with.
pub(super) const PAGES: [PageRequest; 4] = [
    PageRequest::ALL,
    PageRequest { limit: 3, offset: 0 },
    PageRequest { limit: 4, offset: 5 },
    PageRequest { limit: 5, offset: 1000 },
];

pub(super) fn by<T, K: Ord>(key: impl Fn(&T) -> K + Send + Sync + 'static) -> Compare<T> {
    Box::new(move |a, b| key(a).cmp(&key(b)))
}

/// Absent values are the largest.
pub(super) fn by_option<T, K: Ord>(key: impl Fn(&T) -> Option<K> + Send + Sync + 'static) -> Compare<T> {
    Box::new(move |a, b| match (key(a), key(b)) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => a.cmp(&b),
    })
}

/// A page of `all`, which is in the default order; that decides among equals.
pub(super) fn list<T: Clone>(all: &[T], descending: bool, compare: &Compare<T>, page: PageRequest) -> (Vec<T>, u64) {
    let mut list = all.to_vec();
    list.sort_by(|a, b| if descending { compare(b, a) } else { compare(a, b) });
    (list.into_iter().skip(page.offset).take(page.limit).collect(), all.len() as u64)
}
