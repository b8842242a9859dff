//! Live attempts, and the slots that they hold.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use updraft_core::id::{AttemptToken, InstanceKey, RunId, SchedulerId, TokenMap};
use updraft_core::model::{AttemptPhase, LiveAttempt};

use crate::dag::TaskPlace;

/// A live attempt and where its slots are counted.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) attempt: LiveAttempt,
    /// The epoch of the scheduler that admitted it.
    pub(crate) epoch: u64,
    pub(crate) dag: usize,
    pub(crate) place: TaskPlace,
}

/// What live attempts hold. Only [`Attempts`] changes it, so that it cannot leak.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Slots {
    dags: Vec<DagSlots>,
    pools: Vec<PoolSlots>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct DagSlots {
    attempts: u32,
    tasks: Vec<u32>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolSlots {
    pub(crate) running: u64,
    pub(crate) queued: u64,
}

impl Slots {
    pub(crate) fn of_dag(&self, dag: usize) -> u32 {
        self.dags.get(dag).map_or(0, |dag| dag.attempts)
    }

    pub(crate) fn of_task(&self, dag: usize, task: u32) -> u32 {
        self.dags.get(dag).and_then(|dag| dag.tasks.get(task as usize)).copied().unwrap_or(0)
    }

    pub(crate) fn of_pool(&self, pool: usize) -> PoolSlots {
        self.pools.get(pool).copied().unwrap_or_default()
    }

    fn dag_mut(&mut self, dag: usize, task: u32) -> (&mut u32, &mut u32) {
        if self.dags.len() <= dag {
            self.dags.resize_with(dag + 1, DagSlots::default);
        }
        let slots = &mut self.dags[dag];
        let task = task as usize;
        if slots.tasks.len() <= task {
            slots.tasks.resize(task + 1, 0);
        }
        (&mut slots.attempts, &mut slots.tasks[task])
    }

    fn pool_mut(&mut self, pool: u32, phase: AttemptPhase) -> &mut u64 {
        let pool = pool as usize;
        if self.pools.len() <= pool {
            self.pools.resize(pool + 1, PoolSlots::default());
        }
        let slots = &mut self.pools[pool];
        if phase == AttemptPhase::Running { &mut slots.running } else { &mut slots.queued }
    }

    fn take(&mut self, live: &Live) {
        let (dag, task) = self.dag_mut(live.dag, live.place.number);
        *dag += 1;
        *task += 1;
        *self.pool_mut(live.place.pool, live.attempt.phase) += u64::from(live.place.pool_slots);
    }

    fn give(&mut self, live: &Live) {
        let (dag, task) = self.dag_mut(live.dag, live.place.number);
        *dag -= 1;
        *task -= 1;
        *self.pool_mut(live.place.pool, live.attempt.phase) -= u64::from(live.place.pool_slots);
    }
}

/// All live attempts.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    by_place: Vec<Option<Live>>,
    free: Vec<u32>,
    // Never iterated: the order of a HashMap must not be seen.
    by_token: TokenMap<u32>,
    slots: Slots,
    /// Those of runs that are deleted or finished: nobody takes them over when their scheduler dies.
    strays: BTreeSet<u32>,
}

impl Attempts {
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(crate) fn find(&self, token: AttemptToken) -> Option<(u32, &Live)> {
        let place = *self.by_token.get(&token)?;
        Some((place, self.get(place)?))
    }

    pub(crate) fn get(&self, place: u32) -> Option<&Live> {
        self.by_place.get(place as usize)?.as_ref()
    }

    /// Adds an attempt; its token must be new.
    pub(crate) fn insert(&mut self, live: Live) -> u32 {
        self.slots.take(&live);
        let token = live.attempt.token;
        let place = match self.free.pop() {
            Some(place) => {
                self.by_place[place as usize] = Some(live);
                place
            }
            None => {
                self.by_place.push(Some(live));
                u32::try_from(self.by_place.len() - 1).expect("fewer than 2^32 attempts live at a time")
            }
        };
        self.by_token.insert(token, place);
        place
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<Live> {
        let live = self.by_place.get_mut(place as usize)?.take()?;
        self.by_token.remove(&live.attempt.token);
        self.free.push(place);
        if !self.strays.is_empty() {
            self.strays.remove(&place);
        }
        self.slots.give(&live);
        #[cfg(debug_assertions)]
        self.check();
        Some(live)
    }

    pub(crate) fn start(&mut self, place: u32, now: DateTime<Utc>) {
        let Some(live) = self.by_place.get_mut(place as usize).and_then(Option::as_mut) else {
            return;
        };
        self.slots.give(live);
        live.attempt.phase = AttemptPhase::Running;
        live.attempt.start_date = Some(now);
        self.slots.take(live);
    }

    pub(crate) fn make_obsolete(&mut self, place: u32) {
        if let Some(live) = self.by_place.get_mut(place as usize).and_then(Option::as_mut) {
            live.attempt.is_obsolete = true;
        }
    }

    pub(crate) fn set_stray(&mut self, place: u32, is_stray: bool) {
        if is_stray {
            self.strays.insert(place);
        } else {
            self.strays.remove(&place);
        }
    }

    /// Strays whose scheduler `is_dead`.
    pub(crate) fn strays_of_the_dead(
        &self,
        is_dead: impl Fn(SchedulerId, u64) -> bool,
    ) -> Vec<(u32, RunId, InstanceKey)> {
        let strays = self.strays.iter().filter_map(|&place| Some((place, self.get(place)?)));
        strays
            .filter(|(_, live)| is_dead(live.attempt.scheduler, live.epoch))
            .map(|(place, live)| (place, live.attempt.run, live.attempt.key))
            .collect()
    }

    /// Counts again what the slots say; only while that is cheap.
    #[cfg(debug_assertions)]
    fn check(&self) {
        if self.by_place.len() > 64 {
            return;
        }
        let mut counted = Slots { dags: vec![DagSlots::default(); self.slots.dags.len()], pools: Vec::new() };
        for (dag, slots) in counted.dags.iter_mut().zip(&self.slots.dags) {
            dag.tasks = vec![0; slots.tasks.len()];
        }
        counted.pools = vec![PoolSlots::default(); self.slots.pools.len()];
        self.by_place.iter().flatten().for_each(|live| counted.take(live));
        assert_eq!(counted, self.slots, "slots are counted exactly");
    }
}
