//! Filters, orders and pages of lists.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use updraft_core::id::DagId;
use updraft_core::storage::{Page, PageRequest};

/// Takes a page out of an iterator, and counts the rest.
pub(crate) fn page<T>(items: impl Iterator<Item = T>, request: PageRequest) -> Page<T> {
    let mut page = Page { items: Vec::new(), total: 0 };
    let end = request.offset.saturating_add(request.limit);
    let mut index = 0;
    for item in items {
        if (request.offset..end).contains(&index) {
            page.items.push(item);
        }
        index += 1;
    }
    page.total = index as u64;
    page
}

/// Sorts by a key of each item; items of equal keys keep their order, in descending order, too.
pub(crate) fn sort<T, K: Ord>(items: &mut [T], descending: bool, key: impl Fn(&T) -> K) {
    items.sort_by(|a, b| {
        let order = key(a).cmp(&key(b));
        if descending { order.reverse() } else { order }
    });
}

/// A key that counts absent values as the largest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoneLast<T>(pub(crate) Option<T>);

impl<T: Ord> Ord for NoneLast<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

impl<T: Ord> PartialOrd for NoneLast<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether a filter that may be absent lets a value through.
pub(crate) fn among<T: Ord + ?Sized, S: Ord + std::borrow::Borrow<T>>(filter: Option<&BTreeSet<S>>, value: &T) -> bool {
    filter.is_none_or(|set| set.contains(value))
}

/// Whether the caller may see a DAG.
pub(crate) fn may_read(readable: Option<&Arc<BTreeSet<DagId>>>, dag_id: &DagId) -> bool {
    readable.is_none_or(|set| set.contains(dag_id))
}

/// Whether `text` contains `pattern` as SQL's `ILIKE '%pattern%'` has it: `%` stands for any text, `_` for any character,
/// `\` takes the meaning from the next.
pub(crate) fn contains_like(text: &str, pattern: &str) -> bool {
    enum Piece {
        Any,
        One,
        Char(char),
    }
    let mut pieces = vec![Piece::Any];
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        pieces.push(match char {
            '%' => Piece::Any,
            '_' => Piece::One,
            '\\' => Piece::Char(chars.next().map_or('\\', fold)),
            char => Piece::Char(fold(char)),
        });
    }
    pieces.push(Piece::Any);
    let text: Vec<char> = text.chars().map(fold).collect();
    // Greedy, going back to the last `%` only: enough, because later ones never need more text than the first fit.
    let (mut at, mut piece, mut back) = (0, 0, None);
    while at < text.len() {
        match pieces.get(piece) {
            Some(Piece::Any) => {
                back = Some((piece + 1, at));
                piece += 1;
                continue;
            }
            Some(Piece::One) => {
                at += 1;
                piece += 1;
                continue;
            }
            Some(Piece::Char(char)) if *char == text[at] => {
                at += 1;
                piece += 1;
                continue;
            }
            _ => {}
        }
        let Some((after, from)) = back else {
            return false;
        };
        back = Some((after, from + 1));
        (piece, at) = (after, from + 1);
    }
    pieces[piece..].iter().all(|piece| matches!(piece, Piece::Any))
}

fn fold(char: char) -> char {
    let mut lower = char.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        _ => char,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_sql() {
        for (text, pattern, matches) in [
            ("Etl_chain", "tl", true),
            ("Etl_chain", "TL_C", true),
            ("Etl_chain", "", true),
            ("", "", true),
            ("", "_", false),
            ("etl_chain", "e%n", true),
            ("etl_chain", "e%x", false),
            ("etl-chain", "l_c", true),
            ("etl-chain", "l\\_c", false),
            ("etl_chain", "l\\_c", true),
            ("abcabd", "ab_abd", true),
            ("aaab", "aab", true),
            ("abc", "abcd", false),
            ("50%", "0\\%", true),
            ("505", "0\\%", false),
        ] {
            assert_eq!(contains_like(text, pattern), matches, "{text:?} like {pattern:?}");
        }
    }

    #[test]
    fn a_page_has_the_exact_total() {
        let page = page(0..10, PageRequest { limit: 3, offset: 8 });
        assert_eq!((page.items, page.total), (vec![8, 9], 10));
        assert!(super::page(0..10, PageRequest { limit: usize::MAX, offset: usize::MAX }).items.is_empty());
    }
}
