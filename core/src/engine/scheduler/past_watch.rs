//! Which runs wait for the runs before them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::RunId;

/// How long what the past holds may go unread: nobody tells of runs that other schedulers own, or that nobody does.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Runs whose tasks depend on the past, each with the run before it. Costs nothing where there are none.
#[derive(Debug, Default)]
pub(super) struct PastWatch {
    /// Own runs that depend on the past, and the run before, once it is known and if there is one.
    previous: BTreeMap<RunId, Option<RunId>>,
    followers: BTreeMap<RunId, BTreeSet<RunId>>,
    /// Own runs whose past is to be read.
    unread: BTreeSet<RunId>,
    /// When, by the monotonic clock, all that is held was last to be read.
    all_read_at: Duration,
}

impl PastWatch {
    /// A run depends on its past, of which nothing is known yet.
    pub(super) fn add(&mut self, run: RunId) {
        self.learn(run, None);
        self.unread.insert(run);
    }

    pub(super) fn remove(&mut self, run: RunId) {
        if let Some(before) = self.previous.remove(&run) {
            self.unread.remove(&run);
            self.unfollow(run, before);
        }
    }

    /// The run before `run`.
    pub(super) fn learn(&mut self, run: RunId, before: Option<RunId>) {
        let known = self.previous.insert(run, before).flatten();
        if known != before {
            self.unfollow(run, known);
            if let Some(before) = before {
                self.followers.entry(before).or_default().insert(run);
            }
        }
    }

    fn unfollow(&mut self, run: RunId, before: Option<RunId>) {
        let Some(before) = before else { return };
        if let Some(followers) = self.followers.get_mut(&before) {
            followers.remove(&run);
            if followers.is_empty() {
                self.followers.remove(&before);
            }
        }
    }

    /// Something ended in a run, or it was read anew.
    pub(super) fn changed(&mut self, run: RunId) {
        if let Some(followers) = self.followers.get(&run) {
            self.unread.extend(followers);
        }
    }

    /// Has all that `is_held` read again, if it was not for a while.
    pub(super) fn look_again(&mut self, now: Duration, is_held: impl Fn(RunId) -> bool) {
        if now.saturating_sub(self.all_read_at) >= LONGEST_REST {
            self.all_read_at = now;
            self.unread.extend(self.previous.keys().copied().filter(|run| is_held(*run)));
        }
    }

    pub(super) fn take_unread(&mut self) -> BTreeSet<RunId> {
        std::mem::take(&mut self.unread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: RunId = RunId(1);
    const TWO: RunId = RunId(2);
    const THREE: RunId = RunId(3);

    fn unread(watch: &mut PastWatch) -> Vec<RunId> {
        watch.take_unread().into_iter().collect()
    }

    #[test]
    fn a_change_is_news_for_what_follows() {
        let mut watch = PastWatch::default();
        watch.add(TWO);
        watch.add(THREE);
        assert_eq!(unread(&mut watch), [TWO, THREE]);
        watch.learn(TWO, Some(ONE));
        watch.learn(THREE, Some(TWO));
        watch.changed(ONE);
        assert_eq!(unread(&mut watch), [TWO]);
        watch.changed(THREE);
        assert_eq!(unread(&mut watch), []);
        // The run between them is deleted.
        watch.remove(TWO);
        watch.changed(TWO);
        assert_eq!(unread(&mut watch), [THREE]);
        watch.learn(THREE, Some(ONE));
        watch.changed(TWO);
        assert_eq!(unread(&mut watch), []);
        watch.changed(ONE);
        watch.remove(THREE);
        assert_eq!(unread(&mut watch), []);
        assert!(watch.followers.is_empty() && watch.previous.is_empty());
    }

    #[test]
    fn what_is_held_is_read_again_after_a_while() {
        let mut watch = PastWatch::default();
        watch.add(ONE);
        watch.add(TWO);
        unread(&mut watch);
        watch.look_again(Duration::from_secs(5), |run| run == TWO);
        assert_eq!(unread(&mut watch), [TWO]);
        watch.look_again(Duration::from_millis(5500), |run| run == TWO);
        assert_eq!(unread(&mut watch), []);
    }
}
