//! Which of the instances that may start is next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use crate::id::{InstanceKey, RunId};
use crate::storage::Limit;

/// Orders what waits: the highest priority first, then the earliest logical date, then the lowest map index (Airflow
/// 2.11, `jobs/scheduler_job_runner.py`); run and task make it total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: Reverse<i32>,
    pub(super) logical_date: i64,
    pub(super) map_index: i32,
    pub(super) run: RunId,
    pub(super) key: InstanceKey,
    /// Which machine of the run put it here; entries of earlier ones are void.
    pub(super) generation: u64,
}

/// The limits that bind an instance. Instances that share them form a queue: if one has no room, none has, so that a full
/// pool, DAG or task costs one look however many instances wait for it, and never hides another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueKey {
    pub(super) pool: u32,
    pub(super) slots: u32,
    pub(super) dag: u32,
    /// Of a task with a limit of its own: its position, and the run if the limit is within runs.
    pub(super) task: Option<(u32, Option<RunId>)>,
}

/// A priority queue. Most entries come in the order in which they leave: these need no heap.
#[derive(Debug, Default)]
struct Queue {
    in_order: VecDeque<Rank>,
    others: BinaryHeap<Reverse<Rank>>,
}

impl Queue {
    fn push(&mut self, rank: Rank) {
        if self.in_order.back().is_none_or(|last| *last <= rank) {
            self.in_order.push_back(rank);
        } else {
            self.others.push(Reverse(rank));
        }
    }

    fn peek(&self) -> Option<Rank> {
        match (self.in_order.front(), self.others.peek()) {
            (Some(front), Some(Reverse(other))) => Some(*front.min(other)),
            (front, other) => front.or(other.map(|Reverse(other)| other)).copied(),
        }
    }

    fn pop(&mut self) {
        match (self.in_order.front(), self.others.peek()) {
            (Some(front), Some(Reverse(other))) if other < front => drop(self.others.pop()),
            (Some(_), _) => drop(self.in_order.pop_front()),
            (None, _) => drop(self.others.pop()),
        }
    }
}

/// What waits for room.
#[derive(Debug, Default)]
pub(super) struct Ready {
    queues: BTreeMap<QueueKey, Queue>,
    /// Queues that are not parked, by their best entry.
    active: BTreeSet<(Rank, QueueKey)>,
    /// Queues that wait for room in a limit.
    parked: BTreeMap<Limit, BTreeSet<QueueKey>>,
    parked_by: BTreeMap<QueueKey, Limit>,
    /// Entries that came since the last sweep, and those that it kept.
    pushed: usize,
    kept: usize,
}

impl Ready {
    pub(super) fn push(&mut self, queue: QueueKey, rank: Rank) {
        self.pushed += 1;
        let entries = self.queues.entry(queue.clone()).or_default();
        let best = entries.peek();
        entries.push(rank);
        if self.parked_by.contains_key(&queue) {
            return;
        }
        match best {
            Some(best) if best <= rank => {}
            Some(best) => {
                self.active.remove(&(best, queue.clone()));
                self.active.insert((rank, queue));
            }
            None => {
                self.active.insert((rank, queue));
            }
        }
    }

    /// The best entry of all queues that are not parked.
    pub(super) fn peek(&self) -> Option<(&QueueKey, Rank)> {
        self.active.first().map(|(rank, queue)| (queue, *rank))
    }

    /// Takes the entry that [`Ready::peek`] showed.
    pub(super) fn pop(&mut self) {
        let Some((_, queue)) = self.active.pop_first() else { return };
        let Some(entries) = self.queues.get_mut(&queue) else { return };
        entries.pop();
        match entries.peek() {
            Some(best) => {
                self.active.insert((best, queue));
            }
            None => {
                self.queues.remove(&queue);
            }
        }
    }

    /// Sets a queue aside until [`Ready::unpark`] for the limit that has no room for it.
    pub(super) fn park(&mut self, queue: &QueueKey, limit: Limit) {
        let Some(best) = self.queues.get(queue).and_then(Queue::peek) else { return };
        if self.active.remove(&(best, queue.clone())) {
            self.parked_by.insert(queue.clone(), limit.clone());
            self.parked.entry(limit).or_default().insert(queue.clone());
        }
    }

    /// There may be room in a limit again.
    pub(super) fn unpark(&mut self, limit: &Limit) {
        for queue in self.parked.remove(limit).unwrap_or_default() {
            self.parked_by.remove(&queue);
            if let Some(best) = self.queues.get(&queue).and_then(Queue::peek) {
                self.active.insert((best, queue));
            }
        }
    }

    /// There may be room anywhere again.
    pub(super) fn unpark_all(&mut self) {
        while let Some(limit) = self.parked.keys().next().cloned() {
            self.unpark(&limit);
        }
    }

    /// Drops entries that are void, once enough have come to be worth the look: each time that a run is read again, its
    /// instances come again. Returns whether it looked.
    pub(super) fn sweep(&mut self, is_current: impl Fn(&Rank) -> bool) -> bool {
        if self.pushed < 1024 + self.kept {
            return false;
        }
        self.pushed = 0;
        self.kept = 0;
        self.queues.retain(|_, queue| {
            queue.in_order.retain(&is_current);
            queue.others.retain(|Reverse(rank)| is_current(rank));
            self.kept += queue.in_order.len() + queue.others.len();
            queue.peek().is_some()
        });
        self.parked_by.retain(|queue, _| self.queues.contains_key(queue));
        self.parked.retain(|_, queues| {
            queues.retain(|queue| self.queues.contains_key(queue));
            !queues.is_empty()
        });
        let active = self.queues.iter().filter(|(queue, _)| !self.parked_by.contains_key(queue));
        self.active = active.filter_map(|(queue, entries)| Some((entries.peek()?, queue.clone()))).collect();
        true
    }

    pub(super) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TaskIx;

    fn rank(priority: i32, task: u32) -> Rank {
        let key = InstanceKey::unmapped(TaskIx(task));
        Rank { priority: Reverse(priority), logical_date: 0, map_index: -1, run: RunId(1), key, generation: 0 }
    }

    fn queue(pool: u32) -> QueueKey {
        QueueKey { pool, slots: 1, dag: 0, task: None }
    }

    #[test]
    fn a_full_pool_does_not_hide_another() {
        let mut ready = Ready::default();
        for task in 0..1000 {
            ready.push(queue(1), rank(10, task));
        }
        ready.push(queue(2), rank(1, 5000));
        assert_eq!(ready.peek().unwrap().0.pool, 1);
        ready.park(&queue(1), Limit::Pool("full".into()));
        assert_eq!(ready.peek().unwrap(), (&queue(2), rank(1, 5000)));
        ready.pop();
        assert!(ready.peek().is_none());
        ready.push(queue(1), rank(11, 7));
        assert!(ready.peek().is_none());
        ready.unpark(&Limit::Pool("full".into()));
        assert_eq!(ready.peek().unwrap().1, rank(11, 7));
    }

    #[test]
    fn void_entries_do_not_pile_up() {
        let mut ready = Ready::default();
        let current = |rank: &Rank| rank.generation == 99;
        for generation in 0..100 {
            for task in 0..100 {
                ready.push(queue(task % 3), Rank { generation, ..rank(1, task) });
            }
            ready.park(&queue(1), Limit::Pool("full".into()));
            ready.sweep(current);
        }
        assert!(ready.pushed + ready.kept < 2500, "{} and {}", ready.pushed, ready.kept);
        ready.pushed = usize::MAX / 2;
        assert!(ready.sweep(current));
        assert_eq!(ready.kept, 100);
        ready.unpark_all();
        let mut left = 0;
        while ready.peek().is_some() {
            ready.pop();
            left += 1;
        }
        assert_eq!(left, 100);
    }

    #[test]
    fn entries_leave_in_order_however_they_came() {
        let mut ready = Ready::default();
        let came = [5, 5, 4, 9, 1, 1, 7, 3, 2, 8, 8, 0];
        for (task, priority) in (0..).zip(came) {
            ready.push(queue(1), rank(priority, task));
        }
        let mut left = Vec::new();
        while let Some((_, rank)) = ready.peek() {
            left.push((rank.priority, rank.key));
            ready.pop();
        }
        let mut sorted = left.clone();
        sorted.sort_unstable();
        assert_eq!((left.len(), left), (came.len(), sorted));
    }

    #[test]
    fn the_highest_priority_comes_first_whatever_its_queue() {
        let mut ready = Ready::default();
        for (pool, priority) in [(1, 1), (2, 5), (1, 9), (3, 7), (2, 2)] {
            ready.push(queue(pool), rank(priority, 0));
        }
        let mut order = Vec::new();
        while let Some((_, rank)) = ready.peek() {
            order.push(rank.priority.0);
            ready.pop();
        }
        assert_eq!(order, [9, 7, 5, 2, 1]);
    }
}
