//! Pages of lists.

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Most items.
    pub limit: usize,
    /// Items to leave out before the first.
    pub offset: usize,
}

impl PageRequest {
    /// Everything.
    pub const ALL: Self = Self { limit: usize::MAX, offset: 0 };
}

impl Default for PageRequest {
    fn default() -> Self {
        Self::ALL
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The part that was asked for.
    pub items: Vec<T>,
    /// How many items the whole list has, after all filters; exact.
    pub total: u64,
}

impl<T> Page<T> {
    /// The same page of other things.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), total: self.total }
    }
}

/// The order of a list. Items that are equal in it keep the order of the list's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderBy<F> {
    /// By what.
    pub field: F,
    /// Whether the largest comes first. Absent values count as the largest, as in PostgreSQL.
    pub descending: bool,
}

/// Bounds of a value, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range<T> {
    /// The least.
    pub at_least: Option<T>,
    /// The greatest.
    pub at_most: Option<T>,
}

impl<T> Default for Range<T> {
    fn default() -> Self {
        Self { at_least: None, at_most: None }
    }
}

impl<T: PartialOrd + Copy> Range<T> {
    /// Whether `value` lies within; an absent value only within an unbounded range.
    pub fn contains(&self, value: Option<T>) -> bool {
        match value {
            None => self.at_least.is_none() && self.at_most.is_none(),
            Some(value) => {
                self.at_least.is_none_or(|least| value >= least) && self.at_most.is_none_or(|most| value <= most)
            }
        }
    }
}
