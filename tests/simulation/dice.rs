//! Randomness from a seed.

use updraft_core::id::IdSource;

/// Randomness from a seed.
#[derive(Debug, Clone)]
pub struct Dice(IdSource);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(IdSource::from_seed(seed))
    }

    /// A number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % end
    }

    /// Whether one of `n` came up.
    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.below(items.len() as u64)).unwrap()]
    }
}
